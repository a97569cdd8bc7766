"""What a restore wants of a snapshot, met in the order of the walk, and what of it stands in the target already.

Knows: the way down to a path, skipping directories. Must not know: packs, how anything is written.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from backuppeer.backup.naming import Naming
from backuppeer.backup.roots import split_path
from backuppeer.backup.trees import TreeReader, TreeWalk, Visit
from backuppeer.errors import BackupPeerError
from backuppeer.files.dialect import Platform, write_path
from backuppeer.files.ignore import Patterns, anywhere
from backuppeer.files.write import RestoreTarget
from backuppeer.repo.tree import EntryKind, TreeEntry


class Selection:
    """What is wanted of a snapshot: the directories on the way down, then an entry or all that `choice` wants.

    `platform`: whose names the paths of visits have.
    """

    def __init__(
        self,
        trees: TreeReader,
        tree: bytes,
        way: list[TreeEntry],
        choice: "Choice | None" = None,
        *,
        platform: Platform = Platform.LINUX,
    ) -> None:
        self._platform = platform
        self._trees = trees
        self._tree = tree
        self._way = way
        self._choice = choice

    def above(self) -> Iterator[Visit]:
        """Yield the directories above what is wanted, from the top."""
        path = b""
        for entry in self._way[:-1]:
            path = path + b"/" + entry.name if path else entry.name
            yield Visit(write_path(path, self._platform), entry)

    def visits(self, walk: "Walk") -> Iterator[Visit]:
        """Yield what is wanted, as `TreeWalk` does."""
        visits = self._visits(walk) if self._choice is None else self._choice.visits(self._visits(walk), walk)
        return Naming(self._platform, walk).apply(visits)

    def _visits(self, walk: "Walk") -> Iterator[Visit]:
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


class Choice:
    """What of a selection is wanted by patterns: all that fits `include` (none: everything) and not `exclude`.

    Patterns as in .gitignore, counted from `/`. What lies inside of a folder that is included is included; folders on
    the way to something included are restored with it.
    """

    def __init__(self, *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        """Take the patterns.

        Raises:
            UserError: one of them is none.

        """
        self._include = Patterns([anywhere(pattern) for pattern in include], b"/") if include else None
        self._exclude = Patterns([anywhere(pattern) for pattern in exclude], b"/") if exclude else None

    def visits(self, visits: Iterator[Visit], walk: "Walk") -> Iterator[Visit]:
        """Yield those of the visits that are wanted."""
        on_the_way: list[Visit] = []
        included: list[bytes] = []
        for visit in visits:
            if visit.leaving:
                if included and included[-1] == visit.path:
                    included.pop()
                if on_the_way and on_the_way[-1].path == visit.path:
                    on_the_way.pop()
                else:
                    yield visit
                continue
            is_directory = visit.entry.kind == EntryKind.DIRECTORY
            wanted = self.judge(visit.path, is_directory=is_directory, inside=bool(included))
            if wanted is None:
                if is_directory:
                    walk.skip()
            elif wanted:
                yield from on_the_way
                on_the_way.clear()
                walk.skipped = False
                yield visit
                if is_directory and not walk.skipped:
                    included.append(visit.path)
            elif is_directory:
                on_the_way.append(visit)

    def judge(self, path: bytes, *, is_directory: bool, inside: bool) -> bool | None:
        """Say whether an entry is wanted; False: not itself, but what is in it may be; None: with nothing in it.

        `inside`: it lies in a folder that is wanted as a whole.
        """
        if _fits(self._exclude, path, is_directory=is_directory):
            return None
        return inside or self._include is None or _fits(self._include, path, is_directory=is_directory)

    def is_within(self, folder: bytes) -> bool:
        """Say whether all in a folder is wanted that is not excluded: it fits `include`, or one above it does."""
        parts = folder.split(b"/")
        above = (b"/".join(parts[: n + 1]) for n in range(len(parts)))
        return self._include is None or any(_fits(self._include, path, is_directory=True) for path in above)


def _fits(patterns: Patterns | None, path: bytes, *, is_directory: bool) -> bool:
    return patterns is not None and bool(patterns.decide(b"/" + path, is_directory=is_directory))


class Walk:
    """Lets the consumer of visits skip the directory it was just given."""

    def __init__(self) -> None:
        self.skipped = False
        self.errors: list[tuple[bytes, BackupPeerError]] = []
        self.renamed: list[tuple[bytes, bytes]] = []
        """(stored path, path in the target) of what can't have its own name there."""
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
