"""Visits of a restore under the names that the system they are restored on allows.

Knows: the order of a walk, which names of a folder are taken. Must not know: what is allowed (files.dialect).
"""

from collections.abc import Iterator
from typing import Protocol

from backuppeer.backup.trees import Visit
from backuppeer.errors import BackupPeerError, IntegrityFault
from backuppeer.files.dialect import Platform, choose_name, fold_name, write_path
from backuppeer.repo.tree import EntryKind


class NotesNames(Protocol):
    """What a walk is told: (stored path, path in the target) of what gets another name, and what gets none."""

    renamed: list[tuple[bytes, bytes]]
    errors: list[tuple[bytes, BackupPeerError]]

    def skip(self) -> None:
        """Don't enter the directory visited last."""
        ...


class Naming:
    """Names the visits of one walk."""

    def __init__(self, platform: Platform, walk: NotesNames) -> None:
        self._platform, self._walk = platform, walk
        self._open: list[_OpenFolder] = []

    def apply(self, visits: Iterator[Visit]) -> Iterator[Visit]:
        """Yield the visits with paths that can stand in the target. On Linux: just the visits."""
        return visits if self._platform is Platform.LINUX else self._apply(visits)

    def _apply(self, visits: Iterator[Visit]) -> Iterator[Visit]:
        for visit in visits:
            is_directory = visit.entry.kind == EntryKind.DIRECTORY
            if visit.leaving:
                yield Visit(self._close(visit.path), visit.entry, leaving=True)
            elif (place := self._place(visit)) is not None:
                if is_directory:
                    self._open.append(_OpenFolder(visit.path, place))
                yield Visit(place, visit.entry)
            elif is_directory:
                self._walk.skip()

    def _close(self, stored: bytes) -> bytes:
        while self._open:
            folder = self._open.pop()
            if folder.stored == stored:
                return folder.place
        return write_path(stored, self._platform)

    def _place(self, visit: Visit) -> bytes | None:
        """Return where an entry goes; a folder that was skipped was not left, and is forgotten here."""
        above, _, name = visit.path.rpartition(b"/")
        while self._open and self._open[-1].stored != above:
            self._open.pop()
        if not self._open:
            self._open.append(_OpenFolder(above, write_path(above, self._platform)))
        folder = self._open[-1]
        chosen = choose_name(name, folder.taken, self._platform)
        if chosen is None:
            self._walk.errors.append((visit.path, IntegrityFault("its folder on this system has no name left for it")))
            return None
        folder.taken.add(fold_name(chosen, self._platform))
        place = folder.place + b"/" + chosen if folder.place else chosen
        if chosen != name:
            self._walk.renamed.append((visit.path, place))
        return place


class _OpenFolder:
    """A folder that the walk is in: its stored path, where it went, and the folded names taken in it."""

    __slots__ = ("place", "stored", "taken")

    def __init__(self, stored: bytes, place: bytes) -> None:
        self.stored, self.place = stored, place
        self.taken: set[bytes] = set()
