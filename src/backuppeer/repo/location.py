"""Where a blob lies, as a row of the index and as a value.

Knows: columns. Must not know: tables, queries.
"""

from typing import Final

import msgspec

from backuppeer.errors import DamagedStateError
from backuppeer.ids import BlobId, LogicalId
from backuppeer.repo.blob import BlobKind, Codec
from backuppeer.repo.database import REBUILD_HINT
from backuppeer.repo.layout import Entry

Row = tuple[bytes, bytes, int, int, int, int, int, int]
_KINDS: Final = {int(kind): kind for kind in BlobKind}
_CODECS: Final = {int(codec): codec for codec in Codec}


class Location(msgspec.Struct, frozen=True, gc=False):
    """Where a blob lies: the same in all copies of the pack."""

    pack: LogicalId
    entry: Entry

    @property
    def blob(self) -> BlobId:
        """The blob's id."""
        return self.entry.blob

    @property
    def kind(self) -> BlobKind:
        """The blob's kind."""
        return self.entry.kind

    @property
    def codec(self) -> Codec:
        """The blob's codec."""
        return self.entry.codec

    @property
    def slot(self) -> int:
        """The slot of the pack."""
        return self.entry.slot

    @property
    def offset(self) -> int:
        """Bytes from the start of the pack."""
        return self.entry.offset

    @property
    def sealed_bytes(self) -> int:
        """Length in the pack, tag included."""
        return self.entry.sealed_bytes

    @property
    def plain_bytes(self) -> int:
        """Length of the plaintext."""
        return self.entry.plain_bytes


def read_location(row: Row) -> Location:
    """Return the value of a row (blob, logical id, slot, offset, sealed and plain bytes, kind, codec).

    Raises:
        DamagedStateError: there is no such kind or codec.

    """
    blob, logical, slot, offset, sealed, plain, kind, codec = row
    try:
        entry = Entry(BlobId(blob), _KINDS[kind], _CODECS[codec], slot, offset, sealed, plain)
    except KeyError as exc:
        raise DamagedStateError(
            f"the index is damaged: a blob of kind {kind} and codec {codec}", hint=REBUILD_HINT
        ) from exc
    return Location(LogicalId(logical), entry)
