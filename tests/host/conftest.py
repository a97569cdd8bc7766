"""What the tests of this room share: parties with keys, signed agreements, a store in an own directory."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from backuppeer.host.store import Store, create_store
from backuppeer.limits import MIB
from host.host_world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(directory: Path, world: World) -> Iterator[Store]:
    opened = create_store(directory, world.peer, floor_bytes=0)
    yield opened
    opened.close()


@pytest.fixture
def lease(store: Store, world: World):
    return store.leases.put(world.agree(size_bytes=64 * MIB))


@pytest.fixture
def rng() -> random.Random:
    return random.Random(20261122)
