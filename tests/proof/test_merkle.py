"""Merkle trees of copies and sets."""

import hashlib
import json
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.errors import IntegrityFault, LocalError
from backuppeer.ids import StoredId
from backuppeer.limits import LEAF_BYTES, MERKLE_LENGTH_BYTES
from backuppeer.proof.merkle import (
    IncrementalLeaves,
    compute_stored_id,
    count_leaves,
    find_path,
    hash_leaves,
    root_of_set,
    stored_id_of_leaves,
    verify_range,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "merkle.json").read_text())


_ROW = bytes(251 * i % 256 for i in range(256))
_PERIOD = b"".join(_ROW.translate(bytes((x + 7 * n) % 256 for x in range(256))) for n in range(256))


def make_data(length: int) -> bytes:
    return (_PERIOD * (length // len(_PERIOD) + 1))[:length]


def reference_hash(text: bytes, data: bytes) -> bytes:
    return blake3(data, key=text.ljust(32, b"\0")).digest()


def reference_top(nodes: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, in its own words: recursive, split at the largest power of two below n."""
    if len(nodes) <= 1:
        return nodes[0] if nodes else b""
    half = 1
    while half * 2 < len(nodes):
        half *= 2
    return reference_hash(b"backuppeer v1 merkle node", reference_top(nodes[:half]) + reference_top(nodes[half:]))


def reference_stored_id(data: bytes) -> bytes:
    cuts = range(0, len(data), LEAF_BYTES)
    leaves = [reference_hash(b"backuppeer v1 merkle leaf", data[i : i + LEAF_BYTES]) for i in cuts]
    return reference_hash(b"backuppeer v1 merkle root", len(data).to_bytes(8, "big") + reference_top(leaves))


@pytest.mark.parametrize("vector", VECTORS["trees"], ids=lambda v: str(v["length"]))
def test_tree_is_that_of_the_vector(vector):
    data = make_data(vector["length"])
    leaves = hash_leaves(data)
    stored = StoredId(bytes.fromhex(vector["stored"]))
    assert hashlib.sha256(leaves).hexdigest() == vector["leaves_hash"]
    assert vector["leaves"] in (None, [leaves[i : i + 32].hex() for i in range(0, len(leaves), 32)])
    assert stored_id_of_leaves(leaves, len(data)) == compute_stored_id(data) == reference_stored_id(data) == stored
    for proof in vector["paths"]:
        path = [bytes.fromhex(node) for node in proof["path"]]
        assert find_path(leaves, proof["first"], proof["count"]) == path
        piece = data[proof["first"] * LEAF_BYTES : (proof["first"] + proof["count"]) * LEAF_BYTES]
        verify_range(stored, len(data), proof["first"], piece, path)


@given(st.integers(0, 40), st.integers(0, LEAF_BYTES - 1))
@settings(deadline=None, max_examples=40)
def test_stored_id_is_the_tree_of_rfc_6962(leaves, rest):
    data = make_data(leaves * LEAF_BYTES + rest)
    assert compute_stored_id(data) == reference_stored_id(data)
    assert compute_stored_id(memoryview(bytearray(data))) == reference_stored_id(data)


@st.composite
def ranges(draw, most=40):
    """A copy, a range of its leaves."""
    total = draw(st.integers(1, most))
    length = (total - 1) * LEAF_BYTES + draw(st.sampled_from([1, 100, LEAF_BYTES - 1, LEAF_BYTES]))
    first = draw(st.integers(0, total - 1))
    return make_data(length), first, draw(st.integers(1, total - first))


@given(ranges())
@settings(deadline=None, max_examples=80)
def test_every_range_verifies_with_its_path_and_nothing_else(case):
    data, first, count = case
    stored, leaves = compute_stored_id(data), hash_leaves(data)
    path = find_path(leaves, first, count)
    piece = data[first * LEAF_BYTES : (first + count) * LEAF_BYTES]
    verify_range(stored, len(data), first, memoryview(piece), path)
    assert len(path) <= 2 * (count_leaves(len(data)) - 1).bit_length()
    for wrong in ([*path, bytes(32)], path[:-1] if path else [b""], [bytes(32), *path]):
        with pytest.raises(IntegrityFault):
            verify_range(stored, len(data), first, piece, wrong)


@given(ranges(most=12), st.integers(0, 2**20), st.integers(0, 7), st.integers(0, 63))
@settings(deadline=None, max_examples=150)
def test_changed_byte_node_place_or_length_is_refused(case, byte, bit, node_number):
    data, first, count = case
    stored, path = compute_stored_id(data), find_path(hash_leaves(data), first, count)
    piece = bytearray(data[first * LEAF_BYTES : (first + count) * LEAF_BYTES])
    changed = bytearray(piece)
    changed[byte % len(piece)] ^= 1 << bit
    attempts = [(stored, len(data), first, changed, path)]
    attempts += [(stored, len(data) + delta, first, piece, path) for delta in (-1, 1, LEAF_BYTES, -LEAF_BYTES)]
    attempts += [(stored, len(data), first + delta, piece, path) for delta in (-1, 1)]
    attempts += [(stored, len(data), first, piece[:-1], path), (stored, len(data), first, piece + b"\0", path)]
    attempts += [(StoredId(bytes(32)), len(data), first, piece, path)]
    if path:
        at = node_number % len(path)
        for node in (bytes(32), path[at][:31], path[at] + b"\0", b""):
            attempts.append((stored, len(data), first, piece, [*path[:at], node, *path[at + 1 :]]))
    # The data repeats every four leaves, so a path can read the same from both ends: leaf 1 of five, by 0, 2-3 and 4.
    if path != path[::-1]:
        attempts.append((stored, len(data), first, piece, path[::-1]))
    for given_stored, length, start, given_piece, nodes in attempts:
        with pytest.raises(IntegrityFault):
            verify_range(given_stored, length, start, given_piece, nodes)


def test_inner_node_can_not_pass_as_a_leaf():
    data = make_data(4 * LEAF_BYTES)
    leaves = hash_leaves(data)
    stored = compute_stored_id(data)
    # The classic second preimage: present two joined leaf hashes as the bytes of one leaf of a shorter copy.
    for length in (64, 2 * LEAF_BYTES, 4 * LEAF_BYTES):
        with pytest.raises(IntegrityFault):
            verify_range(stored, length, 0, leaves[:64], [leaves[64:96]])


def test_copies_of_zeros_of_different_length_have_different_ids():
    lengths = (0, 1, LEAF_BYTES, LEAF_BYTES + 1, 2 * LEAF_BYTES, 4 * LEAF_BYTES)
    assert len({compute_stored_id(bytes(length)) for length in lengths}) == len(lengths)


@pytest.mark.parametrize("length", [-1, 0, 2**63, 2**64, 2**200, -(2**70)])
def test_absurd_length_is_refused_at_once(length):
    depth = (count_leaves(length) - 1).bit_length() if length > 0 else 0
    with pytest.raises(IntegrityFault, match="no part of"):
        verify_range(StoredId(bytes(32)), length, 0, bytes(LEAF_BYTES), [bytes(32)] * depth)


def test_longest_length_costs_a_bounded_path():
    with pytest.raises(IntegrityFault, match="nodes"):
        verify_range(StoredId(bytes(32)), MERKLE_LENGTH_BYTES, 12345, bytes(LEAF_BYTES), [bytes(32)] * 10_000)
    # A path of the right size is hashed up, all 49 levels of it, and fails on the root.
    with pytest.raises(IntegrityFault, match="belong"):
        verify_range(StoredId(bytes(32)), MERKLE_LENGTH_BYTES, 12345, bytes(LEAF_BYTES), [bytes(32)] * 49)


@pytest.mark.parametrize("first", [-1, 2, 10**30])
def test_range_outside_the_copy_is_refused(first):
    data = make_data(2 * LEAF_BYTES)
    with pytest.raises(IntegrityFault):
        verify_range(compute_stored_id(data), len(data), first, data[:LEAF_BYTES], [bytes(32)])


@pytest.mark.parametrize("size", [1, LEAF_BYTES - 1, LEAF_BYTES + 1])
def test_range_that_ends_within_a_leaf_is_refused(size):
    data = make_data(3 * LEAF_BYTES)
    with pytest.raises(IntegrityFault, match="end with a leaf"):
        verify_range(compute_stored_id(data), len(data), 0, data[:size], find_path(hash_leaves(data), 0, 1))


def test_empty_range_proves_nothing():
    data = make_data(2 * LEAF_BYTES)
    with pytest.raises(IntegrityFault):
        verify_range(compute_stored_id(data), len(data), 0, b"", [hash_leaves(data)[:32], hash_leaves(data)[32:]])


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 0), (0, 4), (3, 1), (2, 2), (1, -1)])
def test_path_of_a_range_outside_the_tree_is_our_own_mistake(first, count):
    with pytest.raises(LocalError):
        find_path(hash_leaves(make_data(3 * LEAF_BYTES)), first, count)


@pytest.mark.parametrize("length", [0, LEAF_BYTES, 2 * LEAF_BYTES + 1])
def test_leaves_of_another_length_have_no_stored_id(length):
    with pytest.raises(LocalError):
        stored_id_of_leaves(hash_leaves(make_data(2 * LEAF_BYTES)), length)


@given(st.lists(st.integers(0, 3 * LEAF_BYTES), max_size=8), st.sampled_from([bytes, bytearray, memoryview]))
@settings(deadline=None, max_examples=60)
def test_leaves_of_pieces_are_those_of_the_whole(sizes, wrap):
    data = make_data(sum(sizes))
    incremental, at = IncrementalLeaves(), 0
    for size in sizes:
        incremental.update(wrap(data[at : at + size]))
        at += size
        assert incremental.length == at
    assert incremental.finish() == hash_leaves(data)
    assert incremental.finish() == hash_leaves(data)
    assert incremental.length == len(data)


def test_buffer_may_be_reused_after_update():
    data, buffer, incremental = make_data(40_000), bytearray(100), IncrementalLeaves()
    for at in range(0, len(data), 100):
        buffer[:] = data[at : at + 100]
        incremental.update(buffer)
    assert incremental.finish() == hash_leaves(data)


def test_finished_leaves_take_no_more():
    incremental = IncrementalLeaves()
    incremental.finish()
    with pytest.raises(LocalError):
        incremental.update(b"x")


@pytest.mark.parametrize("vector", VECTORS["sets"], ids=lambda v: str(len(v["ids"])))
def test_root_of_a_set_is_that_of_the_vector(vector):
    assert root_of_set(bytes.fromhex(x) for x in vector["ids"]).hex() == vector["root"]


@given(st.sets(st.binary(min_size=16, max_size=16), max_size=40), st.randoms(use_true_random=False))
def test_root_of_a_set_knows_no_order_and_no_repetition(ids, random):
    leaves = [reference_hash(b"backuppeer v1 set leaf", x) for x in sorted(ids)]
    expected = reference_hash(b"backuppeer v1 set root", len(ids).to_bytes(8, "big") + reference_top(leaves))
    shuffled = [*ids, *list(ids)[:3]]
    random.shuffle(shuffled)
    assert root_of_set(shuffled) == expected


@given(st.sets(st.binary(min_size=2, max_size=2), max_size=6), st.sets(st.binary(min_size=2, max_size=2), max_size=6))
def test_different_sets_have_different_roots(one, two):
    assert (root_of_set(one) == root_of_set(two)) == (one == two)


@pytest.mark.parametrize("ids", [[b"a", b"bc"], [b""], [b"", b"a"]])
def test_set_of_ids_of_different_length_is_refused(ids):
    with pytest.raises(LocalError):
        root_of_set(ids)
