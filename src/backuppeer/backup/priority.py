"""What a person wants to be sent first: patterns in order, and the changed files that fit them, found before the walk.

Knows: ranks, the same rules and roots as the walk. Must not know: how files are read, packs.

Theory of operation. With `--priority` a backup looks through its folders once before the walk (names and stat only),
takes down the files that fit and are not in the parent snapshot already, reads them rank by rank and waits until the
packs that hold them are durable. The walk then meets them as files it knows, so they are read once, and the snapshot is
what it would be without. The cost is one more scan, and one pack that is not full.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from backuppeer.backup.entries import matches
from backuppeer.backup.exclusion import Rules
from backuppeer.backup.intake import Engine
from backuppeer.backup.looking import look
from backuppeer.backup.mounts import Mounts
from backuppeer.backup.nodes import Node, Todo
from backuppeer.backup.roots import Root
from backuppeer.backup.trees import TreeReader
from backuppeer.errors import BackupPeerError, UserError
from backuppeer.files.ignore import Patterns, anywhere
from backuppeer.files.scan import Found, FoundKind, Row, examine_path, join_path
from backuppeer.limits import PRIORITY_FILES, PRIORITY_PATTERNS, TREE_DEPTH
from backuppeer.repo.tree import TreeEntry


class Priorities:
    """Patterns as in .gitignore, counted from `/`, the most important first."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Take them.

        Raises:
            UserError: one is none, or excepts something, or there are too many.

        """
        if len(patterns) > PRIORITY_PATTERNS:
            raise UserError(f"more than {PRIORITY_PATTERNS} priorities", hint="one pattern may fit many files: *.kdbx")
        for pattern in patterns:
            if pattern.startswith("!") or not pattern.strip("/ "):
                raise UserError(f"{pattern[:80]!r} says nothing about what is first", hint="--priority PATTERN")
        self._ranks = [Patterns([anywhere(pattern)], b"/") for pattern in patterns]

    def __bool__(self) -> bool:
        return bool(self._ranks)

    def __len__(self) -> int:
        return len(self._ranks)

    def rank(self, path: bytes) -> int | None:
        """Return the number of the first pattern that a file's absolute path fits."""
        return next((n for n, one in enumerate(self._ranks) if one.leaves_out_within(path)), None)


@dataclass(frozen=True, slots=True)
class Urgent:
    """Files to read first, in order, as (absolute path, what was found). `more`: how many fit beyond the limit."""

    files: list[tuple[bytes, Found]]
    more: int


class Scout:
    """Looks for urgent files; used once, by one thread. What it can't look at the walk will tell of."""

    def __init__(self, engine: Engine, trees: TreeReader, priorities: Priorities) -> None:
        self._engine, self._trees, self._priorities = engine, trees, priorities
        self._mounts = Mounts(one_file_system=engine.one_file_system)
        self._ranks: list[list[tuple[bytes, Found]]] = [[] for _ in range(len(priorities))]
        self._found = self._more = 0

    def search(self, root: Root, before: bytes, rules: Rules) -> Urgent:
        """Look through the wanted paths; `before`: the joined piece ids of the parent snapshot's root, or b"".

        Raises:
            InterruptedByUserError: the job was cancelled.

        """
        left: list[tuple[Node, Root | None, bytes]] = [
            (Node(b"/", Todo(0, examine_path(b"/"), None, root), None, rules), root, before)
        ]
        while left:
            self._engine.check_cancelled()
            left += self._look(*left.pop())[::-1]
        return Urgent([file for rank in self._ranks for file in rank], self._more)

    def _look(self, node: Node, root: Root | None, before: bytes) -> list[tuple[Node, Root | None, bytes]]:
        """Take the files of a folder; return the folders in it."""
        try:
            directory, found = look(node, root, _ignore, is_alike=_never)
        except OSError:
            return []
        directory.release()
        earlier = self._read_before(before)
        below = root.below if root else {}
        folders: list[tuple[Node, Root | None, bytes]] = []
        for item in found:
            entry = earlier.get(item.name)
            if item.kind is FoundKind.FILE:
                self._take(node, item, entry)
            elif item.kind is FoundKind.DIRECTORY:
                place = below.get(item.name)
                inside = Node(join_path(node.path, item.name), Todo(0, item, entry, place), node, node.rules)
                is_mount = place is None and self._mounts.why_left_out(inside.path, item, node.found)
                if inside.depth <= TREE_DEPTH and not is_mount:
                    folders.append((inside, place, entry.content if entry else b""))
        return folders

    def _take(self, node: Node, found: Found, entry: TreeEntry | None) -> None:
        if not found.size or (entry is not None and matches(found, entry)):
            return
        path = join_path(node.path, found.name)
        rank = self._priorities.rank(path)
        if rank is None:
            return
        if self._found >= PRIORITY_FILES:
            self._more += 1
            return
        self._found += 1
        self._ranks[rank].append((path, found))

    def _read_before(self, content: bytes) -> dict[bytes, TreeEntry]:
        try:
            return {entry.name: entry for entry in self._trees.entries(content)} if content else {}
        except BackupPeerError:
            return {}


def _never(_: Node, __: Root | None, ___: Sequence[Row]) -> bool:
    """Have every directory looked at whole."""
    return False


def _ignore(_: bytes, __: str) -> None:
    """Let the walk tell of it."""
