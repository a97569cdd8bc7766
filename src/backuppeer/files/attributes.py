"""Extended attributes: reading them all, setting what can be set. Lists of rights (POSIX ACLs) are two of them.

Knows: the system calls, which attribute is what. Must not know: how they are kept. Python has these calls on Linux
only; elsewhere nothing is read, and everything that should be set counts as refused.

A list of rights holds numbers of users, which are not translated: names would have to be asked of the other machine.
"""

import errno
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from backuppeer.limits import ATTRIBUTES_BYTES

Place = int | bytes
"""An open file, or a path; its last component is not followed unless that is asked for (/proc/self/fd/N)."""
ACCESS_LIST: Final = b"system.posix_acl_access"
_LISTS: Final = frozenset({ACCESS_LIST, b"system.posix_acl_default"})
_NONE: Final[dict[bytes, bytes]] = {}
"""Shared: nobody changes it."""
_ENTRY: Final = struct.Struct("<HHI")
_GROUP_TAG: Final = 0x04
_HEAD_BYTES: Final = 4
_RWX: Final = 0o7


def read_attributes(place: Place, *, follow: bool = False) -> dict[bytes, bytes]:
    """Return the attributes that can be read here; what the system hides from this user is left out.

    Raises:
        OSError: E2BIG, there are more than an entry holds.

    """
    if not hasattr(os, "listxattr"):
        return _NONE
    follow = follow or isinstance(place, int)
    try:
        names = os.listxattr(place, follow_symlinks=follow)
    except OSError:
        return _NONE  # no such thing on this file system
    if not names:
        return _NONE
    found: dict[bytes, bytes] = {}
    for name in names:
        with suppress(OSError):  # gone since, or for others to read
            found[os.fsencode(name)] = os.getxattr(place, name, follow_symlinks=follow)
    if sum(len(name) + len(value) for name, value in found.items()) > ATTRIBUTES_BYTES:
        raise OSError(errno.E2BIG, "has more extended attributes than can be kept: they are left out")
    return found


def set_attributes(place: Place, attributes: Mapping[bytes, bytes], *, follow: bool = False) -> tuple[bool, bool]:
    """Set attributes; return whether all lists of rights were set, and whether all the others were."""
    lists = others = True
    for name, value in attributes.items():
        try:
            os.setxattr(place, name, value, follow_symlinks=follow or isinstance(place, int))
        except (OSError, AttributeError):  # no such function: not on Linux
            lists, others = (False, others) if name in _LISTS else (lists, False)
    return lists, others


def limit_group(mode: int, attributes: Mapping[bytes, bytes]) -> int:
    """Return a mode for a file whose list of rights can't be set: its group gets no more than the list gave it.

    With such a list the group bits of the mode are the most that any named user gets, not what the group does.
    """
    raw = attributes.get(ACCESS_LIST, b"")
    for tag, rights, _ in _ENTRY.iter_unpack(raw[_HEAD_BYTES : len(raw) - (len(raw) - _HEAD_BYTES) % _ENTRY.size]):
        if tag == _GROUP_TAG:
            return mode & (~(_RWX << 3) | int(rights) << 3)
    return mode
