"""What the tests of this room share: parties with keys, signed agreements, a store in an own directory."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from backuppeer.host.store import Store, create_store
from backuppeer.limits import LEAF_BYTES, MIB
from fresh import copied
from host.host_world import NOW_MS, World, agreement_id, put_pack


@pytest.fixture(scope="module", autouse=True)
def _copied_databases() -> Iterator[None]:
    with copied():
        yield


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


@pytest.fixture
def kept(store, lease, world, rng):
    """Three packs and the first head."""
    packs = [rng.randbytes(size) for size in (5 * LEAF_BYTES + 7, 2 * MIB, 100)]
    ids = [put_pack(store, data) for data in packs]
    first = world.head(1)
    store.heads.put_head(agreement_id(), first, world.grant(), signer=world.host, now_ms=NOW_MS)
    return dict(zip(ids, packs, strict=True))
