"""Which snapshots can still be restored whole, by what the index knows: all trees walked once, however many share them.

Knows: trees, the index. Must not know: hosts, why something is gone. Pieces are told bad by their own files and
missing pieces below; who leads to a bad piece is bad, too, and so found from below, without walking a tree twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from backuppeer.backup.trees import TreeReader, split_ids
from backuppeer.errors import IntegrityFault
from backuppeer.ids import BlobId, SnapshotId
from backuppeer.repo.index import Index
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import EntryKind, TreeEntry, decode_content, decode_piece


def find_incomplete(
    trees: TreeReader, index: Index, snapshots: Iterable[tuple[SnapshotId, Snapshot]]
) -> set[SnapshotId]:
    """Return the snapshots of which a part is in no known pack.

    Raises:
        Unavailable: nobody who has a tree can be reached.

    """
    walk = _Walk(trees, index)
    roots = [(snapshot_id, split_ids(snapshot.tree)) for snapshot_id, snapshot in snapshots]
    walk.run(piece for _, pieces in roots for piece in pieces)
    bad = walk.find_bad()
    return {snapshot_id for snapshot_id, pieces in roots if not bad.isdisjoint(pieces)}


class _Walk:
    def __init__(self, trees: TreeReader, index: Index) -> None:
        self._trees, self._index = trees, index
        self._above: defaultdict[BlobId, list[BlobId]] = defaultdict(list)
        self._bad: set[BlobId] = set()

    def run(self, roots: Iterable[BlobId]) -> None:
        """Look at every piece below `roots`, once."""
        waiting = list(dict.fromkeys(roots))
        seen = set(waiting)
        while waiting:
            piece = waiting.pop()
            for below in self._look(piece):
                self._above[below].append(piece)
                if below not in seen:
                    seen.add(below)
                    waiting.append(below)

    def find_bad(self) -> set[BlobId]:
        """Return the pieces that are bad, or lead to one."""
        waiting = list(self._bad)
        while waiting:
            for piece in self._above[waiting.pop()]:
                if piece not in self._bad:
                    self._bad.add(piece)
                    waiting.append(piece)
        return self._bad

    def _look(self, piece: BlobId) -> list[BlobId]:
        """Return the pieces right below one, and note whether it is bad itself."""
        try:
            entries = decode_piece(self._trees.read_blob(piece))
            wanted = {blob for entry in entries if entry.kind != EntryKind.DIRECTORY for blob in self._blobs_of(entry)}
        except IntegrityFault:
            self._bad.add(piece)
            return []
        # The piece as well: in the cache alone it is of no use after a fire.
        if len(self._index.find_many([piece, *wanted])) <= len(wanted - {piece}):
            self._bad.add(piece)
        return [b for entry in entries if entry.kind == EntryKind.DIRECTORY for b in split_ids(entry.content)]

    def _blobs_of(self, entry: TreeEntry) -> Iterator[BlobId]:
        for blob in split_ids(entry.content):
            yield blob
            if entry.depth:
                yield from split_ids(decode_content(self._trees.read_blob(blob)))
