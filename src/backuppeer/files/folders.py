"""Open directories below a restore's target: the wall nothing gets over.

Knows: directory descriptors, one path component at a time. Must not know: what is written there.

Every component below the target is opened relative to its parent's descriptor with O_NOFOLLOW | O_DIRECTORY, so a
symlink in any component, planted before or swapped in while we work, ends in an error and never in a write elsewhere.
Paths are relative to the target, components joined by `/`; b"" is the target itself.
"""

import os
import threading
from collections import OrderedDict
from types import TracebackType
from typing import Final, Self

from backuppeer.errors import IntegrityFault
from backuppeer.limits import RESTORE_OPEN_DIRECTORIES

_NO_NAMES: Final = frozenset((b"", b".", b".."))
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def check_name(name: bytes) -> None:
    """Check that `name` can only mean an entry of the directory it is used in.

    Raises:
        IntegrityFault: it is empty, dot, dot-dot, or holds a slash or NUL.

    """
    if name in _NO_NAMES or b"/" in name or b"\0" in name:
        raise IntegrityFault(f"the name {name[:80]!r} in a snapshot would leave the target")


def split_relative(path: bytes) -> tuple[bytes, bytes]:
    """Return (directory, name) of a path below the target; every component is checked.

    Raises:
        IntegrityFault: a component would leave the target.

    """
    directory, slash, name = path.rpartition(b"/")
    if slash and not directory:
        raise IntegrityFault(f"the path {path[:80]!r} in a snapshot starts at the system's root")
    check_name(name)
    return directory, name


class Folder:
    """An open directory in use: `with folders.use(path) as folder`.

    `fd` is valid inside the `with`. `owner`: (uid, gid) that the system gives to new files in it, None until somebody
    has looked at one; the folder remembers it for the next.
    """

    __slots__ = ("_lock", "fd", "owner", "users")

    def __init__(self, fd: int, lock: threading.Lock) -> None:
        self.fd = fd
        self.owner: tuple[int, int] | None = None
        self.users = 0
        self._lock = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self.users -= 1


class OpenFolders:
    """A bounded set of open directories below one root; thread-safe. Invariant: a folder in use is never closed."""

    def __init__(self, root: bytes | int) -> None:
        """Take a path, or the descriptor of an open directory, which is closed with the others."""
        self._lock = threading.Lock()
        fd = root if isinstance(root, int) else os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._root = Folder(fd, self._lock)
        self._folders: OrderedDict[bytes, Folder] = OrderedDict()

    @property
    def root_fd(self) -> int:
        """The root itself, open until `close`."""
        return self._root.fd

    def use(self, path: bytes) -> Folder:
        """Give the directory at `path`, for a `with` statement right here.

        Raises:
            OSError: a component is missing, no directory, or a symlink.
            IntegrityFault: a component would leave the target.

        """
        with self._lock:
            folder = self._folders.get(path) if path else self._root
            if folder is None:
                folder = self._folders[path] = Folder(self._open(path), self._lock)
                self._close_surplus(keep=path)
            elif path:
                self._folders.move_to_end(path)
            folder.users += 1
        return folder

    def close(self) -> None:
        """Close everything; nobody may use a folder any more."""
        with self._lock:
            for folder in self._folders.values():
                os.close(folder.fd)
            self._folders.clear()
            os.close(self._root.fd)

    def _open(self, path: bytes) -> int:
        """Walk down from the nearest open ancestor, one checked component at a time."""
        ancestor = path
        while ancestor and ancestor not in self._folders:
            ancestor = ancestor.rpartition(b"/")[0]
        at = os.dup(self._folders[ancestor].fd if ancestor else self._root.fd)
        for name in path[len(ancestor) :].lstrip(b"/").split(b"/"):
            try:
                check_name(name)
                below = os.open(name, _FLAGS, dir_fd=at)
            finally:
                os.close(at)
            at = below
        return at

    def _close_surplus(self, *, keep: bytes) -> None:
        if len(self._folders) <= RESTORE_OPEN_DIRECTORIES:
            return
        idle = (path for path, folder in self._folders.items() if folder.users == 0 and path != keep)
        victim = next(idle, None)
        if victim is not None:
            os.close(self._folders.pop(victim).fd)
