"""What is recorded of a file besides its bytes, and how it is put back.

Knows: mode bits, owner and group (numbers and names), modification time; the calls that set them. Must not know:
trees, blobs, where a file lies. Setting is best effort by design: what a plain user may not set is returned as notes,
never raised, because a restored file without its owner is better than none (DESIGN 10).

Order matters: a change of owner clears setuid bits and capabilities, so it comes first; a list of rights changes the
group's bits, so the mode comes after it; and nothing may be written after the time is set.
"""

import grp
import os
import pwd
import stat
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from backuppeer.files.attributes import Place, limit_group, set_attributes

_DESCRIPTORS: Final = b"/proc/self/fd/%d"
SPECIAL_BITS: Final = stat.S_ISUID | stat.S_ISGID
"""Bits that lend the owner's or group's rights to whoever runs the file."""


class Metadata(msgspec.Struct, frozen=True, gc=False):
    """Mode (permission bits, 0o7777), numeric and named owner, modification time in ns since 1970 (may be negative).

    `attributes`: extended ones, by name.
    """

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    user: str
    group: str
    attributes: dict[bytes, bytes] = {}


class HasMetadata(Protocol):
    """Anything with these fields, as `Metadata` explains them: what is read from a snapshot need not be copied."""

    @property
    def mode(self) -> int: ...  # noqa: D102 - see Metadata
    @property
    def uid(self) -> int: ...  # noqa: D102
    @property
    def gid(self) -> int: ...  # noqa: D102
    @property
    def mtime_ns(self) -> int: ...  # noqa: D102
    @property
    def user(self) -> str: ...  # noqa: D102
    @property
    def group(self) -> str: ...  # noqa: D102
    @property
    def attributes(self) -> Mapping[bytes, bytes]: ...  # noqa: D102


Owner = tuple[int, int]
"""(uid, gid)."""
_REFUSALS: Final = (OSError, OverflowError, ValueError)
"""What setting ends in when it can't be; Overflow: numbers of a foreign tree beyond this system's types."""


class MetadataNote(StrEnum):
    """What could not be set; the text completes "… could not be set for 3 entries". Devices: could not be made."""

    OWNER = "owner or group"
    SPECIAL_BITS = "setuid or setgid bits (their owner could not be set)"
    ACCESS_LISTS = "access control lists"
    ATTRIBUTES = "extended attributes"
    DEVICES = "devices"
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

    def owner_of(self, metadata: HasMetadata) -> Owner:
        """Return whose a restored entry shall be.

        The local user of the same name comes before the same number, as with tar: numbers differ between machines.
        """
        uid = self.uid(metadata.user, metadata.uid) if metadata.user else metadata.uid
        gid = self.gid(metadata.group, metadata.gid) if metadata.group else metadata.gid
        return uid, gid


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


def apply_to_file(
    fd: int, metadata: HasMetadata, names: OwnerNames, owner: Owner | None = None
) -> tuple[MetadataNote, ...]:
    """Set owner, attributes, mode and time of an open file or directory; return what could not be set.

    `owner`: whose it is now, where the caller knows; a call into the system is saved when that is right already. One
    try per call and nothing shared between them: this runs once for every file of a restore.
    """
    notes: tuple[MetadataNote, ...] = ()
    mode = metadata.mode
    wanted = names.owner_of(metadata)
    if wanted != owner:
        try:
            os.fchown(fd, *wanted)
        except _REFUSALS:
            notes = (MetadataNote.OWNER,)
            if mode & SPECIAL_BITS:
                # Fail closed: a setuid program whose owner did not come along would lend *our* rights to everybody.
                notes += (MetadataNote.SPECIAL_BITS,)
                mode &= ~SPECIAL_BITS
    attributes = metadata.attributes
    if attributes:
        mode, more = _apply_attributes(fd, mode, attributes)
        notes += more
    try:
        os.fchmod(fd, mode)
    except _REFUSALS:
        notes += (MetadataNote.MODE,)
    try:
        os.utime(fd, ns=(metadata.mtime_ns, metadata.mtime_ns))
    except _REFUSALS:
        notes += (MetadataNote.TIME,)
    return notes


def _apply_attributes(
    place: Place, mode: int, attributes: Mapping[bytes, bytes], *, follow: bool = False
) -> tuple[int, tuple[MetadataNote, ...]]:
    """Set attributes; return the mode that may be set then, and what could not be set."""
    notes: tuple[MetadataNote, ...] = ()
    has_lists, has_others = set_attributes(place, attributes, follow=follow)
    if not has_lists:
        notes += (MetadataNote.ACCESS_LISTS,)
        mode = limit_group(mode, attributes)
    if not has_others:
        notes += (MetadataNote.ATTRIBUTES,)
    return mode, notes


def apply_to_link(directory: int, name: bytes, *, metadata: HasMetadata, names: OwnerNames) -> tuple[MetadataNote, ...]:
    """Set owner, attributes and time of the symlink `name` itself in the open `directory`; links have no own mode."""
    notes: tuple[MetadataNote, ...] = ()
    try:
        os.chown(name, *names.owner_of(metadata), dir_fd=directory, follow_symlinks=False)
    except _REFUSALS:
        notes = (MetadataNote.OWNER,)
    if metadata.attributes:
        notes += _apply_attributes(_DESCRIPTORS % directory + b"/" + name, 0, metadata.attributes)[1]
    try:
        os.utime(name, ns=(metadata.mtime_ns, metadata.mtime_ns), dir_fd=directory, follow_symlinks=False)
    except _REFUSALS:
        notes += (MetadataNote.TIME,)
    return notes


def apply_to_node(fd: int, metadata: HasMetadata, names: OwnerNames) -> tuple[MetadataNote, ...]:
    """Set all metadata of a pipe or device, which `fd` names without opening it (O_PATH)."""
    place = _DESCRIPTORS % fd
    notes: tuple[MetadataNote, ...] = ()
    mode = metadata.mode
    try:
        os.chown(place, *names.owner_of(metadata))
    except _REFUSALS:
        notes, mode = (MetadataNote.OWNER,), mode & ~SPECIAL_BITS
    if metadata.attributes:
        mode, more = _apply_attributes(place, mode, metadata.attributes, follow=True)
        notes += more
    try:
        os.chmod(place, mode)  # noqa: PTH101 - bytes path
    except _REFUSALS:
        notes += (MetadataNote.MODE,)
    try:
        os.utime(place, ns=(metadata.mtime_ns, metadata.mtime_ns))
    except _REFUSALS:
        notes += (MetadataNote.TIME,)
    return notes
