"""Trees: directories as sorted entries in pieces, the same bytes for the same directory (docs/format.md).

Knows: what an entry may say, where a piece ends. Must not know: blobs, packs, the file system.

A directory is cut into pieces at boundaries that depend on the names around them, not on counts: adding one file to
a directory of a million changes one piece. A long file's chunk ids are cut into content lists in the same manner.
What a decoder accepts is what an encoder writes; everything else is refused, since a restored name must be harmless.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Annotated, Final
from zlib import crc32

import msgspec
from msgspec import Meta

from backuppeer.errors import IntegrityFault, LocalError
from backuppeer.limits import (
    ACCOUNT_NAME_CHARS,
    BLOB_PLAIN_BYTES,
    CONTENT_BYTES,
    CONTENT_INLINE_IDS,
    ENTRY_NAME_BYTES,
    ID_LIST_MAX,
    LINK_TARGET_BYTES,
    TREE_PIECE_BYTES,
    TREE_PIECE_ENTRIES,
    TREE_PIECE_MIN_ENTRIES,
)
from backuppeer.repo.extension import NO_ATTRIBUTES, attributes_of, problem_of

Buffer = bytes | bytearray | memoryview
VERSION: Final = 1
ID_BYTES: Final = 32
_BOUNDARY: Final = 1024
_UINT32: Final = 2**32 - 1
_INT64: Final = 2**63 - 1
_MOST_DEPTH: Final = 1


class EntryKind(IntEnum):
    """What an entry stands for."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    FIFO = 4
    CHARACTER_DEVICE = 5
    BLOCK_DEVICE = 6


DEVICES: Final = frozenset({EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE})
NODES: Final = DEVICES | {EntryKind.FIFO}
"""What is made by a name and a kind, without any bytes."""


