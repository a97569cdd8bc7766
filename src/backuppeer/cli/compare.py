"""Whether two folders are the same: bytes, kinds, modes, times, links, attributes; for `demo`.

Knows: folders on this machine. Must not know: backups. Neither folder is changed; nothing is followed. Times are
compared to the nanosecond, owners only when root restored them.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class Comparison:
    """What was compared, and what differs: relative path to what is wrong with it."""

    files: int = 0
    folders: int = 0
    links: int = 0
    skipped: int = 0
    """Sockets of the original, which hold no data, and devices unless root restored them."""
    size_bytes: int = 0
    differences: dict[bytes, str] = field(default_factory=dict)


def _ignore(_: Comparison) -> None:
    """Show nothing."""


def compare_trees(original: Path, copy: Path, *, on_entry: Callable[[Comparison], None] = _ignore) -> Comparison:
    """Return how `copy` differs from `original`, both including the folder itself; unreadable counts as different.

    on_entry: called after each entry with the counts so far.
    """
    result = Comparison()
    seen = set()
    for path in (b"", *_walk(os.fsencode(original), b"")):
        seen.add(path)
        try:
            wrong = _compare_entry(os.fsencode(original), os.fsencode(copy), path, result)
        except OSError as exc:
            wrong = exc.strerror or str(exc)
        if wrong:
            result.differences[path] = wrong
        on_entry(result)
    if copy.is_dir():
        extra = set(_walk(os.fsencode(copy), b"")) - seen
        result.differences.update(dict.fromkeys(sorted(extra), "not in the original"))
    return result


def measure_tree(root: Path) -> tuple[int, int]:
    """Return the number of regular files below `root` and their bytes."""
    files = size_bytes = 0
    top = os.fsencode(root)
    for path in _walk(top, b""):
        found = os.lstat(os.path.join(top, path))  # noqa: PTH118 - paths are bytes: any byte may stand in a name
        if stat.S_ISREG(found.st_mode):
            files, size_bytes = files + 1, size_bytes + found.st_size
    return files, size_bytes


def _walk(root: bytes, below: bytes) -> Iterator[bytes]:
    """Yield every path below `root/below`, relative to `root`; a folder that can't be listed is a leaf."""
    pending = [below]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root + b"/" + folder) as entries:
                found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        except OSError:
            continue
        for name, is_folder in found:
            path = folder + b"/" + name if folder else name
            yield path
            if is_folder:
                pending.append(path)


def _compare_entry(original: bytes, copy: bytes, path: bytes, result: Comparison) -> str:
    """Return what is wrong with one entry, empty when nothing; counts it in `result`."""
    left, right = (root + b"/" + path if path else root for root in (original, copy))
    wanted = os.lstat(left)
    kind = stat.S_IFMT(wanted.st_mode)
    is_device = kind in {stat.S_IFCHR, stat.S_IFBLK}
    if kind == stat.S_IFSOCK or (is_device and os.geteuid() != 0):
        result.skipped += 1
        return ""
    _count(kind, wanted.st_size, result)
    found = os.lstat(right)
    if stat.S_IFMT(found.st_mode) != kind:
        return "another kind of entry"
    if kind == stat.S_IFLNK and os.readlink(left) != os.readlink(right):  # noqa: PTH115 - bytes
        return "another link target"
    if kind == stat.S_IFREG and (wanted.st_size != found.st_size or not _has_same_bytes(left, right, wanted.st_size)):
        return "other bytes"
    if is_device and wanted.st_rdev != found.st_rdev:
        return "another device"
    return _compare_metadata(wanted, found) or _compare_attributes(left, right)


def _compare_attributes(left: bytes, right: bytes) -> str:
    # Those that root or the system sets are not a plain user's to restore.
    ours, theirs = (
        {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in (os.listxattr(path, follow_symlinks=False) if hasattr(os, "listxattr") else ())
            if os.geteuid() == 0 or name.startswith(("user.", "system.posix_acl_"))
        }
        for path in (left, right)
    )
    return "" if ours == theirs else "other extended attributes"


def _count(kind: int, size_bytes: int, result: Comparison) -> None:
    result.files += kind == stat.S_IFREG
    result.folders += kind == stat.S_IFDIR
    result.links += kind == stat.S_IFLNK
    result.size_bytes += size_bytes if kind == stat.S_IFREG else 0


def _compare_metadata(wanted: os.stat_result, found: os.stat_result) -> str:
    if stat.S_IMODE(wanted.st_mode) != stat.S_IMODE(found.st_mode):
        return f"mode {stat.S_IMODE(found.st_mode):o} instead of {stat.S_IMODE(wanted.st_mode):o}"
    if wanted.st_mtime_ns != found.st_mtime_ns:
        return "another modification time"
    if os.geteuid() == 0 and (wanted.st_uid, wanted.st_gid) != (found.st_uid, found.st_gid):
        return "another owner or group"
    return ""


def _has_same_bytes(left: bytes, right: bytes, size_bytes: int) -> bool:
    # As long as the file: clearing two whole megabytes for each of 50,000 small files took longer than reading them.
    room = min(_READ_BYTES, size_bytes + 1)
    ours, theirs = bytearray(room), bytearray(room)
    with open(left, "rb", buffering=0) as one, open(right, "rb", buffering=0) as two:  # noqa: PTH123 - bytes
        while count := one.readinto(ours):
            if not _reads_exactly(two, memoryview(theirs)[:count]) or ours[:count] != theirs[:count]:
                return False
        return not two.read(1)


def _reads_exactly(file: FileIO, into: memoryview) -> bool:
    while into:
        count = file.readinto(into)
        if not count:
            return False
        into = into[count:]
    return True
