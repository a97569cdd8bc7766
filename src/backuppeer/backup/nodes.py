"""Directories in the making.

Knows: what a directory waits for. Must not know: threads, reading, how an entry is made.
"""

from collections.abc import Sequence

import msgspec

from backuppeer.backup.exclusion import Rules
from backuppeer.backup.reading import FileToRead
from backuppeer.backup.roots import Root
from backuppeer.files.scan import Directory, Found
from backuppeer.ids import BlobId
from backuppeer.limits import BATCH_BYTES, BATCH_DIRECTORIES, BATCH_FILES
from backuppeer.repo.tree import TreeEntry


class Todo(msgspec.Struct, gc=False):
    """A subdirectory still to be entered: its place in the node, what was found, what the parent snapshot had."""

    slot: int
    found: Found
    before: TreeEntry | None
    root: Root | None


class Node:
    """A directory in the making. Complete when `waiting` is 0: then `entries` without None is its content."""

    __slots__ = (
        "attributes",
        "before",
        "content",
        "depth",
        "entries",
        "found",
        "parent",
        "path",
        "rules",
        "slot",
        "todo",
        "waiting",
        "was",
    )

    def __init__(self, path: bytes, todo: Todo, parent: "Node | None", rules: Rules) -> None:
        self.path = path
        self.rules = rules
        """What is left out: until it is listed those of its parent, then its own."""
        self.found = todo.found
        self.attributes: dict[bytes, bytes] = {}
        self.slot = todo.slot
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.was = todo.before
        """The parent snapshot's entry of this directory."""
        self.before: tuple[TreeEntry, ...] | None = None
        """What that entry held, as long as it may be used again as it is."""
        self.entries: list[TreeEntry | None] = []
        self.todo: list[Todo] = []
        self.waiting = 1  # for the walk to leave it
        self.content = b""

    def is_unchanged(self, entries: Sequence[TreeEntry]) -> bool:
        """Say whether these are the very entries of the parent snapshot; objects are used again, so `is` decides."""
        before = self.before
        return before is not None and len(before) == len(entries) and all(map(_is_same, before, entries))


def _is_same(one: TreeEntry, other: TreeEntry) -> bool:
    return one is other


class Batch:
    """Small files read together; holds their directories open until it is collected."""

    __slots__ = ("directories", "files", "nodes", "places", "size_bytes")

    def __init__(self) -> None:
        self.files: list[FileToRead] = []
        self.places: list[tuple[Node, int]] = []
        self.nodes: list[Node] = []
        self.directories: list[Directory] = []
        self.size_bytes = 0

    def add(self, node: Node, slot: int, *, directory: Directory, found: Found) -> None:
        """Take a file; the node waits for the batch from now on."""
        if not self.nodes or self.nodes[-1] is not node or self.directories[-1] is not directory:
            directory.retain()
            node.waiting += 1
            self.nodes.append(node)
            self.directories.append(directory)
        self.files.append(FileToRead(len(self.directories) - 1, found.name, found.size))
        self.places.append((node, slot))
        self.size_bytes += found.size

    def is_full(self) -> bool:
        """Say whether a hand-over pays."""
        return (
            self.size_bytes >= BATCH_BYTES
            or len(self.files) >= BATCH_FILES
            or len(self.directories) >= BATCH_DIRECTORIES
        )


class KnownBatch:
    """Unchanged files and directories whose blobs must still be known to the index before they are used again."""

    __slots__ = ("files", "nodes", "whole")

    def __init__(self) -> None:
        self.files: list[tuple[Node, int, Found, TreeEntry]] = []
        self.whole: list[tuple[Node, bytes]] = []
        self.nodes: list[Node] = []

    def add(self, node: Node, slot: int, *, found: Found, entry: TreeEntry) -> None:
        """Take an unchanged file; the node waits for the batch from now on."""
        self._hold(node)
        self.files.append((node, slot, found, entry))

    def add_directory(self, node: Node, content: bytes) -> None:
        """Take the tree pieces a directory had."""
        self._hold(node)
        self.whole.append((node, content))

    def _hold(self, node: Node) -> None:
        if not self.nodes or self.nodes[-1] is not node:
            node.waiting += 1
            self.nodes.append(node)

    def __len__(self) -> int:
        return len(self.files) + len(self.whole)


class TreeBatch:
    """New tree pieces and content lists on their way into packs."""

    __slots__ = ("pieces",)

    def __init__(self) -> None:
        self.pieces: list[tuple[BlobId, bytes]] = []
