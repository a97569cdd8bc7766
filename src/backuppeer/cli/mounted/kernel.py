"""The bridge to the kernel: libfuse through mfusepy, in a thread of its own. The only importer of mfusepy.

Knows: libfuse's options and callbacks, how its loop is ended. Must not know: snapshots, the agent, terminals.

libfuse loops in C until the file system is unmounted, and no signal handler of Python runs in a thread that does so:
hence not the main one. Only a callback can end the loop, and the loop sees that after its next request: so `end` asks
for one. Then libfuse unmounts, at once even while files are open (they fail from then on).
"""

import errno
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from types import ModuleType
from typing import Final, Protocol

from backuppeer.cli.mounted.metadata import Stat
from backuppeer.errors import BackupPeerError, LocalError, NotFoundError
from backuppeer.limits import MOUNT_KERNEL_S, MOUNT_NAME_BYTES, MOUNT_THREADS

HELPERS: Final = {"fuse3": "fusermount3", "fuse": "fusermount"}
"""Versions of libfuse, the newest first, and the program by which each mounts for others than root."""
_CHOICE: Final = "FUSE_LIBRARY_NAME"
_BLOCK: Final = 4096
_COUNTS_THREADS: Final = (3, 12)
"""The version of libfuse from which on it takes the options; 3.14 complains of its own default."""


class Shown(Protocol):
    """What the kernel's questions are answered from; each may raise OSError."""

    def stat(self, path: str) -> Stat:
        """Return what `lstat` tells; times in nanoseconds."""
        ...

    def list_folder(self, path: str) -> list[tuple[str, int, int]]:
        """Return (name, type, inode) of all entries."""
        ...

    def read_link(self, path: str) -> str:
        """Return where a link leads."""
        ...

    def read(self, path: str, size: int, offset: int) -> bytes:
        """Return bytes of a file, fewer at its end."""
        ...

    def attributes(self, path: str) -> dict[str, bytes]:
        """Return the extended attributes."""
        ...


def load_library() -> ModuleType:
    """Return mfusepy, with libfuse loaded: version 3 where there is one.

    Raises:
        NotFoundError: one of the two is not installed.

    """
    if sys.platform.startswith("linux") and _CHOICE not in os.environ:
        os.environ[_CHOICE] = _choose_library()
    try:
        import mfusepy  # noqa: PLC0415 - optional (`backup-peer[mount]`), and it loads libfuse
    except ImportError as exc:
        raise NotFoundError(
            "mounting needs the Python package mfusepy, which is not installed",
            hint="`pipx inject backup-peer mfusepy`, or `pip install mfusepy` where backup-peer was installed with pip",
        ) from exc
    except OSError as exc:
        raise NotFoundError(
            "mounting needs libfuse, which is not installed", hint="on Debian and Ubuntu: `sudo apt install fuse3`"
        ) from exc
    library: ModuleType = mfusepy
    return library


def _choose_library() -> str:
    """Return the version of libfuse that is there, and that this user can mount with."""
    there = [name for name in HELPERS if find_library(name)]
    usable = [name for name in there if os.geteuid() == 0 or shutil.which(HELPERS[name])]
    return next(iter(usable or there), "fuse3")


class Kernel:
    """One mounted file system. `on_ready` and `on_end` are called from its thread."""

    def __init__(
        self,
        library: ModuleType,
        shown: Shown,
        place: str,
        *,
        allow_other: bool,
        on_ready: Callable[[], None],
        on_end: Callable[[BackupPeerError | None], None],
    ) -> None:
        self._library, self._place, self._allow_other, self._on_end = library, place, allow_other, on_end
        self._operations = _Operations(library, shown, on_ready)
        self._thread = threading.Thread(target=self._run, daemon=True, name="fuse")

    def start(self) -> None:
        """Mount; `on_ready` says when it is done, `on_end` that it failed or was unmounted."""
        self._thread.start()

    def end(self, timeout_s: float) -> bool:
        """Unmount, used or not, and return whether that was done in time; reads under way are waited for."""
        self._operations.is_ending = True
        # Not in this thread: when all threads of libfuse are busy, it would wait for them without end.
        threading.Thread(target=self._wake, daemon=True, name="wake").start()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _wake(self) -> None:
        try:
            os.statvfs(self._place)
        except OSError:
            return  # unmounted already

    def _run(self) -> None:
        options: dict[str, bool | int] = {"allow_other": True, "default_permissions": True} if self._allow_other else {}
        if (self._library.fuse_version_major, self._library.fuse_version_minor) >= _COUNTS_THREADS:
            options |= {"max_threads": MOUNT_THREADS, "max_idle_threads": MOUNT_THREADS}
        failure: BackupPeerError | None = None
        try:
            self._library.FUSE(
                self._operations,
                self._place,
                foreground=True,
                ro=True,
                nodev=True,
                nosuid=True,
                fsname="backup-peer",
                use_ino=True,
                kernel_cache=True,  # what a snapshot holds never changes
                attr_timeout=MOUNT_KERNEL_S,
                entry_timeout=MOUNT_KERNEL_S,
                **options,
            )
        except (RuntimeError, OSError) as exc:
            hint = "what libfuse says of it stands above"
            if self._allow_other:
                hint += "; --allow-other needs the line user_allow_other in /etc/fuse.conf, unless you are root"
            failure = LocalError(f"{self._place} can't be mounted ({exc})", hint=hint)
        self._on_end(failure)


class _Operations:
    """What mfusepy calls; everything that would write is missing, and so refused."""

    use_ns = True
    """Times are whole nanoseconds."""

    def __init__(self, library: ModuleType, shown: Shown, on_ready: Callable[[], None]) -> None:
        self._library, self._shown, self._on_ready = library, shown, on_ready
        self.is_ending = False

    def init(self, path: str) -> None:
        del path
        if self.is_ending:  # told to end before it was there
            self._library.fuse_exit()
        self._on_ready()

    def getattr(self, path: str, fh: int | None = None) -> Stat:
        del fh
        return self._shown.stat(path)

    def readlink(self, path: str) -> str:
        return self._shown.read_link(path)

    def readdir(self, path: str, fh: int) -> Iterator[tuple[str, Stat, int]]:
        del fh
        found = self._shown.list_folder(path)
        own = {"st_mode": 0o040000}
        yield from ((".", own, 0), ("..", own, 0))
        yield from ((name, {"st_mode": kind, "st_ino": inode}, 0) for name, kind, inode in found)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        del fh
        return self._shown.read(path, size, offset)

    def listxattr(self, path: str) -> list[str]:
        return list(self._shown.attributes(path))

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        del position
        found = self._shown.attributes(path).get(name)
        if found is None:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), path)
        return found

    def statfs(self, path: str) -> dict[str, int]:
        del path
        if self.is_ending:
            self._library.fuse_exit()
        return {"f_bsize": _BLOCK, "f_frsize": _BLOCK, "f_namemax": MOUNT_NAME_BYTES}
