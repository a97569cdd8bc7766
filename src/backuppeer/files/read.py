"""Reading the user's files: into buffers that are used again, with a second look at what was opened.

Knows: open flags, fstat, short reads. Must not know: chunks, blobs. A file is opened by name in its open directory,
never through a symlink, and must still be the regular file that was found.
"""

import errno
import os
import stat
from typing import Final

import msgspec

from backuppeer.files.attributes import Place, read_attributes
from backuppeer.files.scan import Directory
from backuppeer.limits import HOLE_BYTES

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""O_NONBLOCK: a FIFO put in the file's place must not hang the backup."""
_NOATIME: Final = getattr(os, "O_NOATIME", 0)


class Opened(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What was found of an open file before the first byte was read; fields as in `Found`.

    `attributes`: extended ones; `problem`: why they are not all there, else empty. `is_sparse`: it has holes.
    """

    fd: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    names: int
    is_sparse: bool
    attributes: dict[bytes, bytes]
    problem: str


def open_file(directory: int, name: bytes) -> Opened:
    """Open the regular file `name` in an open directory (descriptor) for reading; the caller closes `fd`.

    Raises:
        OSError: it can't be opened, or is no regular file any more.

    """
    try:
        fd = os.open(name, _FLAGS | _NOATIME, dir_fd=directory)
    except PermissionError:
        fd = os.open(name, _FLAGS, dir_fd=directory)  # O_NOATIME is for the owner and root only
    status = os.fstat(fd)
    mode = status.st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise OSError(errno.ESTALE, "was replaced by something that is no regular file")
    attributes, problem = look_at_attributes(fd)
    return Opened(
        fd,
        mode & 0o7777,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
        status.st_nlink,
        # Blocks are counted in 512 bytes (stat(2)). Fewer than the bytes take: there are holes, or it is compressed,
        # for which leaving out zeros at a restore is as good.
        status.st_blocks * 512 + HOLE_BYTES <= status.st_size,
        attributes,
        problem,
    )


def look_at_entry(directory: Directory, name: bytes) -> tuple[dict[bytes, bytes], str]:
    """Return the same of an entry that is not opened: a link, a pipe, a device, an empty file."""
    return look_at_attributes(b"/proc/self/fd/%d/%s" % (directory.fd, name))


def look_at_attributes(place: Place, *, follow: bool = False) -> tuple[dict[bytes, bytes], str]:
    """Return the extended attributes, and why they are not all there, else ""."""
    try:
        return read_attributes(place, follow=follow), ""
    except OSError as exc:
        return {}, exc.strerror or str(exc)


def read_into(fd: int, view: memoryview, expected: int) -> int:
    """Fill `view` from the file's position and return the bytes read.

    A first read of exactly `expected` bytes (less than the view holds) is taken for the whole file: on a regular
    file a short read means its end. Any other count is followed up until the end or until the view is full.

    Raises:
        OSError: the read failed.

    """
    filled = os.readv(fd, [view])
    if filled == expected < len(view):
        return filled
    while 0 < filled < len(view):
        more = os.readv(fd, [view[filled:]])
        if more == 0:
            break
        filled += more
    return filled


def read_beginning(directory: Directory, name: bytes, most: int) -> bytes:
    """Return at most `most` bytes from the beginning of the regular file `name` in `directory`.

    Raises:
        OSError: it can't be read, or is no regular file.

    """
    fd = os.open(name, _FLAGS, dir_fd=directory.fd)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(fd)


def has_changed(opened: Opened) -> bool:
    """Say whether the open file was modified since it was opened."""
    status = os.fstat(opened.fd)
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size) != (opened.mtime_ns, opened.ctime_ns, opened.size)
