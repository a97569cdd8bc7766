"""What is written down of something found, and when a found file is the one that the parent snapshot holds.

Knows: entries of trees, what the system says of files. Must not know: how they are walked, read or stored.
"""

from typing import Final

from backuppeer.files.metadata import OwnerNames
from backuppeer.files.read import Opened
from backuppeer.files.scan import Found, FoundKind
from backuppeer.limits import ACCOUNT_NAME_CHARS
from backuppeer.repo.extension import NO_ATTRIBUTES, Link, encode_extension
from backuppeer.repo.tree import EntryKind, TreeEntry

_KINDS: Final = {
    FoundKind.FILE: EntryKind.FILE,
    FoundKind.DIRECTORY: EntryKind.DIRECTORY,
    FoundKind.SYMLINK: EntryKind.SYMLINK,
    FoundKind.FIFO: EntryKind.FIFO,
    FoundKind.CHARACTER_DEVICE: EntryKind.CHARACTER_DEVICE,
    FoundKind.BLOCK_DEVICE: EntryKind.BLOCK_DEVICE,
}


def matches(found: Found, entry: TreeEntry) -> bool:
    """Say whether a found file is what the entry was made of: then its bytes needn't be read.

    ctime can't be set back by a program, so content that changed under the same size and mtime shows; so do attributes
    and the number of names.
    """
    return (
        entry.ctime_ns == found.ctime_ns
        and entry.mtime_ns == found.mtime_ns
        and entry.size == found.size
        and entry.inode == found.inode
        and entry.kind == EntryKind.FILE
        and entry.mode == found.mode
        and entry.uid == found.uid
        and entry.gid == found.gid
    )


def is_untouched(found: Found, entry: TreeEntry | None) -> bool:
    """Say whether a directory or the like has the attributes that the entry tells: asking the system again is saved."""
    return entry is not None and entry.ctime_ns == found.ctime_ns and entry.inode == found.inode


def make_entry(
    found: Found, names: OwnerNames, content: bytes = b"", *, attributes: dict[bytes, bytes] = NO_ATTRIBUTES
) -> TreeEntry:
    """Return the entry of something that was examined by lstat; of a file, only of an empty one."""
    is_linked = found.kind is FoundKind.FILE and found.names > 1
    link = Link(found.device, found.names) if is_linked else None
    return TreeEntry(
        _KINDS[found.kind],
        found.name,
        found.mode,
        found.uid,
        found.gid,
        found.mtime_ns,
        found.ctime_ns,
        found.inode,
        0,
        content,
        found.target,
        names.user(found.uid)[:ACCOUNT_NAME_CHARS],
        names.group(found.gid)[:ACCOUNT_NAME_CHARS],
        0,
        encode_extension(attributes=attributes, device=found.numbers, link=link),
    )


def make_file_entry(
    name: bytes, opened: Opened, names: OwnerNames, *, content: bytes, size: int, depth: int = 0
) -> TreeEntry:
    """Return the entry of a file that was read: fields as they were when it was opened, before the first byte.

    So a change during the read shows at the next backup, and the file is read again.
    """
    ext: dict[str, bytes] = {}
    if opened.attributes or opened.is_sparse or opened.names > 1:
        link = Link(opened.device, opened.names) if opened.names > 1 else None
        ext = encode_extension(attributes=opened.attributes, link=link, is_sparse=opened.is_sparse)
    return TreeEntry(
        EntryKind.FILE,
        name,
        opened.mode,
        opened.uid,
        opened.gid,
        opened.mtime_ns,
        opened.ctime_ns,
        opened.inode,
        size,
        content,
        b"",
        names.user(opened.uid)[:ACCOUNT_NAME_CHARS],
        names.group(opened.gid)[:ACCOUNT_NAME_CHARS],
        depth,
        ext,
    )
