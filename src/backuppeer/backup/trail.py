"""What a walk has finished, on its way into the partial tree: so that a backup that breaks off leaves its work behind.

Knows: nodes, which entries are new, the order in which things may be written. Must not know: reading, packs.

Cost: a directory that is finished before the next writing leaves one entry with the one above, so that of a tree of
many folders hardly anything is written; of a huge folder each entry is, once. Nothing is written of what an earlier
snapshot says already, so a backup of unchanged files writes nothing at all.

Order: an entry of a directory names tree pieces, which must be in the tree cache before its rows go. `take` gives what
is finished so far, and the walk writes it (`write`) once all pieces made until then are in the cache.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from backuppeer.backup.nodes import Node
from backuppeer.errors import LocalError
from backuppeer.files.scan import join_path
from backuppeer.ids import BlobId
from backuppeer.limits import PARTIAL_BYTES, PARTIAL_FILES
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.partial import PartialTree, Row
from backuppeer.repo.tree import TreeEntry

Pieces = list[tuple[BlobId, bytes]]


@dataclass(slots=True)
class _Notes:
    rows: list[Row] = field(default_factory=list)
    stale: list[bytes] = field(default_factory=list)


class Trail:
    """The finished work of one walk; used by its thread alone. Without a partial tree (dry run) nothing is kept."""

    def __init__(self, partial: PartialTree | None, cache: TreeCache) -> None:
        self._partial, self._cache = partial, cache
        self._open: dict[Node, list[TreeEntry]] = {}
        self._notes = _Notes()
        self._taken: deque[_Notes] = deque()
        self._pieces: deque[Pieces] = deque()
        self._files = self._bytes = 0

    def add_file(self, node: Node, entry: TreeEntry) -> None:
        """Take a file that was read; `node` is the directory it lies in."""
        self._files += 1
        self._bytes += entry.size
        self._add(node, entry)

    def add_directory(self, node: Node, entry: TreeEntry) -> None:
        """Take a directory that is complete and not what it was before; what was noted in it is in its entry now."""
        self._open.pop(node, None)
        if node.is_noted and not node.is_way:
            self._notes.stale.append(node.path)
        if node.parent is not None and not node.is_way:
            self._add(node.parent, entry)

    def _add(self, node: Node, entry: TreeEntry) -> None:
        if self._partial is None:
            return
        if node.is_way:
            # A place that was asked for: those on the way to it belong to other backups, too.
            self._notes.rows.append(Row(node.path, (entry,), join_path(node.path, entry.name)))
        else:
            self._open.setdefault(node, []).append(entry)

    @property
    def is_due(self) -> bool:
        """Whether enough was read since the last time to be worth a writing."""
        return self._partial is not None and (self._files >= PARTIAL_FILES or self._bytes >= PARTIAL_BYTES)

    def take(self) -> None:
        """Set aside what is finished so far, for the next `write`."""
        notes, self._notes = self._notes, _Notes()
        for node, entries in self._open.items():
            notes.rows.append(Row(node.path, entries))
            node.is_noted = True
        self._open = {}
        self._files = self._bytes = 0
        self._taken.append(notes)

    def write(self) -> None:
        """Write what was taken first: called when all tree pieces made before are in the cache."""
        notes = self._taken.popleft()
        # A hint that can't be written costs the next run a second reading; this one it must not end.
        with suppress(LocalError):
            if self._partial is not None:
                self._partial.write(notes.rows, stale=notes.stale)

    def hold_pieces(self, pieces: Pieces) -> None:
        """Remember tree pieces that are on their way into packs and cache."""
        self._pieces.append(pieces)

    def release_pieces(self) -> None:
        """Forget those that were held first: they are in the cache."""
        self._pieces.popleft()

    def keep(self, waiting: Sequence[tuple[BlobId, bytes]]) -> None:
        """Write all there is, at the end of a walk in whatever way; `waiting`: pieces that nobody was handed."""
        if self._partial is None:
            return
        self.take()
        pieces = [piece for held in self._pieces for piece in held] + list(waiting)
        with suppress(LocalError):
            if pieces:
                self._cache.put_many(pieces)
            while self._taken:
                self.write()
