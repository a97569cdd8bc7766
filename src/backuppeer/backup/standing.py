"""What stands in the target of a restore already: the same, to be replaced, or to be left alone.

Knows: when an entry on disk is what a snapshot holds, without reading it. Must not know: packs, how things are written.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from backuppeer.backup.tidying import Tidier
from backuppeer.backup.trees import Visit
from backuppeer.files.scan import Found, FoundKind
from backuppeer.files.write import RestoreTarget
from backuppeer.limits import CONFLICTS_LISTED
from backuppeer.repo.extension import device_of
from backuppeer.repo.tree import DEVICES, EntryKind, TreeEntry


class Overwrite(StrEnum):
    """What becomes of entries that stand where others are to be restored. Folders stay, and what is the same."""

    REFUSE = "refuse"
    """Nothing is restored when anything differs."""
    IF_CHANGED = "if-changed"
    """What differs by kind, size, time or destination is replaced."""
    IF_NEWER = "if-newer"
    """Only what is older than in the snapshot is replaced."""
    NEVER = "never"
    """Everything that stands there stays."""
    ALWAYS = "always"
    """Everything is written anew, whatever it looks like."""


_REPLACING: Final = frozenset({Overwrite.IF_CHANGED, Overwrite.IF_NEWER, Overwrite.ALWAYS})


def may_replace(mode: Overwrite) -> bool:
    """Say whether this mode replaces anything at all."""
    return mode in _REPLACING


def is_same(found: Found, entry: TreeEntry) -> bool:
    """Say whether an entry on disk is what the snapshot holds, as far as its name, size and time tell."""
    if int(found.kind) != int(entry.kind):
        return False
    if found.kind is FoundKind.FILE:
        return (found.size, found.mtime_ns) == (entry.size, entry.mtime_ns)
    if found.kind is FoundKind.SYMLINK:
        return found.target == entry.target
    return found.numbers == (device_of(entry.ext) if entry.kind in DEVICES else None)


@dataclass(slots=True)
class LeftAlone:
    """What stands in the target and is left: all files, and whatever differs from the snapshot. `named`: the first."""

    named: list[bytes] = field(default_factory=list)
    differing: int = 0
    files: int = 0
    bytes: int = 0

    def add(self, visit: Visit, found: Found) -> None:
        """Count what stands in the place of an entry."""
        is_file = visit.entry.kind == EntryKind.FILE
        self.files += is_file
        self.bytes += visit.entry.size * is_file
        if not is_same(found, visit.entry):
            self.differing += 1
            if self.differing <= CONFLICTS_LISTED:
                self.named.append(visit.path)


class Keeper:
    """Decides for each entry of a restore whether what stands there is kept."""

    def __init__(self, target: RestoreTarget, mode: Overwrite) -> None:
        self._target, self._mode = target, mode

    def find_kept(self, visit: Visit) -> Found | None:
        """Return what stands in the place of a file, link or the like and is kept; None when it is to be restored."""
        if self._mode is Overwrite.ALWAYS:
            return None
        found = self._target.find(visit.path)
        if found is None:
            return None
        if is_same(found, visit.entry) or self._mode is Overwrite.NEVER:
            return found
        is_newer = self._mode is Overwrite.IF_NEWER and found.mtime_ns >= visit.entry.mtime_ns
        return found if is_newer and found.kind is not FoundKind.DIRECTORY else None

    def would_replace(self, visit: Visit) -> bool:
        """Say whether something stands in the place of an entry that a restore would replace, or refuses to."""
        if visit.entry.kind == EntryKind.DIRECTORY:
            return self._target.is_taken(visit.path, directory_wanted=True)
        return self._target.find(visit.path) is not None and self.find_kept(visit) is None


class Standing(NamedTuple):
    """What a restore finds in its target. `keeper`: None when it is empty. `tidier`: None when nothing is removed.

    `only_way`: directories that are only on the way to what is restored, and may be links of the person's own.
    """

    only_way: Collection[bytes]
    keeper: Keeper | None
    tidier: Tidier | None = None
