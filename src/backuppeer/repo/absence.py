"""Which blobs are surely not in the index: said from memory, without asking the database.

Knows: the beginnings of ids. Must not know: tables, packs. In a first backup nearly every blob is new, and each look
into the database would cost more than naming it, and wait for whoever writes there.
"""

from collections.abc import Iterable
from typing import Final

from backuppeer.ids import BlobId

_BITS: Final = 24
_BEGINNING_BYTES: Final = _BITS // 8


class Absence:
    """A bit for each beginning of 3 bytes, 2 MiB in all; ids are hashes, so 175,000 blobs set 1 % of the bits."""

    def __init__(self) -> None:
        self._bits = bytearray(1 << (_BITS - 3))

    def add(self, blobs: Iterable[BlobId]) -> None:
        """Note blobs that the index holds, or will."""
        bits = self._bits
        for blob in blobs:
            beginning = int.from_bytes(blob[:_BEGINNING_BYTES], "little")
            bits[beginning >> 3] |= 1 << (beginning & 7)

    def keep_possible(self, blobs: Iterable[BlobId]) -> list[BlobId]:
        """Return those of the blobs that may be in the index; all others are not."""
        bits, kept = self._bits, []
        for blob in blobs:
            beginning = int.from_bytes(blob[:_BEGINNING_BYTES], "little")
            if bits[beginning >> 3] >> (beginning & 7) & 1:
                kept.append(blob)
        return kept
