"""What `stat` tells of entries in a mount. Pure.

Knows: fields of `struct stat`. Must not know: kernels, where entries come from. Owners, modes and times are those that
were saved; numbers of inodes are made, the same for the same name of a snapshot, and for all names of a hard link.
"""

import hashlib
import os
import stat
from typing import Final

from backuppeer.cli.mounted.layout import Node, Pointer, Text
from backuppeer.control.mounting import MountEntry
from backuppeer.files.attributes import limit_group

Stat = dict[str, int]
_BLOCK: Final = 512
_TYPES: Final = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "chardev": stat.S_IFCHR,
    "blockdev": stat.S_IFBLK,
}
_FIRST_INODE: Final = 16
"""Small numbers mean something in many file systems."""
_INODE_BITS: Final = 63


def is_shown(entry: MountEntry, most_bytes: int) -> bool:
    """Say whether a kernel can show an entry: of a kind that this version knows, with a name not too long."""
    return entry.kind in _TYPES and len(os.fsencode(entry.name)) <= most_bytes


def describe_entry(entry: MountEntry, snapshot: str, path: str, *, strict: bool = False) -> Stat:
    """Return what `stat` tells; times in nanoseconds. `path`: in the snapshot.

    strict: the kernel goes by the mode, for many users. It does not know lists of rights: then the group gets no more
    than its list gave it.
    """
    limited = limit_group(entry.mode, {os.fsencode(name): value for name, value in entry.attributes.items()})
    return {
        "st_mode": _TYPES[entry.kind] | (limited if strict and entry.kind != "symlink" else entry.mode),
        "st_ino": number_entry(entry, snapshot, path),
        "st_nlink": max(1, entry.names),
        "st_size": _size_of(entry),
        "st_blocks": _blocks_of(entry),
        "st_uid": entry.uid,
        "st_gid": entry.gid,
        "st_rdev": os.makedev(*entry.device),
        "st_mtime": entry.mtime_ns,
        "st_atime": entry.mtime_ns,
        "st_ctime": entry.ctime_ns,
    }


def describe_node(node: Node, owner: tuple[int, int], *, path: str) -> Stat:
    """Return what `stat` tells of a folder above the snapshots, of a snapshot itself, of a link or text beside them."""
    size = 0
    if isinstance(node, Pointer):
        size = len(os.fsencode(node.target))
    elif isinstance(node, Text):
        size = len(node.content)
    return {
        "st_mode": type_of_node(node)
        | (0o777 if isinstance(node, Pointer) else 0o444 if isinstance(node, Text) else 0o555),
        "st_ino": _number(b"", path),
        "st_nlink": 1,
        "st_size": size,
        "st_blocks": -(-size // _BLOCK),
        "st_uid": owner[0],
        "st_gid": owner[1],
        "st_mtime": node.time_ns,
        "st_atime": node.time_ns,
        "st_ctime": node.time_ns,
    }


def number_entry(entry: MountEntry, snapshot: str, path: str) -> int:
    """Return the inode's number."""
    if entry.names > 1:
        return _number(b"link", f"{snapshot}/{entry.link_device}/{entry.inode}")
    return _number(b"path", f"{snapshot}/{path}")


def type_of_node(node: Node) -> int:
    """Return the type bits of the mode of what is above the snapshots."""
    if isinstance(node, Pointer):
        return stat.S_IFLNK
    return stat.S_IFREG if isinstance(node, Text) else stat.S_IFDIR


def type_of(entry: MountEntry) -> int:
    """Return the type bits of an entry's mode."""
    return _TYPES[entry.kind]


def _number(sort: bytes, name: str) -> int:
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8, person=sort, usedforsecurity=False).digest()
    return max(_FIRST_INODE, int.from_bytes(digest, "big") >> (64 - _INODE_BITS))


def _size_of(entry: MountEntry) -> int:
    return len(os.fsencode(entry.target)) if entry.kind == "symlink" else entry.size


def _blocks_of(entry: MountEntry) -> int:
    """Return the blocks of 512 bytes: where a file had holes one less, so that programs that copy it look for them.

    How many it had is not kept. Never 0: GNU tar takes that for "nothing but zeros" without reading.
    """
    blocks = -(-_size_of(entry) // _BLOCK)
    return max(1, entry.size // _BLOCK - 1) if entry.sparse else blocks
