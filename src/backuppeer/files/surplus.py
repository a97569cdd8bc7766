"""Taking away what a restore has nothing to do with: entries of a directory that are not among those wanted in it.

Knows: open directories, mounts, one decision per entry. Must not know: snapshots, patterns.

Everything is reached through the descriptor of the directory it is in, without following a symlink: what is swapped for
a link meanwhile is unlinked itself, never what it points to. Nothing on another file system is touched: what is mounted
there is somebody else's. A directory goes last, when all in it has gone, and only if it is empty by then.
"""

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec

from backuppeer.files.scan import join_path

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE: Final = frozenset({errno.ENOENT, errno.ESTALE})
Judge = Callable[[bytes, bool, bool], bool | None]
"""Takes a path, whether it is a directory, and whether the directory it is in goes as a whole. Returns True: it goes;
False: it stays, but what is in it is judged; None: it stays with all that is in it."""


class Removal(msgspec.Struct, frozen=True, gc=False):
    """One entry that went, or would; `problem`: why it did not."""

    path: bytes
    is_directory: bool
    problem: OSError | None = None


class _Level:
    """A directory being cleared: its descriptor, what is left to judge, whether anything in it stays."""

    __slots__ = ("device", "fd", "goes", "name", "names", "path", "stays")

    def __init__(self, fd: int, path: bytes, *, name: bytes, goes: bool, keep: Collection[bytes] = ()) -> None:
        self.fd, self.path = fd, path
        self.name, self.goes = name, goes
        self.stays = False
        self.device = os.fstat(fd).st_dev
        found = map(os.fsencode, os.listdir(fd))
        self.names = iter(sorted(name for name in found if name not in keep))


class Surplus:
    """Clears directories. `judge` decides, `check` is called before each entry and ends the work by raising."""

    def __init__(self, judge: Judge, check: Callable[[], None], *, is_dry: bool) -> None:
        self._judge, self._check, self._is_dry = judge, check, is_dry

    def clear(self, fd: int, path: bytes, keep: Collection[bytes], *, inside: bool) -> Iterator[Removal]:
        """Remove what is in an open directory but for the names `keep`, as judged, and yield it; dry: only yield it.

        `path`: that of the directory, for `judge`; `inside`: whether it is wanted as a whole.

        Raises:
            OSError: it can't be listed.

        """
        levels = [_Level(os.dup(fd), path, name=b"", goes=inside, keep=keep)]
        try:
            while levels:
                self._check()
                name = next(levels[-1].names, None)
                if name is not None:
                    yield from self._take(levels, name)
                    continue
                level = levels.pop()
                os.close(level.fd)
                if levels:
                    yield from self._leave(level, levels[-1])
        finally:
            for level in levels:
                os.close(level.fd)

    def _take(self, levels: list[_Level], name: bytes) -> Iterator[Removal]:
        level = levels[-1]
        path = join_path(level.path, name) if level.path else name
        is_directory = False
        try:
            status = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
            is_directory = stat.S_ISDIR(status.st_mode)
            goes = self._judge(path, is_directory, level.goes)
            if goes is None or not (goes or is_directory):
                level.stays = True
            elif is_directory:
                levels.append(self._enter(level, status.st_dev, name=name, path=path, goes=goes))
            else:
                if not self._is_dry:
                    # The entry itself, by its name in the open directory; a link is unlinked, not followed.
                    os.unlink(name, dir_fd=level.fd)
                yield Removal(path, is_directory=False)
        except OSError as exc:
            if exc.errno not in _GONE:
                level.stays = True
                yield Removal(path, is_directory, exc)

    def _enter(self, above: _Level, device: int, *, name: bytes, path: bytes, goes: bool) -> _Level:
        _check_device(device, above)
        fd = os.open(name, _FLAGS, dir_fd=above.fd)
        try:
            # Again, of what is really open: something may have been mounted in between.
            _check_device(os.fstat(fd).st_dev, above)
            return _Level(fd, path, name=name, goes=goes)
        except OSError:
            os.close(fd)
            raise

    def _leave(self, level: _Level, above: _Level) -> Iterator[Removal]:
        if level.stays or not level.goes:
            above.stays = True
            return
        try:
            if not self._is_dry:
                # rmdir() takes empty directories only: what came meanwhile is not lost.
                os.rmdir(level.name, dir_fd=above.fd)
            yield Removal(level.path, is_directory=True)
        except OSError as exc:
            if exc.errno not in _GONE:
                above.stays = True
                yield Removal(level.path, is_directory=True, problem=exc)


def _check_device(device: int, above: _Level) -> None:
    if device != above.device:
        raise OSError(errno.EXDEV, "another file system is mounted there")
