"""Every end-to-end test is slow and works in a world of its own, which is taken down whatever happens."""

from collections.abc import Iterator

import pytest

from e2e.harness import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()