class TreeEntry(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One name in a directory; a msgpack array in this order (fields missing at the end have their defaults).

    `content`: n x 32 bytes of blob ids: a file's chunks, or (`depth` 1) its content lists, or a directory's pieces.
    `mode`: the 12 permission bits. Times in nanoseconds since 1970, negative before.
    """

    kind: EntryKind
    name: Annotated[bytes, Meta(min_length=1, max_length=ENTRY_NAME_BYTES)]
    mode: Annotated[int, Meta(ge=0, le=0o7777)]
    uid: Annotated[int, Meta(ge=0, le=_UINT32)]
    gid: Annotated[int, Meta(ge=0, le=_UINT32)]
    mtime_ns: Annotated[int, Meta(ge=-_INT64 - 1, le=_INT64)]
    ctime_ns: Annotated[int, Meta(ge=-_INT64 - 1, le=_INT64)]
    inode: Annotated[int, Meta(ge=0)]
    size: Annotated[int, Meta(ge=0, le=_INT64)]
    content: Annotated[bytes, Meta(max_length=CONTENT_BYTES)] = b""
    target: Annotated[bytes, Meta(max_length=LINK_TARGET_BYTES)] = b""
    user: Annotated[str, Meta(max_length=ACCOUNT_NAME_CHARS)] = ""
    group: Annotated[str, Meta(max_length=ACCOUNT_NAME_CHARS)] = ""
    depth: Annotated[int, Meta(ge=0, le=_MOST_DEPTH)] = 0
    ext: dict[str, bytes] = {}

    @property
    def attributes(self) -> dict[bytes, bytes]:
        """The extended attributes, by name."""
        return attributes_of(self.ext) if self.ext else NO_ATTRIBUTES


class _Piece(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    v: int
    entries: Annotated[tuple[TreeEntry, ...], Meta(max_length=TREE_PIECE_ENTRIES)]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Piece)
FIELDS: Final = len(TreeEntry.__struct_fields__)


def encode_pieces(entries: Iterable[TreeEntry]) -> Iterator[bytes]:
    """Yield the pieces of a directory whose entries come sorted by name bytes; one empty piece for an empty one.

    A piece ends after an entry when it has ≥ 1024 entries and crc32(name) is a multiple of 1024, at 8192 entries,
    and before an entry that would bring it over 1 MiB.

    Raises:
        LocalError: entries out of order or twice, or an entry that no reader would accept.

    """
    encoded: list[bytes] = []
    total_bytes, previous, pieces = 0, b"", 0
    for entry in entries:
        if entry.name <= previous:
            raise LocalError(f"directory entries out of order: {entry.name!r} after {previous!r}")
        previous = entry.name
        data = _encode_entry(entry)
        if encoded and total_bytes + len(data) > TREE_PIECE_BYTES:
            yield _join_piece(encoded)
            encoded, total_bytes, pieces = [], 0, pieces + 1
        encoded.append(data)
        total_bytes += len(data)
        count = len(encoded)
        if count >= TREE_PIECE_MIN_ENTRIES and (crc32(entry.name) % _BOUNDARY == 0 or count >= TREE_PIECE_ENTRIES):
            yield _join_piece(encoded)
            encoded, total_bytes, pieces = [], 0, pieces + 1
    if encoded or not pieces:
        yield _join_piece(encoded)


def _encode_entry(entry: TreeEntry) -> bytes:
    problem = _problem_of(entry)
    if problem:
        raise LocalError(f"directory entry {entry.name!r} can't be stored: {problem}")
    try:
        return _encoder.encode(entry)
    except (OverflowError, UnicodeEncodeError, msgspec.MsgspecError) as exc:
        raise LocalError(f"directory entry {entry.name!r} can't be stored: {exc}") from exc


def _join_piece(encoded: list[bytes]) -> bytes:
    """Return msgpack [1, [entries]] from entries encoded one by one, so none is encoded twice."""
    count = len(encoded)
    head = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return b"".join((b"\x92\x01", head, *encoded))


def decode_piece(data: Buffer) -> tuple[TreeEntry, ...]:
    """Return the entries of one piece.

    Raises:
        IntegrityFault: not a piece of version 1; names unsorted, twice, empty, ".", "..", with "/" or NUL, or too
            long; fields out of range or unknown; ids that are no multiple of 32 bytes.

    """
    check_version(data, "tree piece")
    try:
        piece = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise IntegrityFault(f"a tree piece can't be decoded: {exc}") from exc
    previous = b""
    for entry in piece.entries:
        problem = _problem_of(entry)
        if problem:
            raise IntegrityFault(f"a tree piece has a bad entry {entry.name[:80]!r}: {problem}")
        if entry.name <= previous:
            raise IntegrityFault(f"a tree piece is out of order at {entry.name[:80]!r}")
        previous = entry.name
    return piece.entries


def check_version(data: Buffer, what: str) -> None:
    """Check that `data` is a msgpack array of two whose first element is version 1, so newer ones are named.

    Raises:
        IntegrityFault: it is not.

    """
    if not 2 <= len(data) <= BLOB_PLAIN_BYTES or data[0] != 0x92:
        raise IntegrityFault(f"not a {what}")
    if data[1] != VERSION:
        raise IntegrityFault(f"a {what} has version {data[1]}, this program knows {VERSION}")


def _problem_of(entry: TreeEntry) -> str:
    """Say what is wrong with an entry, "" for nothing; what the decoder's own types check is not repeated."""
    name = entry.name
    if name in {b".", b".."} or b"/" in name or b"\0" in name:
        return "the name is not a plain name"
    if not name or len(name) > ENTRY_NAME_BYTES:
        return "the name is empty or too long"
    if len(entry.content) % ID_BYTES or len(entry.content) > CONTENT_BYTES:
        return "the content is not a list of blob ids"
    if entry.ext or entry.kind >= EntryKind.CHARACTER_DEVICE:
        problem = problem_of(entry.ext, is_device=entry.kind in DEVICES)
        if problem:
            return problem
    return _kind_problem(entry)


def _kind_problem(entry: TreeEntry) -> str:
    if entry.kind == EntryKind.SYMLINK:
        target = entry.target
        if not target or len(target) > LINK_TARGET_BYTES or b"\0" in target or entry.content:
            return "a link needs a target of at most 64 KiB and no content"
    elif entry.target:
        return "only links have a target"
    elif entry.kind > EntryKind.SYMLINK and entry.content:
        return "only files and directories have content"
    if entry.depth and entry.kind != EntryKind.FILE:
        return "only files have content lists"
    return ""


def cut_ids(ids: Buffer, id_bytes: int) -> list[bytes]:
    """Cut joined ids into lists: after an id whose last 12 bits are zero, and after 16384 ids.

    Ids are random, so the cuts follow content: an id put in or taken out changes the list around it only.
    """
    view = memoryview(ids)
    lists: list[bytes] = []
    start = 0
    most = ID_LIST_MAX * id_bytes
    for end in range(id_bytes, len(view) + 1, id_bytes):
        if (not view[end - 1] and not view[end - 2] & 0x0F) or end - start == most:
            lists.append(bytes(view[start:end]))
            start = end
    if start < len(view):
        lists.append(bytes(view[start:]))
    return lists


def encode_id_list(ids: Buffer) -> bytes:
    """Return the blob of a list of ids: one byte version 1, then the ids joined."""
    return b"\x01" + bytes(ids)


def decode_id_list(data: Buffer, id_bytes: int) -> bytes:
    """Return the joined ids of a list blob.

    Raises:
        IntegrityFault: another version, too long, or no multiple of an id's length.

    """
    size = len(data) - 1
    if not 0 < size <= ID_LIST_MAX * id_bytes or size % id_bytes:
        raise IntegrityFault(f"an id list of {len(data)} bytes is not one")
    if data[0] != VERSION:
        raise IntegrityFault(f"an id list has version {data[0]}, this program knows {VERSION}")
    return bytes(data[1:])


def cut_content(ids: Buffer) -> list[bytes]:
    """Return the content lists (blobs of kind TREE) of a file with these chunk ids; none when they fit its entry.

    With lists, the entry's `content` is the joined blob ids of the lists, in order, and its `depth` is 1.
    """
    if len(ids) <= CONTENT_INLINE_IDS * ID_BYTES:
        return []
    return [encode_id_list(part) for part in cut_ids(ids, ID_BYTES)]


def decode_content(data: Buffer) -> bytes:
    """Return the joined chunk ids of one content list.

    Raises:
        IntegrityFault: not a content list.

    """
    return decode_id_list(data, ID_BYTES)
