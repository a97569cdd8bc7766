"""Entries as the parts of a tar archive in PAX format, byte by byte what the standard library would write.

Knows: headers, padding, the end. Must not know: where contents come from. Names that are not UTF-8 come back as the
same bytes (`hdrcharset=BINARY`), times keep their nanoseconds, owners their numbers and names, attributes their bytes
(`tar --xattrs` reads them). Holes are told as the zeros they are.
"""

import os
from tarfile import (
    BLKTYPE,
    BLOCKSIZE,
    CHRTYPE,
    DIRTYPE,
    FIFOTYPE,
    LNKTYPE,
    PAX_FORMAT,
    RECORDSIZE,
    REGTYPE,
    SYMTYPE,
    TarInfo,
)
from typing import Final

from backuppeer.repo.extension import device_of
from backuppeer.repo.tree import DEVICES, EntryKind, TreeEntry

_TYPES: Final[dict[int, bytes]] = {
    EntryKind.FILE: REGTYPE,
    EntryKind.DIRECTORY: DIRTYPE,
    EntryKind.SYMLINK: SYMTYPE,
    EntryKind.FIFO: FIFOTYPE,
    EntryKind.CHARACTER_DEVICE: CHRTYPE,
    EntryKind.BLOCK_DEVICE: BLKTYPE,
}
"""The kinds that an archive is made of; others are named and left out."""
_SECOND_NS: Final = 1_000_000_000
_HALF: Final = BLOCKSIZE // 2
_DEVICE_MOST: Final = 0o7777777
"""Largest part of a device number that a header has room for."""
_ATTRIBUTE: Final = "SCHILY.xattr."
"""Under which tar programs look for extended attributes, their values as they are."""


def fits_tar(entry: TreeEntry) -> bool:
    """Say whether an archive can hold this kind of entry."""
    return entry.kind in _TYPES and (entry.kind not in DEVICES or max(device_of(entry.ext)) <= _DEVICE_MOST)


def make_header(path: bytes, entry: TreeEntry, *, first: bytes | None = None) -> bytes:
    """Return the header blocks of an entry that `fits_tar`; paths without leading slash, not empty.

    first: the path under which the archive has this file already: a hard link, which has no content of its own.
    """
    info = TarInfo(os.fsdecode(path))
    info.type = _TYPES[entry.kind] if first is None else LNKTYPE
    info.size = entry.size if entry.kind == EntryKind.FILE and first is None else 0
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
    info.uname, info.gname = entry.user, entry.group
    info.linkname = os.fsdecode(entry.target if first is None else first)
    if entry.kind in DEVICES:
        info.devmajor, info.devminor = device_of(entry.ext)
    info.mtime, rest_ns = divmod(entry.mtime_ns, _SECOND_NS)
    info.pax_headers = _name_attributes(entry) if entry.ext else {}
    if rest_ns:
        # TarInfo's own way is a float, which has room for microseconds only.
        info.pax_headers["mtime"] = _write_ns(entry.mtime_ns)
    return info.tobuf(PAX_FORMAT, "utf-8", "surrogateescape")


def _name_attributes(entry: TreeEntry) -> dict[str, str]:
    """Return the extended attributes by their keywords; one whose name can't be in a keyword is left out."""
    return {
        f"{_ATTRIBUTE}{name.decode()}": value.decode("utf-8", "surrogateescape")
        for name, value in entry.attributes.items()
        if name.isascii() and b"=" not in name
    }


def _write_ns(time_ns: int) -> str:
    seconds, rest_ns = divmod(abs(time_ns), _SECOND_NS)
    return f"{'-' if time_ns < 0 else ''}{seconds}.{rest_ns:09}"


def make_padding(size_bytes: int) -> bytes:
    """Return the zeros between a content of `size_bytes` and the next block."""
    return bytes(-size_bytes % BLOCKSIZE)


def make_end(written_bytes: int) -> bytes:
    """Return the two empty blocks that end an archive, filled up to a whole record."""
    return bytes(2 * BLOCKSIZE + -(written_bytes + 2 * BLOCKSIZE) % RECORDSIZE)


def make_breach() -> bytes:
    """Return half a header: what an archive ends with that must not be taken for a whole one.

    Without it one that broke off between two entries would be taken as complete: readers don't insist on the end.
    """
    return TarInfo("INCOMPLETE: the rest could not be read").tobuf(PAX_FORMAT, "utf-8", "surrogateescape")[:_HALF]
