"""A walk through the slots on show in an order of its own, one page after the other, and the cursor that says where.

Knows: places of an array that is always a uniformly random permutation. Must not know: what stands in them. A walk
begins anywhere and goes on by a random stride that meets every place once, so two viewers see different orders and no
place is better than another. A cursor is opaque to clients, small, and holds nothing secret; no engine remembers any.
"""

import math
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from backuppeer.errors import ProtocolViolation

_CURSOR: Final = struct.Struct(">IIII")
_LOOKS_PER_ROW: Final = 4
"""Places looked at per row wanted, so that a page costs a bounded time after many slots left."""


@dataclass(slots=True)
class Walk:
    """`size` places, of which `done` have been looked at."""

    size: int
    start: int
    stride: int
    done: int = 0

    @classmethod
    def begin(cls, size: int, randomness: random.Random) -> Self:
        """Return a new walk through `size` places."""
        if size == 0:
            return cls(0, 0, 1)
        return cls(size, randomness.randrange(size), _draw_stride(size, randomness))

    @classmethod
    def resume(cls, cursor: bytes, most: int) -> Self:
        """Return the walk that a cursor tells of; `most`: places that there can be.

        Raises:
            ProtocolViolation: not a cursor of ours.

        """
        if len(cursor) != _CURSOR.size:
            raise ProtocolViolation("not a cursor of this server")
        walk = cls(*_CURSOR.unpack(cursor))
        size = walk.size
        if not (0 < size <= most and walk.start < size and 0 < walk.stride <= size and walk.done < size):
            raise ProtocolViolation("not a cursor of this server")
        return walk

    def look_ahead(self, rows: int) -> Iterator[int]:
        """Return the places to look at for so many rows; whoever has looked moves `done` on."""
        stop = min(self.size, self.done + rows * _LOOKS_PER_ROW)
        return ((self.start + step * self.stride) % self.size for step in range(self.done, stop))

    def cursor(self) -> bytes:
        """Return where to go on; empty at the end."""
        if self.done >= self.size:
            return b""
        return _CURSOR.pack(self.size, self.start, self.stride, self.done)


def _draw_stride(size: int, randomness: random.Random) -> int:
    while True:
        stride = randomness.randrange(1, size + 1)
        if math.gcd(stride, size) == 1:
            return stride
