"""Merkle trees over the bytes of one pack copy, and over sets of ids.

Knows: leaves of 16 KiB, nodes, roots, paths. Must not know: what the bytes are. No IO.

    leaf      = hash(MERKLE_LEAF, 16 KiB of the copy; the last leaf may be shorter)
    node      = hash(MERKLE_NODE, left ‖ right)
    stored id = hash(MERKLE_ROOT, u64be(length of the copy) ‖ top)

The tree over n leaves is that of RFC 6962: split at the largest power of two below n. Built level by level it is the
same as pairing neighbours and carrying an odd last one up unchanged, which is how it is computed here. The length in
the root fixes the number of leaves, thus the shape: no leaf can be passed off as a node, nor a part as the whole.

A set of ids has leaves hash(SET_LEAF, id) in ascending order of the ids, the same nodes, and the root
hash(SET_ROOT, u64be(count) ‖ top). The top of nothing is the empty string.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from backuppeer.crypto.digest import HASH_BYTES, Buffer, Domain, hash_bytes, hash_pieces
from backuppeer.errors import IntegrityFault, LocalError
from backuppeer.ids import StoredId
from backuppeer.limits import LEAF_BYTES, MERKLE_LENGTH_BYTES

_PAIR_BYTES: Final = 2 * HASH_BYTES


def count_leaves(length: int) -> int:
    """Return the number of leaves of a copy of `length` bytes."""
    return -(-length // LEAF_BYTES)


def hash_leaves(data: Buffer) -> bytes:
    """Return the leaf hashes of `data`, n x 32 bytes."""
    return hash_pieces(Domain.MERKLE_LEAF, data, LEAF_BYTES)


def stored_id_of_leaves(leaves: bytes, length: int) -> StoredId:
    """Return the stored id of a copy of `length` bytes from its leaf hashes.

    Raises:
        LocalError: the leaves are not those of that length.

    """
    _check_leaves(leaves, length)
    return _bind_length(length, _find_top(leaves))


def compute_stored_id(data: Buffer) -> StoredId:
    """Return the stored id of a whole copy."""
    return stored_id_of_leaves(hash_leaves(data), len(data))


class Tree:
    """Every node of one copy's tree, each hashed once: for its stored id and for any number of paths."""

    __slots__ = ("_levels",)

    def __init__(self, leaves: bytes) -> None:
        """Take the leaf hashes, n x 32 bytes, n ≥ 1."""
        self._levels = [leaves]
        while len(self._levels[-1]) > HASH_BYTES:
            self._levels.append(_find_parents(self._levels[-1]))

    @property
    def leaves(self) -> bytes:
        """The leaf hashes."""
        return self._levels[0]

    def stored_id(self, length: int) -> StoredId:
        """Return the stored id of a copy of `length` bytes.

        Raises:
            LocalError: the leaves are not those of that length.

        """
        _check_leaves(self.leaves, length)
        return _bind_length(length, self._levels[-1])

    def path(self, first: int, count: int) -> list[bytes]:
        """Return the nodes that `verify_range` needs beside `count` leaves from `first` on, from left to right.

        Raises:
            LocalError: there are no such leaves.

        """
        total = len(self.leaves) // HASH_BYTES
        if count < 1 or first < 0 or first + count > total:
            raise LocalError(f"no leaves {first} to {first + count - 1} among {total}")
        return [_node_of(self._levels, low, high) for low, high in _find_siblings(0, total, first, first + count)]


def find_path(leaves: bytes, first: int, count: int) -> list[bytes]:
    """Return one path of a copy, as `Tree.path`; for several, or for its id as well, make the tree."""
    return Tree(leaves).path(first, count)


def verify_range(stored: StoredId, length: int, first_leaf: int, data: Buffer, path: Sequence[bytes]) -> None:
    """Check that `data` are the bytes of the copy `stored`, `length` bytes long, from leaf `first_leaf` on.

    `data` is a whole number of leaves; only the last leaf of the copy may be short. `path`: from `find_path`.

    Raises:
        IntegrityFault: it is not, or the path is not exactly the one needed.

    """
    total = count_leaves(length)
    count = count_leaves(len(data))
    end = first_leaf + count
    if not 0 < length <= MERKLE_LENGTH_BYTES or count < 1 or first_leaf < 0 or end > total:
        raise IntegrityFault(f"{len(data)} bytes from leaf {first_leaf} are no part of a copy of {length} bytes")
    if len(data) != min(end * LEAF_BYTES, length) - first_leaf * LEAF_BYTES:
        raise IntegrityFault(f"{len(data)} bytes from leaf {first_leaf} do not end with a leaf")
    siblings = list(_find_siblings(0, total, first_leaf, end))
    if len(path) != len(siblings) or any(len(node) != HASH_BYTES for node in path):
        raise IntegrityFault("a proof has not the nodes that its range needs")
    given = dict(zip(siblings, path, strict=True))
    top = _rebuild(0, total, first_leaf=first_leaf, leaves=hash_leaves(data), given=given)
    # Both sides are public, so there is nothing to learn from how long the comparison takes.
    if _bind_length(length, top) != stored:
        raise IntegrityFault(f"bytes from leaf {first_leaf} do not belong to the copy {stored.hex()[:16]}")


