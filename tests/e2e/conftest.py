"""Every end-to-end test is slow and works in a world of its own, which is taken down whatever happens."""

from collections.abc import Iterator

import pytest

from e2e.harness import Pair, Street, World
from e2e.patience import shorten


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture
def hasty(world: World) -> None:
    """Have all processes of the test's world wait for seconds for a host that is away: see `e2e.patience`."""
    world.paths = str(shorten(world.path / "patience"))


@pytest.fixture(scope="session")
def streets() -> Iterator[list[Street]]:
    made: list[Street] = []
    yield made
    for street in made:
        street.world.close()


@pytest.fixture
def settled(world: World, streets: list[Street]) -> Pair:
    """An owner whose host is a good neighbour of other tests: to be left as it is."""
    if not streets or streets[-1].owners >= Street.OWNERS:
        streets.append(Street())
    return streets[-1].settle(world)
