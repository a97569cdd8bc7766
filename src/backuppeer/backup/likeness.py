"""Whether a directory looks just as the parent snapshot says, told from one number (ADR 0029).

Knows: which fields of an entry say that nothing changed. Must not know: the walk, where looks are kept.

The look of a directory is a digest over its content (tree pieces) and the fields by which `entries.matches` tells a
file that changed, of every entry in it. From a snapshot's tree and from the file system it is computed alike, so equal
digests mean: the same names, kinds, rights, sizes and times. A directory like that is not decoded, and nothing in it is
looked up but the folders.
"""

import os
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.errors import IntegrityFault
from backuppeer.files.scan import KINDS, FoundKind, Row
from backuppeer.limits import LOOK_ENTRIES
from backuppeer.repo.tree import EntryKind, TreeEntry

_FIELDS: Final = struct.Struct("<BHQQQqqQ")
_FILE: Final = int(FoundKind.FILE)


class Look(msgspec.Struct, array_like=True, frozen=True):
    """What is kept of a directory: its digest, the folders in it (name, content), its files and their bytes.

    `walk`: which took it; it counts once the index says that all blobs of that walk are durable (`Index.end_walk`).
    """

    walk: bytes
    digest: bytes
    folders: list[tuple[bytes, bytes]]
    files: int
    bytes: int


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Look)


def take_look(content: bytes, entries: Sequence[TreeEntry], walk: bytes) -> bytes | None:
    """Return the encoded look of a directory of a snapshot; None when it is too large to be worth one."""
    if len(entries) > LOOK_ENTRIES:
        return None
    parts = [content]
    folders: list[tuple[bytes, bytes]] = []
    files = size_bytes = 0
    pack = _FIELDS.pack
    for e in entries:
        kind = e.kind
        size = 0
        if kind == EntryKind.FILE:
            size = e.size
            files += 1
            size_bytes += size
        elif kind == EntryKind.DIRECTORY:
            folders.append((e.name, e.content))
        try:
            parts += (pack(kind, e.mode, e.uid, e.gid, size, e.mtime_ns, e.ctime_ns, e.inode), e.name)
        except struct.error:
            return None  # a number that no file system here can give
    return _encoder.encode(Look(walk, hash_bytes(Domain.LOOK, b"/".join(parts)), folders, files, size_bytes))


def read_look(encoded: bytes) -> Look:
    """Return a look that was kept.

    Raises:
        IntegrityFault: it is none.

    """
    try:
        return _decoder.decode(encoded)
    # RecursionError: msgspec raises it for arrays nested some thousand deep, where it passes over what it doesn't know.
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise IntegrityFault(f"the look of a directory can't be decoded: {exc}") from exc


def is_alike(look: Look, content: bytes, rows: Sequence[Row]) -> bool:
    """Say whether a directory that holds `rows` now looks as the one whose content is `content` did."""
    parts = [content]
    pack = _FIELDS.pack
    for name, s in rows:
        mode = s.st_mode
        kind = KINDS.get(mode & 0o170000, 0)
        size = s.st_size if kind == _FILE else 0
        packed = pack(kind, mode & 0o7777, s.st_uid, s.st_gid, size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
        # Names have no slash, so no two lists of entries give the same bytes.
        parts += (packed, os.fsencode(name))
    return hash_bytes(Domain.LOOK, b"/".join(parts)) == look.digest
