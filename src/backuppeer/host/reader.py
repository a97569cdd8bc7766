"""One stored pack, open for reading: ranges of its bytes and the Merkle paths that prove them.

Knows: a pack file and its leaf hashes. Must not know: who asks. Bytes are served as they lie on the disk: whoever
asked verifies them against the stored id, which is the proof; paths come only from leaf hashes that match the id.
"""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from backuppeer.errors import DamagedStateError, ProtocolViolation
from backuppeer.host.disk import forget_pages, translate_failures
from backuppeer.host.incoming import write_leaves
from backuppeer.host.layout import LEAVES_SUFFIX
from backuppeer.host.quota import leaves_bytes
from backuppeer.ids import StoredId
from backuppeer.limits import BLOCK_BYTES, LEAF_BYTES
from backuppeer.proof.merkle import IncrementalLeaves, Tree


class DamagedPackError(DamagedStateError):
    """A pack that this host acknowledged is gone, or no longer what it was: for good, so its owner has to know."""


class PackReader:
    """An open pack of `size` bytes; for one thread at a time; `close` it, or use `with`."""

    def __init__(self, path: Path, *, root: Path, stored: StoredId, size: int) -> None:
        """Open the file.

        Raises:
            DamagedPackError: the file has another length than the catalogue says.
            OSError: as the system says; the caller translates.

        """
        self.stored = stored
        self.size = size
        self._path = path
        self._root = root
        self._tree: Tree | None = None
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        found = os.fstat(self._descriptor).st_size
        if found != size:
            self.close()
            raise _damage(stored, f"it has {found} bytes instead of {size}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; again is fine."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def readinto(self, offset: int, buffer: bytearray | memoryview) -> int:
        """Fill the buffer from `offset` and return how many bytes that were: fewer only at the pack's end.

        Raises:
            ProtocolViolation: an offset outside the pack.
            StoreUnavailable: the disk is gone or failing.
            DamagedPackError: the file became shorter.

        """
        if not 0 <= offset <= self.size:
            raise ProtocolViolation(f"offset {offset} lies outside a pack of {self.size} bytes")
        wanted = min(len(buffer), self.size - offset)
        done = 0
        with memoryview(buffer) as view, translate_failures(self._root):
            while done < wanted:
                got = os.preadv(self._descriptor, [view[done:wanted]], offset + done)
                if got == 0:
                    raise _damage(self.stored, "it became shorter")
                done += got
        return done

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises:
            ProtocolViolation: a range outside the pack, or empty.
            StoreUnavailable: the disk is gone or failing.
            DamagedPackError: the file became shorter.

        """
        if length < 1 or offset < 0 or offset + length > self.size:
            raise ProtocolViolation(f"range {offset}+{length} lies outside a pack of {self.size} bytes")
        buffer = bytearray(length)
        self.readinto(offset, buffer)
        return bytes(buffer)

    def path(self, first_leaf: int, count: int) -> list[bytes]:
        """Return the hashes that prove `count` leaves from `first_leaf` on, in the order `verify_range` takes them.

        Raises:
            ProtocolViolation: leaves outside the pack.
            DamagedPackError: the pack's bytes are no longer those of its id.
            StoreUnavailable: the disk is gone or failing.

        """
        leaf_count = -(-self.size // LEAF_BYTES)
        if first_leaf < 0 or count < 1 or first_leaf + count > leaf_count:
            raise ProtocolViolation(f"leaves {first_leaf}+{count} lie outside a pack of {leaf_count}")
        return self._checked_tree().path(first_leaf, count)

    def leaves(self) -> bytes:
        """Return the leaf hashes, 32 bytes each, checked against the stored id; a torn file of them is repaired.

        Raises:
            DamagedPackError: the pack's bytes are no longer those of its id.
            StoreUnavailable: the disk is gone or failing.

        """
        return self._checked_tree().leaves

    def verify(self) -> None:
        """Read the whole pack, from the disk where the system lets us, and check it against its stored id.

        Raises:
            DamagedPackError: the bytes are not those of the id.
            StoreUnavailable: the disk is gone or failing.

        """
        # What lies in memory says nothing about the disk. And afterwards: nobody else asks for it soon.
        forget_pages(self._descriptor)
        try:
            self._tree = self._hash_leaves()
        finally:
            forget_pages(self._descriptor)

    def _checked_tree(self) -> Tree:
        if self._tree is None:
            kept = self._read_leaves()
            tree = Tree(kept) if len(kept) == leaves_bytes(self.size) else None
            self._tree = tree if tree is not None and self._is_right(tree) else self._repair_leaves()
        return self._tree

    def _is_right(self, tree: Tree) -> bool:
        return tree.stored_id(self.size) == self.stored

    def _read_leaves(self) -> bytes:
        try:
            with self._leaves_path.open("rb") as file:
                return file.read(leaves_bytes(self.size) + 1)
        except OSError:
            return b""  # derived data: computed anew by the caller

    def _repair_leaves(self) -> Tree:
        tree = self._hash_leaves()
        with suppress(OSError):  # a full or read-only disk: they are computed again next time
            write_leaves(self._leaves_path, tree.leaves)
        return tree

    def _hash_leaves(self) -> Tree:
        buffer = bytearray(min(BLOCK_BYTES, self.size))
        hasher = IncrementalLeaves()
        offset = 0
        with memoryview(buffer) as view:
            while offset < self.size:
                got = self.readinto(offset, view)
                hasher.update(view[:got])
                offset += got
        tree = Tree(hasher.finish())
        if not self._is_right(tree):
            raise _damage(self.stored, "its bytes are not those of its id")
        return tree

    @property
    def _leaves_path(self) -> Path:
        return self._path.with_name(self._path.name + LEAVES_SUFFIX)


def _damage(stored: StoredId, what: str) -> DamagedPackError:
    return DamagedPackError(f"pack {stored.hex()} is damaged: {what}", hint="check the disk (dmesg, SMART)")
