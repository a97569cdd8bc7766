"""Files that were read before the walk came to them.

Knows: their entries by path, and how much of what was read the walk has not met yet. Must not know: why they were read.
"""

import os
from collections.abc import Mapping

from backuppeer.backup.entries import matches
from backuppeer.backup.streams import Progress
from backuppeer.files.scan import Found
from backuppeer.repo.tree import TreeEntry


class Ahead:
    """What was read ahead. `files` and `bytes`: what of it the walk has not met yet; `told`: what was shown."""

    def __init__(self, entries: Mapping[bytes, TreeEntry], told: tuple[int, int] = (0, 0)) -> None:
        self.told = told
        self._entries = dict(entries)
        self.files = len(entries)
        self.bytes = sum(entry.size for entry in entries.values())

    def __bool__(self) -> bool:
        return bool(self._entries)

    def meet(self, path: bytes, found: Found) -> TreeEntry | None:
        """Return the entry of a file that is still what it was when it was read; None: it must be read (again)."""
        entry = self._entries.pop(path, None)
        if entry is None:
            return None
        self.files -= 1
        self.bytes -= entry.size
        return entry if matches(found, entry) else None


class Muted:
    """A Progress that passes on totals only (`told`: the last), and takes down which files were told of."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.failed: set[bytes] = set()
        self.told = (0, 0)

    def update(self, **counters: int) -> None:
        """Pass the totals on."""
        self.told = (counters["files"], counters["bytes"])
        self._progress.update(**counters)

    def enter(self, phase: str) -> None:
        """Pass it on."""
        self._progress.enter(phase)

    def error_file(self, path: bytes, message: str, *, is_away: bool = False) -> None:  # noqa: ARG002 - the walk will tell it
        """Take it down: the walk reads the file again, and tells what it meets."""
        self.failed.add(path)

    def note(self, text: str) -> None:
        """Ignore it: the walk will say it."""


def folder_of(path: bytes) -> bytes:
    """Return the directory of an absolute path."""
    return os.path.dirname(path)  # noqa: PTH120 - bytes
