"""What an unchanged file or directory consists of, and whether the index still knows all of it.

Knows: blobs of entries, the index. Must not know: nodes' places, what is done about a loss.
"""

from backuppeer.backup.nodes import KnownBatch
from backuppeer.backup.trees import TreeReader, split_ids
from backuppeer.errors import IntegrityFault
from backuppeer.ids import BlobId
from backuppeer.repo.index import Index
from backuppeer.repo.tree import TreeEntry


class KnownBlobs:
    """Looks blobs up; thread-safe."""

    def __init__(self, trees: TreeReader, index: Index) -> None:
        self._trees, self._index = trees, index

    def find_missing(self, known: KnownBatch) -> set[BlobId]:
        """Return the blobs of a batch that the index does not hold."""
        wanted: set[BlobId] = set()
        for _, _, _, entry in known.files:
            if entry.depth:
                wanted.update(split_ids(entry.content))
            wanted.update(self._chunks_of(entry))
        for _, content in known.whole:
            wanted.update(split_ids(content))
        return wanted - self._index.known(wanted)

    def needed(self, entry: TreeEntry) -> list[BlobId]:
        """Return all blobs that a file consists of."""
        return [*split_ids(entry.content), *self._chunks_of(entry)]

    def _chunks_of(self, entry: TreeEntry) -> list[BlobId]:
        try:
            return list(self._trees.chunks_of(entry))
        except IntegrityFault:
            return [BlobId(b"")]  # a content list the cache lost: an id nobody has, so the file is read again
