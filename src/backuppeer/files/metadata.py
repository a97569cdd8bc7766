"""What is recorded of a file besides its bytes, and how it is put back.

Knows: mode bits, owner and group (numbers and names), modification time; the calls that set them. Must not know:
trees, blobs, where a file lies. Setting is best effort by design: what a plain user may not set is returned as notes,
never raised, because a restored file without its owner is better than none (DESIGN 10).

Order matters: a change of owner clears setuid bits, so owner comes before mode; and nothing may be written after the
time is set.
"""

import grp
import os
import pwd
import stat
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

SPECIAL_BITS: Final = stat.S_ISUID | stat.S_ISGID
"""Bits that lend the owner's or group's rights to whoever runs the file."""


class Metadata(msgspec.Struct, frozen=True, gc=False):
    """Mode (permission bits, 0o7777), numeric and named owner, modification time in ns since 1970 (may be negative)."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    user: str
    group: str


class MetadataNote(StrEnum):
    """What could not be set; the text completes "… could not be set for 3 entries"."""

    OWNER = "owner or group"
    SPECIAL_BITS = "setuid or setgid bits (their owner could not be set)"
    MODE = "permissions"
    TIME = "modification time"


class OwnerNames:
    """Names of numeric owners and back, asked of the system once each."""

    def __init__(self) -> None:
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}
        self._uids: dict[str, int | None] = {}
        self._gids: dict[str, int | None] = {}

    def user(self, uid: int) -> str:
        """Return the name of a user, empty when the system knows none."""
        name = self._users.get(uid)
        if name is None:
            name = self._users[uid] = _ask_name(lambda: pwd.getpwuid(uid).pw_name)
        return name

    def group(self, gid: int) -> str:
        """Return the name of a group, empty when the system knows none."""
        name = self._groups.get(gid)
        if name is None:
            name = self._groups[gid] = _ask_name(lambda: grp.getgrgid(gid).gr_name)
        return name

    def uid(self, name: str, number: int) -> int:
        """Return the local number of the user `name`; `number` when there is none of that name."""
        if name not in self._uids:
            self._uids[name] = _ask_number(lambda: pwd.getpwnam(name).pw_uid)
        found = self._uids[name]
        return number if found is None else found

    def gid(self, name: str, number: int) -> int:
        """Return the local number of the group `name`; `number` when there is none of that name."""
        if name not in self._gids:
            self._gids[name] = _ask_number(lambda: grp.getgrnam(name).gr_gid)
        found = self._gids[name]
        return number if found is None else found


def _ask_name(ask: Callable[[], str]) -> str:
    try:
        # Through the locale and back to something msgpack can carry: names with stray bytes lose only those.
        return ask().encode("utf-8", "replace").decode()
    except (KeyError, OverflowError, OSError):
        return ""


def _ask_number(ask: Callable[[], int]) -> int | None:
    try:
        return ask()
    except (KeyError, ValueError, OSError):  # ValueError: a NUL or a surrogate inside a hostile name
        return None


def apply_to_file(fd: int, metadata: Metadata, names: OwnerNames) -> tuple[MetadataNote, ...]:
    """Set owner, mode and time of an open file or directory; return what could not be set."""
    notes: list[MetadataNote] = []
    owned = _change_owner(lambda uid, gid: os.fchown(fd, uid, gid), metadata, names)
    mode = metadata.mode
    if not owned:
        notes.append(MetadataNote.OWNER)
        if mode & SPECIAL_BITS:
            # Fail closed: a setuid program whose owner did not come along would lend *our* rights to everybody.
            notes.append(MetadataNote.SPECIAL_BITS)
            mode &= ~SPECIAL_BITS
    if not _succeeds(lambda: os.fchmod(fd, mode)):
        notes.append(MetadataNote.MODE)
    if not _succeeds(lambda: os.utime(fd, ns=(metadata.mtime_ns, metadata.mtime_ns))):
        notes.append(MetadataNote.TIME)
    return tuple(notes)


def apply_to_link(directory: int, name: bytes, *, metadata: Metadata, names: OwnerNames) -> tuple[MetadataNote, ...]:
    """Set owner and time of the symlink `name` itself in the open `directory`; links have no mode of their own."""
    notes: list[MetadataNote] = []

    def chown(uid: int, gid: int) -> None:
        os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)

    def set_time() -> None:
        os.utime(name, ns=(metadata.mtime_ns, metadata.mtime_ns), dir_fd=directory, follow_symlinks=False)

    if not _change_owner(chown, metadata, names):
        notes.append(MetadataNote.OWNER)
    if not _succeeds(set_time):
        notes.append(MetadataNote.TIME)
    return tuple(notes)


def _change_owner(chown: Callable[[int, int], None], metadata: Metadata, names: OwnerNames) -> bool:
    """Prefer the local user of the same name to the same number, as tar does: numbers differ between machines."""
    uid = names.uid(metadata.user, metadata.uid) if metadata.user else metadata.uid
    gid = names.gid(metadata.group, metadata.gid) if metadata.group else metadata.gid
    return _succeeds(lambda: chown(uid, gid))


def _succeeds(call: Callable[[], None]) -> bool:
    try:
        call()
    except (OSError, OverflowError, ValueError):  # Overflow: numbers of a foreign tree beyond this system's types
        return False
    return True
