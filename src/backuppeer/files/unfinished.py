"""A regular file that has no name yet: filled first, then given its name in one step.

Knows: O_TMPFILE and link() on Linux, a temporary name elsewhere. Must not know: what is written, who chose the name.

Where the kernel and the file system can, the file is made without any name (O_TMPFILE) and linked when it is whole: a
process killed at any instant, or a power cut, leaves nothing behind, neither under the real name nor under another.
The price is 10 µs a file against creating it under its name (measured, tmpfs). Elsewhere it has a name of its own with
64 random bits until then; killed there, that name stays.
"""

import errno
import os
import secrets
from contextlib import suppress
from typing import Final

_NAMED: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNNAMED: Final = getattr(os, "O_TMPFILE", 0) | os.O_WRONLY | os.O_CLOEXEC
_DESCRIPTORS: Final = b"/proc/self/fd/"
_NO_UNNAMED: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
"""What file systems and kernels without O_TMPFILE answer (open(2))."""
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})
"""What file systems without hard links answer to link()."""
PRIVATE: Final = 0o600


def can_be_unnamed(directory: int) -> bool:
    """Try whether files in this open directory can be made without a name and linked afterwards."""
    name = make_temporary_name()
    try:
        fd = os.open(b".", _UNNAMED, PRIVATE, dir_fd=directory)
    except OSError:
        return False
    try:
        os.link(_DESCRIPTORS + b"%d" % fd, name, dst_dir_fd=directory, follow_symlinks=True)
        # The name we made ourselves in the line above.
        os.unlink(name, dir_fd=directory)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


class UnfinishedFile:
    """One file in the making in an open directory; exactly one `publish` or `discard`, in that directory, ends it.

    Invariant: until `publish` nothing stands under the real name, and nothing but our own temporary name was touched.
    """

    __slots__ = ("_temporary", "fd")

    def __init__(self, directory: int, *, unnamed: bool) -> None:
        """Make the file, private to the user and empty.

        Raises:
            OSError: the directory can't be written.

        """
        self._temporary: bytes | None = None
        if unnamed:
            try:
                self.fd = os.open(b".", _UNNAMED, PRIVATE, dir_fd=directory)
            except OSError as exc:
                if exc.errno not in _NO_UNNAMED:
                    raise
            else:
                return
        self._temporary = make_temporary_name()
        self.fd = os.open(self._temporary, _NAMED, PRIVATE, dir_fd=directory)

    def publish(self, directory: int, name: bytes, *, overwrite: bool) -> None:
        """Give the finished file its name and let go of it; `overwrite` replaces a name that is taken.

        Raises:
            OSError: the name is taken and may not be replaced, or holds a directory; nothing is left of the file.

        """
        try:
            if self._temporary is None:
                self._publish_unnamed(directory, name, overwrite=overwrite)
            else:
                place_entry(directory, self._temporary, name, overwrite=overwrite)
                self._temporary = None
        except OSError:
            self._remove(directory)
            raise
        finally:
            self.close()

    def discard(self, directory: int) -> None:
        """Throw the file away."""
        self.close()
        self._remove(directory)

    def close(self) -> None:
        """Let go of the descriptor: a file without a name is gone with it."""
        # -1 afterwards: a write that came too late must fail, not reach whatever got the number next.
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _publish_unnamed(self, directory: int, name: bytes, *, overwrite: bool) -> None:
        source = _DESCRIPTORS + b"%d" % self.fd
        try:
            # link() fails on a taken name in one step; a file without a name is linked by following its /proc entry.
            os.link(source, name, dst_dir_fd=directory, follow_symlinks=True)
        except FileExistsError:
            if not overwrite:
                raise
            self._temporary = make_temporary_name()
            os.link(source, self._temporary, dst_dir_fd=directory, follow_symlinks=True)
            place_entry(directory, self._temporary, name, overwrite=True)
            self._temporary = None

    def _remove(self, directory: int) -> None:
        # Only the name we made ourselves, with 64 random bits in it, is ever unlinked here.
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=directory)


def place_entry(directory: int, temporary: bytes, name: bytes, *, overwrite: bool) -> None:
    """Move a finished entry from its temporary name to its real one in the same open directory.

    Raises:
        OSError: the name is taken and may not be replaced, or holds a directory.

    """
    if overwrite:
        # rename replaces the name itself: a symlink there is not followed, other hard links stay as they are.
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        return
    # Rename without replacing: link() fails on a taken name in one step, which rename() would overwrite.
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=directory, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from exc
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    else:
        os.unlink(temporary, dir_fd=directory)


def make_temporary_name() -> bytes:
    """Return a name that nothing has: 64 random bits."""
    return b".backup-peer-" + secrets.token_hex(8).encode()
