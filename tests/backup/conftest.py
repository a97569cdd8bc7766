import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.memory_engine import Repository
from fresh import copied

NOBODY = 65534


@pytest.fixture(scope="module", autouse=True)
def _copied_databases() -> Iterator[None]:
    with copied():
        yield


@pytest.fixture
def repository(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    repository = Repository(home)
    yield repository
    repository.close()


@pytest.fixture
def source(tmp_path):
    directory = tmp_path / "source"
    directory.mkdir()
    return directory


class AsNobody:
    """Gives up root's rights inside a `with`; `directory` belongs to the unprivileged user."""

    def __init__(self, directory: Path):
        self.directory = directory

    def __enter__(self):
        os.seteuid(NOBODY)
        return self

    def __exit__(self, *error):
        os.seteuid(0)


@pytest.fixture
def as_nobody(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("giving up rights needs root")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        os.chown(directory, NOBODY, NOBODY)
        # pytest's own directories are root's alone: open the way down for reading.
        for above in [tmp_path, *tmp_path.parents]:
            if above != Path(tempfile.gettempdir()) and above.is_relative_to(tempfile.gettempdir()):
                above.chmod(0o755)
        yield AsNobody(directory)