def root_of_set(ids: Iterable[bytes]) -> bytes:
    """Return the 32-byte root of a set of ids of one length; order and repetition do not matter, none is fine.

    Raises:
        LocalError: the ids have different lengths.

    """
    members = sorted(set(ids))
    size = len(members[0]) if members else 1
    # One length: else "ab" ‖ "c" and "a" ‖ "bc" would be cut into the same pieces below.
    if not size or any(len(member) != size for member in members):
        raise LocalError("the ids of a set have one length")
    leaves = hash_pieces(Domain.SET_LEAF, b"".join(members), size)
    return hash_bytes(Domain.SET_ROOT, len(members).to_bytes(8, "big") + _find_top(leaves))


class IncrementalLeaves:
    """Leaf hashes of bytes that arrive in pieces of any size; holds at most one unfinished leaf."""

    __slots__ = ("_done", "_filled", "_finished", "_hashes", "_rest")

    def __init__(self) -> None:
        self._hashes: list[bytes] = []
        self._rest = memoryview(bytearray(LEAF_BYTES))
        self._filled = 0
        self._done = 0
        self._finished = False

    @property
    def length(self) -> int:
        """Bytes taken so far."""
        return self._done + self._filled

    def update(self, data: Buffer) -> None:
        """Take the next bytes; `data` stays the caller's and may be reused at once.

        Raises:
            LocalError: `finish` was called before.

        """
        if self._finished:
            raise LocalError("the leaves are finished")
        view = memoryview(data)
        if self._filled:
            view = view[self._fill(view) :]
        whole = len(view) - len(view) % LEAF_BYTES
        if whole:
            self._hashes.append(hash_leaves(view[:whole]))
            self._done += whole
        self._fill(view[whole:])

    def finish(self) -> bytes:
        """Return all leaf hashes, n x 32 bytes; may be called again."""
        if self._filled:
            self._flush()
        self._finished = True
        return b"".join(self._hashes)

    def _fill(self, view: memoryview) -> int:
        taken = min(LEAF_BYTES - self._filled, len(view))
        self._rest[self._filled : self._filled + taken] = view[:taken]
        self._filled += taken
        if self._filled == LEAF_BYTES:
            self._flush()
        return taken

    def _flush(self) -> None:
        self._hashes.append(hash_bytes(Domain.MERKLE_LEAF, self._rest[: self._filled]))
        self._done += self._filled
        self._filled = 0


def _check_leaves(leaves: bytes, length: int) -> None:
    if len(leaves) != count_leaves(length) * HASH_BYTES:
        raise LocalError(f"{len(leaves)} bytes of leaf hashes do not belong to {length} bytes")


def _bind_length(length: int, top: bytes) -> StoredId:
    return StoredId(hash_bytes(Domain.MERKLE_ROOT, length.to_bytes(8, "big") + top))


def _find_parents(level: bytes) -> bytes:
    paired = len(level) - len(level) % _PAIR_BYTES
    return hash_pieces(Domain.MERKLE_NODE, memoryview(level)[:paired], _PAIR_BYTES) + level[paired:]


def _find_top(leaves: bytes) -> bytes:
    level = leaves
    while len(level) > HASH_BYTES:
        level = _find_parents(level)
    return level


def _split(low: int, high: int) -> int:
    """Return where the tree over leaves low..high-1 is split: after the largest power of two below their number."""
    return low + (1 << (high - low - 1).bit_length() - 1)


def _node_of(levels: Sequence[bytes], low: int, high: int) -> bytes:
    height = (high - low - 1).bit_length()
    at = (low >> height) * HASH_BYTES
    return levels[height][at : at + HASH_BYTES]


def _find_siblings(low: int, high: int, first: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the largest subtrees (low, high) that lie wholly outside first..end-1, from left to right.

    At most two on each level, whatever the length; the depth is at most 64, for the length is bounded.
    """
    if high <= first or end <= low:
        yield low, high
    elif not (first <= low and high <= end):
        middle = _split(low, high)
        yield from _find_siblings(low, middle, first, end)
        yield from _find_siblings(middle, high, first, end)


def _rebuild(low: int, high: int, *, first_leaf: int, leaves: bytes, given: dict[tuple[int, int], bytes]) -> bytes:
    """Return the node over leaves low..high-1 from the leaves at hand and the given siblings."""
    node = given.get((low, high))
    if node is not None:
        return node
    if first_leaf <= low and high <= first_leaf + len(leaves) // HASH_BYTES:
        return _find_top(leaves[(low - first_leaf) * HASH_BYTES : (high - first_leaf) * HASH_BYTES])
    middle = _split(low, high)
    left = _rebuild(low, middle, first_leaf=first_leaf, leaves=leaves, given=given)
    right = _rebuild(middle, high, first_leaf=first_leaf, leaves=leaves, given=given)
    return hash_bytes(Domain.MERKLE_NODE, left + right)
