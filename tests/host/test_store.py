"""The store as the agent uses it: put, read, list, prove; and everything a peer may send that must not count."""

import os
import random
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.errors import (
    DamagedStateError,
    IntegrityFault,
    LocalError,
    NotFoundError,
    ProtocolViolation,
    RefusedError,
    StoreUnavailable,
)
from backuppeer.host.catalogue import PackRow
from backuppeer.host.leases import Lease
from backuppeer.host.reader import DamagedPackError
from backuppeer.host.store import Store, create_store, open_store
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import KIB, LEAF_BYTES, MIB, PACK_LIST_PAGE, PACK_TARGET_BYTES
from backuppeer.proof.merkle import compute_stored_id, verify_range
from host.host_world import World, agreement_id, put_pack
from noise import noise

A = agreement_id()


def files_below(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.rglob("*") if p.is_file())


def test_a_stored_pack_is_read_back_listed_and_counted(store: Store, lease: Lease, rng: random.Random) -> None:
    data = rng.randbytes(3 * MIB + 5)
    stored = put_pack(store, data)
    assert store.has(A, stored)
    assert store.read(A, stored, offset=0, length=len(data)) == data
    assert store.read(A, stored, offset=MIB + 1, length=7) == data[MIB + 1 : MIB + 8]
    assert store.list_packs(A) == [(stored, len(data))]
    usage = store.usage(A)
    assert (usage.used_bytes, usage.reserved_bytes, usage.packs) == (len(data), 0, 1)
    assert not any((store.directory / "incoming").iterdir())


def test_files_and_folders_of_a_store_are_private(store: Store, lease: Lease) -> None:
    stored = put_pack(store, b"x" * 10)
    pack = store.directory / "agreements" / A.hex() / "packs" / stored.hex()[:2] / stored.hex()
    assert pack.stat().st_mode & 0o777 == 0o600
    assert pack.parent.stat().st_mode & 0o777 == 0o700
    assert store.directory.stat().st_mode & 0o777 == 0o700


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 5 * LEAF_BYTES + 3), piece=st.integers(1, 2 * LEAF_BYTES), seed=st.integers(0, 99))
def test_any_size_in_any_pieces_survives_and_proves_every_range(tmp_path_factory, size, piece, seed) -> None:
    world = World()
    data = noise(seed, size)
    store = create_store(tmp_path_factory.mktemp("p") / "store", world.peer, floor_bytes=0)
    try:
        store.leases.put(world.agree())
        stored = put_pack(store, data, piece=piece)
        leaves = -(-size // LEAF_BYTES)
        for first in range(leaves):
            with store.open_pack(A, stored) as reader:
                buffer = bytearray(2 * LEAF_BYTES)
                got = reader.readinto(first * LEAF_BYTES, buffer)
                path = reader.path(first, -(-got // LEAF_BYTES))
            verify_range(stored, size, first, bytes(buffer[:got]), path)
    finally:
        store.close()


def test_a_pack_with_one_flipped_bit_is_refused_and_leaves_nothing(store: Store, lease: Lease) -> None:
    data = bytearray(os.urandom(100_000))
    stored = compute_stored_id(data)
    data[50_000] ^= 1
    incoming = store.receive(A, stored, len(data))
    incoming.write(data)
    with pytest.raises(IntegrityFault):
        incoming.commit()
    assert not store.has(A, stored)
    assert store.usage(A).reserved_bytes == 0
    assert stored.hex() not in files_below(store.directory)
    assert not any((store.directory / "incoming").iterdir())


def test_more_bytes_than_announced_are_refused_at_once(store: Store, lease: Lease) -> None:
    incoming = store.receive(A, compute_stored_id(b"ab"), 2)
    with pytest.raises(ProtocolViolation, match="more than"):
        incoming.write(b"abc")
    assert store.usage(A).reserved_bytes == 0
    with pytest.raises(LocalError):
        incoming.write(b"a")


def test_fewer_bytes_than_announced_are_refused(store: Store, lease: Lease) -> None:
    incoming = store.receive(A, compute_stored_id(b"abc"), 3)
    incoming.write(b"ab")
    with pytest.raises(ProtocolViolation, match="2 of the announced 3"):
        incoming.commit()
    assert not any((store.directory / "incoming").iterdir())


def test_an_aborted_upload_releases_its_room_and_may_be_aborted_again(store: Store, lease: Lease) -> None:
    with store.receive(A, compute_stored_id(b"abc"), 3) as incoming:
        incoming.write(b"ab")
        assert store.usage(A).reserved_bytes == 3
    incoming.abort()
    assert store.usage(A).reserved_bytes == 0
    assert not any((store.directory / "incoming").iterdir())


def test_the_same_pack_arriving_twice_at_once_is_counted_once(store: Store, lease: Lease) -> None:
    data = os.urandom(50_000)
    stored = compute_stored_id(data)
    first, second = store.receive(A, stored, len(data)), store.receive(A, stored, len(data))
    first.write(data)
    second.write(data)
    first.commit()
    second.commit()
    usage = store.usage(A)
    assert (usage.used_bytes, usage.packs, usage.reserved_bytes) == (len(data), 1, 0)
    assert store.read(A, stored, offset=0, length=len(data)) == data


@pytest.mark.parametrize("size", [0, -1, PACK_TARGET_BYTES + 1])
def test_an_impossible_pack_length_is_a_protocol_violation(store: Store, lease: Lease, size: int) -> None:
    with pytest.raises(ProtocolViolation):
        store.receive(A, StoredId(bytes(32)), size)


@pytest.mark.parametrize("stored", [b"", b"x" * 31, b"../../../../../../../etc/passwd\0\0", b"x" * 64])
def test_an_id_of_a_wrong_length_never_becomes_a_name(store: Store, lease: Lease, stored: bytes) -> None:
    if len(stored) == 32:
        stored += b"x"
    for call in (store.has, store.open_pack):
        with pytest.raises(ProtocolViolation):
            call(A, StoredId(stored))
    with pytest.raises(ProtocolViolation):
        store.receive(A, StoredId(stored), 1)
    with pytest.raises(ProtocolViolation):
        store.receive(AgreementId(stored[:15]), StoredId(bytes(32)), 1)


def test_a_peer_without_agreement_stores_and_lists_nothing(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.receive(A, StoredId(bytes(32)), 1)
    with pytest.raises(NotFoundError):
        store.list_packs(A)
    with pytest.raises(NotFoundError):
        store.usage(A)


def test_an_unknown_pack_is_not_found(store: Store, lease: Lease) -> None:
    with pytest.raises(NotFoundError):
        store.read(A, StoredId(bytes(32)), offset=0, length=1)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 0), (0, 101), (100, 1), (2**63, 1)])
def test_ranges_outside_the_pack_are_refused(store: Store, lease: Lease, offset: int, length: int) -> None:
    stored = put_pack(store, b"x" * 100)
    with pytest.raises(ProtocolViolation):
        store.read(A, stored, offset=offset, length=length)


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 0), (0, 3), (2, 1)])
def test_leaves_outside_the_pack_are_refused(store: Store, lease: Lease, first: int, count: int) -> None:
    stored = put_pack(store, b"x" * (LEAF_BYTES + 1))
    with pytest.raises(ProtocolViolation):
        store.path(A, stored, first_leaf=first, count=count)


