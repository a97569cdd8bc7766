"""Inventories round trip, heads follow each other, and no omission passes."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.errors import IntegrityFault, LocalError
from backuppeer.ids import BlobId, DeviceId, LogicalId, SnapshotId
from backuppeer.limits import TAKE_OVER_STEP
from backuppeer.proof.statements import WriterGrant
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.head import (
    Inventory,
    check_inventory,
    decode_pack_list,
    decode_root,
    encode_inventory,
    load_inventory,
    plan_head,
    plan_return,
)
from repo.building import KEYS, REPOSITORY, noise


def _inventory(snapshots: int, packs: int) -> Inventory:
    return Inventory(
        tuple(SnapshotId(noise(("s", i), 32)) for i in range(snapshots)),
        tuple(LogicalId(noise(("p", i), 16)) for i in range(packs)),
    )


def _blobs(inventory: Inventory):
    encoded = encode_inventory(KEYS, inventory)
    blobs = {KEYS.blob_id(BlobKind.INDEX, data): data for data in (*encoded.pieces, encoded.root)}
    return encoded, blobs


def _grant(epoch: int = 1, repository=REPOSITORY) -> WriterGrant:
    return WriterGrant(repository=repository, epoch=epoch, device=DeviceId(bytes([epoch]) * 32), time_ms=0)


def _plan(inventory, previous=None, previous_hash=bytes(32), grant=None):
    index = encode_inventory(KEYS, inventory).index
    return plan_head(previous, previous_hash, grant=grant or _grant(), index=index, inventory=inventory, time_ms=5)


@given(st.integers(0, 20), st.integers(0, 300))
@settings(max_examples=20)
def test_inventories_round_trip_and_fit_their_head(snapshots, packs):
    inventory = _inventory(snapshots, packs)
    encoded, blobs = _blobs(inventory)
    assert load_inventory(encoded.index, blobs.__getitem__) == inventory
    check_inventory(_plan(inventory), inventory.snapshots, inventory.packs)


def test_a_new_pack_changes_the_last_piece_only():
    before, after = _inventory(3, 20_000), _inventory(3, 20_001)
    pieces = [set(encode_inventory(KEYS, i).pieces) for i in (before, after)]
    assert len(pieces[0]) >= 3
    assert len(pieces[1] - pieces[0]) == 1


def test_the_first_head_has_number_one_and_each_next_names_the_one_before():
    first = _plan(_inventory(1, 1))
    assert (first.number, first.previous) == (1, bytes(32))
    second = _plan(_inventory(2, 2), first, b"h" * 32)
    assert (second.number, second.previous, second.epoch) == (2, b"h" * 32, 1)
    taken_over = _plan(_inventory(2, 2), second, b"i" * 32, _grant(epoch=2))
    assert (taken_over.number, taken_over.epoch, taken_over.device) == (2 + TAKE_OVER_STEP, 2, b"\x02" * 32)


def test_a_head_that_says_again_what_an_earlier_one_did_follows_the_newest():
    inventory = _inventory(2, 2)
    first = _plan(inventory)
    second = _plan(_inventory(1, 3), first, b"h" * 32)
    third = plan_return(second, b"i" * 32, grant=_grant(), said=first, time_ms=1)
    assert (third.number, third.previous, third.index) == (3, b"i" * 32, first.index)
    assert third.time_ms > second.time_ms
    check_inventory(third, inventory.snapshots, inventory.packs)
    with pytest.raises(LocalError):
        plan_return(_plan(inventory, grant=_grant(epoch=2)), b"i" * 32, grant=_grant(), said=first, time_ms=1)


def test_a_writer_behind_a_newer_epoch_or_of_another_repository_plans_no_head():
    newer = _plan(_inventory(1, 1), grant=_grant(epoch=2))
    for grant in (_grant(epoch=1), _grant(epoch=3, repository=b"o" * 16)):
        with pytest.raises(LocalError):
            _plan(_inventory(1, 1), newer, b"h" * 32, grant)


def test_omitted_added_and_exchanged_members_are_noticed():
    inventory = _inventory(4, 9)
    head = _plan(inventory)
    snapshots, packs = inventory.snapshots, inventory.packs
    other = _inventory(5, 10)
    for wrong in (snapshots[1:], other.snapshots, (*snapshots[1:], other.snapshots[4]), ()):
        with pytest.raises(IntegrityFault, match="snapshots"):
            check_inventory(head, wrong, packs)
    for wrong in (packs[1:], other.packs, (*packs[1:], other.packs[9]), ()):
        with pytest.raises(IntegrityFault, match="packs"):
            check_inventory(head, snapshots, wrong)


def test_inventories_that_name_something_twice_are_refused_on_both_ways():
    inventory = _inventory(2, 2)
    for twice in (
        Inventory(inventory.snapshots * 2, inventory.packs),
        Inventory(inventory.snapshots, inventory.packs * 2),
    ):
        with pytest.raises(LocalError):
            encode_inventory(KEYS, twice)
    encoded, blobs = _blobs(inventory)
    (piece,) = encoded.pieces
    piece_id = KEYS.blob_id(BlobKind.INDEX, piece)
    root = msgspec.msgpack.encode([1, [b"".join(inventory.snapshots), piece_id * 2]])
    with pytest.raises(IntegrityFault, match="twice"):
        load_inventory(BlobId(b"root"), lambda blob: root if blob == b"root" else blobs[blob])


def test_ids_of_a_wrong_length_are_our_bug():
    for wrong in (Inventory((SnapshotId(b"s"),), ()), Inventory((), (LogicalId(b"p" * 32),))):
        with pytest.raises(LocalError):
            encode_inventory(KEYS, wrong)


@pytest.mark.parametrize(
    "root",
    [
        b"",
        b"\x92\x02\x92\xc4\x00\xc4\x00",
        b"\x92\x01\x91\xc4\x00",
        b"\x92\x01\x93\xc4\x00\xc4\x00\xc4\x00",
        msgspec.msgpack.encode([1, [bytes(31), b""]]),
        msgspec.msgpack.encode([1, [b"", bytes(33)]]),
        msgspec.msgpack.encode([1, ["text", b""]]),
        msgspec.msgpack.encode([1, [bytes(32 * 65537), b""]]),
        msgspec.msgpack.encode([1, [b"", bytes(32 * 65537)]]),
        msgspec.msgpack.encode([1, [bytes(32 * 65536), bytes(32 * 65536)]]),  # each within its cap, not both in a blob
        msgspec.msgpack.encode([1, [b"", b"", b""]]),
        b"\x92" + bytes(4 << 20),
    ],
)
def test_what_is_no_root_is_refused(root):
    with pytest.raises(IntegrityFault):
        decode_root(root)


@pytest.mark.parametrize("piece", [b"", b"\x01", b"\x02" + bytes(16), b"\x01" + bytes(17)])
def test_what_is_no_pack_list_is_refused(piece):
    with pytest.raises(IntegrityFault):
        decode_pack_list(piece)


@given(st.binary(max_size=100))
def test_any_bytes_decode_as_root_or_are_refused(data):
    for start in (b"", b"\x92\x01\x92"):
        try:
            decode_root(start + data)
        except IntegrityFault:
            continue
