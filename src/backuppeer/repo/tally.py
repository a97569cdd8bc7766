"""Whether the rows of the index for a pack are what its directory says: a count and a mark, over any number of rows.

Knows: entries. Must not know: where rows come from. The mark is a sum of checksums, so that the order of rows does not
matter: it finds accidents on this machine's disk, never an attacker, who can't reach the index without the home.
"""

import struct
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from backuppeer.ids import LogicalId
from backuppeer.repo.index import Location
from backuppeer.repo.layout import Entry

_ROW: Final = struct.Struct(">32sIIIIBB")
_MASK: Final = (1 << 63) - 1
"""A mark fits a signed column of SQLite."""


class Tally(NamedTuple):
    """Rows of one pack: how many, and the sum of their checksums."""

    blobs: int
    mark: int


def tally_packs(rows: Iterable[Location]) -> dict[LogicalId, Tally]:
    """Return the tally of each pack that any row names; memory grows with packs, not with rows."""
    packs: dict[LogicalId, Tally] = {}
    for row in rows:
        blobs, mark = packs.get(row.pack, (0, 0))
        packs[row.pack] = Tally(blobs + 1, (mark + _checksum(row.entry)) & _MASK)
    return packs


def tally_entries(entries: Iterable[Entry]) -> Tally:
    """Return the tally that just these entries of one pack have."""
    blobs = mark = 0
    for entry in entries:
        blobs, mark = blobs + 1, (mark + _checksum(entry)) & _MASK
    return Tally(blobs, mark)


def _checksum(entry: Entry) -> int:
    row = _ROW.pack(
        entry.blob, entry.slot, entry.offset, entry.sealed_bytes, entry.plain_bytes, int(entry.kind), int(entry.codec)
    )
    return zlib.crc32(row) << 31 ^ zlib.adler32(row)
