"""Looking at the user's directories: what is there, without following a symlink and without reading a file.

Knows: directory file descriptors, stat fields, mounts of virtual file systems. Must not know: trees, snapshots, what
is done with a finding.

Everything below a directory is reached through its open descriptor, never through its path again: so a path may be
longer than PATH_MAX, and somebody who swaps a directory for a symlink while it is read gains nothing.
"""

import os
import stat
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Final

import msgspec

from backuppeer.errors import LocalError

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SEARCH_FLAGS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_NOATIME: Final = getattr(os, "O_NOATIME", 0)
_PATH_STEP_BYTES: Final = 3072
"""Longest piece of a path handed to the kernel at once; PATH_MAX is 4096 on Linux, 1024 elsewhere is rare."""
_VIRTUAL_TYPES: Final = frozenset(
    b"autofs bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl hugetlbfs mqueue nsfs proc pstore "
    b"ramfs rpc_pipefs securityfs selinuxfs sysfs tracefs".split()
)
"""File systems whose files are the kernel's own state; reading them in a backup hangs, lies or never ends."""

ReportError = Callable[[bytes, OSError], None]


class FoundKind(IntEnum):
    """What a directory entry is; values are those of the tree format, but for OTHER: sockets, which hold no data."""

    OTHER = 0
    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    FIFO = 4
    CHARACTER_DEVICE = 5
    BLOCK_DEVICE = 6


class Found(msgspec.Struct, frozen=True, gc=False):
    """One entry of a directory, from lstat. `mode`: permission bits 0o7777; `target`: of a symlink.

    `names`: how many names it has; `numbers`: (major, minor) of a device.
    """

    name: bytes
    kind: FoundKind
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    target: bytes = b""
    names: int = 1
    numbers: tuple[int, int] | None = None


Row = tuple[str, os.stat_result]
"""A name in a directory, and what lstat says of it."""
KINDS: Final = {
    stat.S_IFREG: FoundKind.FILE,
    stat.S_IFDIR: FoundKind.DIRECTORY,
    stat.S_IFLNK: FoundKind.SYMLINK,
    stat.S_IFIFO: FoundKind.FIFO,
    stat.S_IFCHR: FoundKind.CHARACTER_DEVICE,
    stat.S_IFBLK: FoundKind.BLOCK_DEVICE,
}


class Directory:
    """An open directory shared by those who still read in it; closed when the last one lets go.

    Not locked: only one thread may retain and release (the one that walks); readers just use `fd`.
    """

    __slots__ = ("_users", "device", "fd", "inode", "path")

    def __init__(self, fd: int, path: bytes) -> None:
        self.fd = fd
        self.path = path
        status = os.fstat(fd)
        self.inode = status.st_ino
        self.device = status.st_dev
        self._users = 1

    def retain(self) -> None:
        """Count one more user."""
        self._users += 1

    def release(self) -> None:
        """Count one user less and close after the last."""
        self._users -= 1
        if self._users == 0:
            os.close(self.fd)
        elif self._users < 0:
            raise LocalError(f"directory {self.path!r} was released twice")


def open_directory(path: bytes, *, search_only: bool = False) -> Directory:
    """Open the directory at the absolute `path`, however long; its last component may not be a symlink.

    `search_only` needs no right to list it and follows a symlink: for directories above a path the user named.

    Raises:
        OSError: it can't be opened, or is none.

    """
    *heads, last = _split_path(path)
    opened: list[int] = []
    try:
        for head in heads:
            # Middle components may be symlinks: the user's own spelling of the place. The walker compares inodes.
            at = opened[-1] if opened else None
            opened.append(os.open(head, _SEARCH_FLAGS, dir_fd=at))
        at = opened[-1] if opened else None
        if search_only:
            return Directory(os.open(last, _SEARCH_FLAGS, dir_fd=at), path)
        return Directory(_open_quietly(last, _DIRECTORY_FLAGS, at), path)
    finally:
        for fd in opened:
            os.close(fd)


def _split_path(path: bytes) -> list[bytes]:
    """Cut a path into pieces the kernel accepts, at slashes; all but the first are relative."""
    pieces: list[bytes] = []
    rest = path
    while len(rest) > _PATH_STEP_BYTES:
        cut = rest.rfind(b"/", 1, _PATH_STEP_BYTES)
        if cut <= 0:
            break
        pieces.append(rest[:cut])
        rest = rest[cut:].lstrip(b"/") or b"."
    return [*pieces, rest]