def test_a_pack_whose_file_is_gone_is_told_as_lost_and_then_neither_listed_nor_counted_and_may_be_brought_again(
    store: Store, lease: Lease
) -> None:
    kept, lost = put_pack(store, b"kept" * 1000), put_pack(store, b"lost" * 1000)
    next(store.directory.rglob(lost.hex())).unlink()
    before = store.usage(A)
    with pytest.raises(DamagedPackError, match="gone from the disk"):
        store.open_pack(A, lost)
    assert [row.stored for row in store.list_packs(A)] == [kept]
    after = store.usage(A)
    assert (before.packs - after.packs, before.used_bytes - after.used_bytes) == (1, 4000)
    with pytest.raises(NotFoundError):
        store.open_pack(A, lost)
    assert put_pack(store, b"lost" * 1000) == lost
    assert store.read(A, lost, offset=0, length=4000) == b"lost" * 1000


def test_while_the_store_itself_is_gone_no_pack_is_taken_for_lost(store: Store, lease: Lease) -> None:
    stored = put_pack(store, b"kept" * 1000)
    away = store.directory.with_name("away")
    store.directory.rename(away)
    with pytest.raises(StoreUnavailable):
        store.open_pack(A, stored)
    away.rename(store.directory)
    assert store.read(A, stored, offset=0, length=4) == b"kept"


def test_pages_are_in_order_complete_and_of_the_size_asked(store: Store, lease: Lease) -> None:
    ids = sorted(put_pack(store, bytes([n]) * 40) for n in range(23))
    seen: list[StoredId] = []
    while page := store.list_packs(A, after=seen[-1] if seen else b"", limit=5):
        assert len(page) <= 5
        seen += [row.stored for row in page]
    assert seen == ids
    assert len(store.list_packs(A, limit=10**9)) <= PACK_LIST_PAGE
    for after, limit in ((b"", 0), (b"x" * 33, 1)):
        with pytest.raises(ProtocolViolation):
            store.list_packs(A, after=after, limit=limit)


