"""What a restore wants of a snapshot, met in the order of the walk, and what of it stands in the target already.

Knows: the way down to a path, skipping directories. Must not know: packs, how anything is written.
"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from backuppeer.backup.roots import split_path
from backuppeer.backup.trees import TreeReader, TreeWalk, Visit
from backuppeer.errors import BackupPeerError
from backuppeer.files.write import RestoreTarget
from backuppeer.repo.tree import EntryKind, TreeEntry


class Selection:
    """What is wanted of a snapshot: the directories on the way down, then an entry or everything."""

    def __init__(self, trees: TreeReader, tree: bytes, way: list[TreeEntry]) -> None:
        self._trees = trees
        self._tree = tree
        self._way = way

    def above(self) -> Iterator[Visit]:
        """Yield the directories above what is wanted, from the top."""
        path = b""
        for entry in self._way[:-1]:
            path = path + b"/" + entry.name if path else entry.name
            yield Visit(path, entry)

    def visits(self, walk: "Walk") -> Iterator[Visit]:
        """Yield what is wanted, as `TreeWalk` does."""
        path = b"/".join(entry.name for entry in self._way)
        if not self._way:
            yield from walk.go(self._trees, self._tree, path)
            return
        top = Visit(path, self._way[-1])
        walk.skipped = False
        yield top
        if top.entry.kind == EntryKind.DIRECTORY and not walk.skipped:
            yield from walk.go(self._trees, top.entry.content, path)
            yield Visit(path, top.entry, leaving=True)


class Walk:
    """Lets the consumer of visits skip the directory it was just given."""

    def __init__(self) -> None:
        self.skipped = False
        self.errors: list[tuple[bytes, BackupPeerError]] = []
        self._inner: TreeWalk | None = None

    def go(self, trees: TreeReader, content: bytes, path: bytes) -> Iterator[Visit]:
        """Yield everything below a directory; what can't be read is put into `errors`."""
        self._inner = TreeWalk(trees, content, path=path, on_error=lambda at, exc: self.errors.append((at, exc)))
        yield from self._inner

    def skip(self) -> None:
        """Don't enter the directory visited last."""
        self.skipped = True
        if self._inner is not None:
            self._inner.skip()


def plan_way(paths: Sequence[bytes], wanted: Sequence[bytes]) -> list[bytes]:
    """Return the directories that are only on the way to what a restore is of, from the top.

    `paths`: what the snapshot is of; `wanted`: components of the path that is restored. Above it nothing is wanted, and
    below it nothing beside the paths. Such a directory may be a symlink of the person's own (/home, /lib).
    """
    backed_up = [split_path(path) for path in paths]
    way = {b"/".join(wanted[:depth]) for depth in range(1, len(wanted))}
    for parts in backed_up:
        if parts[: len(wanted)] == list(wanted):
            way |= {b"/".join(parts[:depth]) for depth in range(max(1, len(wanted)), len(parts))}
    whole = {b"/".join(parts) for parts in backed_up}
    return sorted(path for path in way if not _is_within(path, whole, len(wanted)))


def _is_within(path: bytes, whole: AbstractSet[bytes], depth: int) -> bool:
    """Say whether a place on the way lies inside of a path that is backed up whole, and at or below the wanted one."""
    parts = path.split(b"/")
    return len(parts) >= depth and any(b"/".join(parts[:n]) in whole for n in range(len(parts) + 1))


def find_obstacle(way: Sequence[bytes], target: RestoreTarget) -> bytes | None:
    """Return the first place on the way that something other than a directory has."""
    return next((path for path in way if target.is_taken(path, directory_wanted=True)), None)


def find_taken(selection: Selection, target: RestoreTarget, check: Callable[[], None]) -> Iterator[bytes]:
    """Yield the paths of what a restore of `selection` would replace in the target; `check` may end it by raising."""
    if any(not target.has_directory(visit.path) for visit in selection.above()):
        return
    walk = Walk()
    for visit in selection.visits(walk):
        check()
        if visit.leaving:
            continue
        is_directory = visit.entry.kind == EntryKind.DIRECTORY
        if target.is_taken(visit.path, directory_wanted=is_directory):
            yield visit.path
        if is_directory and not target.has_directory(visit.path):
            walk.skip()