def _open_quietly(name: bytes, flags: int, at: int | None) -> int:
    """Open without touching the access time where the system lets us (owner or root)."""
    try:
        return os.open(name, flags | _NOATIME, dir_fd=at)
    except PermissionError:
        return os.open(name, flags, dir_fd=at)


def scan_directory(directory: Directory, report: ReportError) -> list[Found]:
    """Return the entries of an open directory sorted by name bytes; entries that can't be examined are reported.

    Raises:
        OSError: the directory itself can't be listed.

    """
    return examine_rows(directory, list_directory(directory, report), report)


def list_directory(directory: Directory, report: ReportError) -> list[Row]:
    """Return what an open directory holds, sorted by name bytes; entries that can't be looked at are reported.

    Raises:
        OSError: the directory itself can't be listed.

    """
    rows: list[Row] = []
    with os.scandir(directory.fd) as entries:
        for entry in entries:
            try:
                rows.append((entry.name, entry.stat(follow_symlinks=False)))
            except OSError as exc:
                report(join_path(directory.path, os.fsencode(entry.name)), exc)
    rows.sort(key=_name_bytes)
    return rows


def examine_rows(directory: Directory, rows: Iterable[Row], report: ReportError) -> list[Found]:
    """Return the same, examined; a link that can't be read is reported."""
    found: list[Found] = []
    for name, status in rows:
        try:
            found.append(_examine(directory.fd, os.fsencode(name), status))
        except OSError as exc:
            report(join_path(directory.path, os.fsencode(name)), exc)
    return found


def examine_path(path: bytes, *, follow: bool = False) -> Found:
    """Return what lies at the absolute `path` (its name: the last component), however long the path is.

    Raises:
        OSError: nothing lies there, or it can't be examined.

    """
    parent, name = os.path.split(path)
    if len(path) <= _PATH_STEP_BYTES or not name:
        return _examine(None, path, os.stat(path, follow_symlinks=follow), name=name)  # noqa: PTH116 - bytes path
    directory = open_directory(parent)
    try:
        return _examine(directory.fd, name, os.stat(name, dir_fd=directory.fd, follow_symlinks=follow))
    finally:
        directory.release()


def examine_entry(directory: int, name: bytes) -> Found:
    """Return what has the name `name` in an open directory (descriptor).

    Raises:
        OSError: nothing has it, or it can't be examined.

    """
    return _examine(directory, name, os.stat(name, dir_fd=directory, follow_symlinks=False))


def _examine(at: int | None, path: bytes, status: os.stat_result, *, name: bytes | None = None) -> Found:
    mode = status.st_mode
    kind = KINDS.get(stat.S_IFMT(mode), FoundKind.OTHER)
    is_device = kind in {FoundKind.CHARACTER_DEVICE, FoundKind.BLOCK_DEVICE}
    return Found(
        path if name is None else name,
        kind,
        mode & 0o7777,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
        os.readlink(path, dir_fd=at) if kind is FoundKind.SYMLINK else b"",
        status.st_nlink,
        (os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else None,
    )


def _name_bytes(row: Row) -> bytes:
    return os.fsencode(row[0])


def join_path(directory: bytes, name: bytes) -> bytes:
    """Return the path of `name` in `directory`."""
    return directory + name if directory.endswith(b"/") else directory + b"/" + name


def find_virtual_mounts(table: bytes) -> frozenset[bytes]:
    """Return the mount points of virtual file systems (proc, sysfs, …) in the text of /proc/self/mountinfo."""
    points: set[bytes] = set()
    for line in table.splitlines():
        head, _, tail = line.partition(b" - ")
        fields = head.split(b" ")
        if len(fields) > 4 and tail.split(b" ")[0] in _VIRTUAL_TYPES:
            points.add(_unescape(fields[4]))
    return frozenset(points)


def read_mount_table() -> bytes:
    """Return this process's mount table; empty where the system has none of that form."""
    try:
        with open("/proc/self/mountinfo", "rb") as table:  # noqa: PTH123 - a kernel file, no path object needed
            return table.read()
    except OSError:
        return b""


def _unescape(field: bytes) -> bytes:
    r"""Undo the kernel's octal escapes (\040 is a space)."""
    first, *rest = field.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8) & 255]) + part[3:] for part in rest)
