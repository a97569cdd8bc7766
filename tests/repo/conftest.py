"""What the tests of this room share: databases of the index, made once and then copied."""

from collections.abc import Iterator

import pytest

from fresh import copied


@pytest.fixture(scope="module", autouse=True)
def _copied_databases() -> Iterator[None]:
    with copied():
        yield
