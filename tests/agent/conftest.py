"""A host's side in a folder of its own: state, store, evidence, requests; and what owners send."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.houses import HostHouse, OwnerHouse
from fresh import copied


@pytest.fixture(scope="module", autouse=True)
def _copied_databases() -> Iterator[None]:
    with copied():
        yield


@pytest.fixture
def house(tmp_path: Path) -> Iterator[HostHouse]:
    made = HostHouse(tmp_path / "host", b"h")
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[HostHouse]:
    """A second host."""
    made = HostHouse(tmp_path / "other", b"2")
    yield made
    made.close()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[OwnerHouse]:
    made = OwnerHouse(tmp_path / "owner", b"o")
    yield made
    made.close()


@pytest.fixture
def tree(tmp_path):
    """A folder; calling the fixture adds a file to it."""
    folder = tmp_path / "files"
    folder.mkdir()

    def grow():
        name = f"{len(list(folder.iterdir()))}"
        (folder / name).write_text(name * 1000)
        return folder

    return grow
