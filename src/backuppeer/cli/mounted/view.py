"""Answers to what the kernel asks about names and bytes in a mount, whatever library brings the questions.

Knows: the layout, the door, errors of the system. Must not know: libfuse, terminals. What can't be read is told to
`tell` as well: the program that reads sees a number, the person should see words.
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backuppeer.cli.mounted.door import Door
from backuppeer.cli.mounted.layout import Node, Pointer, Root, Shelf, Text, find_node
from backuppeer.cli.mounted.metadata import Stat, describe_entry, describe_node, number_entry, type_of, type_of_node
from backuppeer.control.mounting import MountEntry
from backuppeer.errors import BackupPeerError, NotFoundError, Unavailable
from backuppeer.limits import MOUNT_LIST_S, MOUNT_NAME_BYTES

Tell = Callable[[str, BackupPeerError], None]
ListSnapshots = Callable[[], Shelf]


class View:
    """A mount as the kernel sees it; called from many threads. `strict`: the kernel enforces modes."""

    def __init__(self, door: Door, list_snapshots: ListSnapshots, tell: Tell, *, strict: bool = False) -> None:
        self._door, self._list, self._tell, self._strict = door, list_snapshots, tell, strict
        self._owner = (os.geteuid(), os.getegid())
        self._lock = threading.Lock()
        self._top = list_snapshots()
        self._listed_s = time.monotonic()

    def stat(self, path: str) -> Stat:
        """Return what `lstat` tells.

        Raises:
            OSError: ENOENT; EIO or ETIMEDOUT when it can't be had.

        """
        with self._translated(path):
            node, inside = self._find(path)
            if not inside:
                return describe_node(node, self._owner, path=path)
            snapshot, entry = self._entry(node, inside)
            return describe_entry(entry, snapshot, "/".join(inside), strict=self._strict)

    def list_folder(self, path: str) -> list[tuple[str, int, int]]:
        """Return (name, type, inode) of all entries; raises as `stat`, or ENOTDIR."""
        with self._translated(path):
            node, inside = self._find(path)
            if isinstance(node, Root):
                folder = self._door.list_folder(node.snapshot, inside)
                above = "".join(f"{part}/" for part in inside)
                return [
                    (name, type_of(entry), number_entry(entry, node.snapshot, above + name))
                    for name, entry in folder.entries.items()
                ]
            if not isinstance(node, Shelf):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            below = path.rstrip("/")
            return [
                (name, type_of_node(child), describe_node(child, self._owner, path=f"{below}/{name}")["st_ino"])
                for name, child in node.entries.items()
            ]

    def read_link(self, path: str) -> str:
        """Return where a link leads; raises as `stat`, or EINVAL."""
        with self._translated(path):
            node, inside = self._find(path)
            target = node.target if isinstance(node, Pointer) else ""
            if inside:
                target = self._entry(node, inside)[1].target
            if not target:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
            return target

    def read(self, path: str, size: int, offset: int) -> bytes:
        """Return bytes of a file, fewer at its end; raises as `stat`, or EISDIR."""
        with self._translated(path):
            node, inside = self._find(path)
            if isinstance(node, Text):
                return node.content[offset : offset + size]
            if not inside:
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            snapshot, entry = self._entry(node, inside)
            return self._door.read(snapshot, inside, entry, offset=offset, length=size)

    def attributes(self, path: str) -> dict[str, bytes]:
        """Return the extended attributes; raises as `stat`."""
        with self._translated(path):
            node, inside = self._find(path)
            return self._entry(node, inside)[1].attributes if inside else {}

    def _find(self, path: str) -> tuple[Node, list[str]]:
        parts = [part for part in path.split("/") if part]
        self._refresh()
        found = find_node(self._top, parts)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    def _entry(self, node: Node, inside: list[str]) -> tuple[str, MountEntry]:
        snapshot = node.snapshot if isinstance(node, Root) else ""
        if len(os.fsencode(inside[-1])) > MOUNT_NAME_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), inside[-1])
        entry = self._door.find_entry(snapshot, inside)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), inside[-1])
        return snapshot, entry

    def _refresh(self) -> None:
        """Ask for the list of snapshots again when it is old; one thread does, the others go by what there is."""
        if time.monotonic() - self._listed_s < MOUNT_LIST_S or not self._lock.acquire(blocking=False):
            return
        try:
            self._listed_s = time.monotonic()
            self._top = self._list()
        except BackupPeerError:
            return  # what was listed before still stands
        finally:
            self._lock.release()

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except NotFoundError as exc:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from exc
        except BackupPeerError as exc:
            self._tell(path, exc)
            number = errno.ETIMEDOUT if isinstance(exc, Unavailable) else errno.EIO
            raise OSError(number, os.strerror(number), path) from exc
