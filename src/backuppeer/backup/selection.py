"""What a restore wants of a snapshot, met in the order of the walk, and what of it stands in the target already.

Knows: the way down to a path, skipping directories. Must not know: packs, how anything is written.
"""

from collections.abc import Iterator

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


def find_taken(selection: Selection, target: RestoreTarget) -> Iterator[bytes]:
    """Yield the paths of what a restore of `selection` would replace in the target."""
    for visit in selection.above():
        if target.is_taken(visit.path, directory_wanted=True):
            yield visit.path
            return
        if not target.has_directory(visit.path):
            return
    walk = Walk()
    for visit in selection.visits(walk):
        if visit.leaving:
            continue
        is_directory = visit.entry.kind == EntryKind.DIRECTORY
        if target.is_taken(visit.path, directory_wanted=is_directory):
            yield visit.path
        if is_directory and not target.has_directory(visit.path):
            walk.skip()