def test_packs_of_one_agreement_are_invisible_to_another(store: Store, lease: Lease, world: World) -> None:
    store.leases.put(world.agree(2))
    stored = put_pack(store, b"mine")
    assert not store.has(agreement_id(2), stored)
    assert store.list_packs(agreement_id(2)) == []


def test_torn_leaf_hashes_are_computed_anew(store: Store, lease: Lease) -> None:
    data = os.urandom(5 * LEAF_BYTES + 9)
    stored = put_pack(store, data)
    leaves = next(store.directory.rglob("*.leaves"))
    for damage in (b"", b"\0" * leaves.stat().st_size):
        leaves.write_bytes(damage)
        path = store.path(A, stored, first_leaf=1, count=2)
        verify_range(stored, len(data), 1, data[LEAF_BYTES : 3 * LEAF_BYTES], path)
        assert leaves.read_bytes() != damage


def test_a_rotten_pack_gets_no_proof(store: Store, lease: Lease) -> None:
    stored = put_pack(store, os.urandom(3 * LEAF_BYTES))
    pack = next(store.directory.rglob(stored.hex()))
    pack.write_bytes(os.urandom(3 * LEAF_BYTES))
    next(store.directory.rglob("*.leaves")).unlink()
    with pytest.raises(DamagedStateError):
        store.path(A, stored, first_leaf=0, count=1)


def test_a_truncated_or_lost_file_is_damage_and_never_short_data(store: Store, lease: Lease) -> None:
    stored = put_pack(store, b"x" * 1000)
    pack = next(store.directory.rglob(stored.hex()))
    os.truncate(pack, 999)
    with pytest.raises(DamagedStateError):
        store.read(A, stored, offset=0, length=10)
    pack.unlink()
    with pytest.raises(DamagedStateError):
        store.read(A, stored, offset=0, length=10)


def test_everything_is_there_after_closing_and_opening(directory: Path, world: World) -> None:
    store = create_store(directory, world.peer, floor_bytes=0)
    store.leases.put(world.agree())
    stored = put_pack(store, b"x" * 1000)
    identity = store.store_id
    store.close()
    again = open_store(directory, world.peer, floor_bytes=0)
    try:
        assert again.store_id == identity
        assert again.has(A, stored)
        assert again.usage(A).used_bytes == 1000
        assert again.notes == []
    finally:
        again.close()


def test_threads_that_upload_at_once_share_the_agreement_exactly(store: Store, world: World) -> None:
    store.leases.put(world.agree(size_bytes=20 * 100_000))
    kept: list[StoredId] = []
    refused: list[RefusedError] = []

    def upload() -> None:
        for _ in range(8):
            try:
                kept.append(put_pack(store, os.urandom(100_000), piece=30_000))
            except RefusedError as exc:
                refused.append(exc)

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    usage = store.usage(A)
    assert len(kept) + len(refused) == 32
    assert usage.used_bytes == 100_000 * len(kept) <= 20 * 100_000
    assert (usage.packs, usage.reserved_bytes, len(kept)) == (20, 0, 20)
    assert [row.stored for row in store.list_packs(A)] == sorted(kept)
    assert store.rebuild_catalogue(verify=True).notes() == []


def test_a_closed_store_acknowledges_nothing_and_what_was_whole_is_found_again(
    store: Store, lease: Lease, world: World
) -> None:
    incoming = store.receive(A, compute_stored_id(b"abc"), 3)
    incoming.write(b"abc")
    store.close()
    with pytest.raises(StoreUnavailable):
        incoming.commit()
    with pytest.raises(StoreUnavailable):
        store.has(A, StoredId(bytes(32)))
    assert not any((store.directory / "incoming").iterdir())
    again = open_store(store.directory, world.peer, floor_bytes=0)
    try:
        assert again.read(A, compute_stored_id(b"abc"), offset=0, length=3) == b"abc"
        assert again.usage(A).used_bytes == 3
    finally:
        again.close()


def test_a_full_agreement_refuses_and_says_what_is_free(store: Store, world: World) -> None:
    store.leases.put(world.agree(size_bytes=10 * KIB))
    put_pack(store, b"x" * 4 * KIB)
    with pytest.raises(RefusedError, match=r"6\.14 kB free now"):
        store.receive(A, StoredId(bytes(32)), 7 * KIB)


def test_a_page_of_packs_has_only_so_many_rows_whatever_is_asked(store: Store, lease: Lease) -> None:
    rows = [PackRow(StoredId(n.to_bytes(32, "big")), 1) for n in range(PACK_LIST_PAGE + 1)]
    store._catalogue.change_packs(A, add=rows, drop=[])
    assert store.list_packs(A, limit=10 * PACK_LIST_PAGE) == rows[:PACK_LIST_PAGE]
    assert store.list_packs(A) == rows[:PACK_LIST_PAGE]
