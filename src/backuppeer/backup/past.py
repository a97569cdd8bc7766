"""What is known of a directory from before: the parent snapshot, others that know a place better, runs that broke off.

Knows: which word is the newer one, which blobs it takes. Must not know: the file system. Entries are compared with what
is found and their blobs looked up by the walk, so nothing here has to be true to be safe.
"""

from collections import defaultdict
from collections.abc import Mapping
from posixpath import dirname

from backuppeer.backup.likeness import Look, read_look
from backuppeer.backup.nodes import KnownBatch
from backuppeer.backup.roots import split_path
from backuppeer.backup.trees import TreeReader, find_entry, split_ids
from backuppeer.errors import BackupPeerError, IntegrityFault
from backuppeer.ids import BlobId
from backuppeer.repo.index import Index, Trust
from backuppeer.repo.partial import PartialTree
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import ID_BYTES, TreeEntry


class Past:
    """Looked into directory by directory, by one thread but where said. Without a partial tree only snapshots are."""

    def __init__(
        self,
        trees: TreeReader,
        *,
        grafts: Mapping[bytes, Snapshot] | None = None,
        partial: PartialTree | None = None,
        trust: Trust | None = None,
    ) -> None:
        """Read the entries of `grafts`: snapshots by the path that they know better; what can't be read is left out."""
        self._trees, self._cache, self._trust = trees, trees.cache, trust
        self._partial = partial if partial is not None and not partial.is_empty() else None
        self._grafts: defaultdict[bytes, dict[bytes, TreeEntry]] = defaultdict(dict)
        for path, snapshot in (grafts or {}).items():
            entry = self._find(snapshot, path)
            if entry is not None:
                self._grafts[dirname(path)][entry.name] = entry

    def entries(self, content: bytes) -> tuple[TreeEntry, ...] | None:
        """Return what a directory of the parent snapshot held; None when the cache lost it."""
        try:
            return tuple(self._trees.entries(content))
        except BackupPeerError:
            return None

    @property
    def walk(self) -> bytes | None:
        """Return the name of this walk, for looks that it takes; None when none are to be taken."""
        return self._trust.walk if self._trust is not None else None

    def look(self, content: bytes) -> Look | None:
        """Return how a directory of the parent snapshot looked; None when no walk that can be believed has seen it."""
        if self._trust is None:
            return None
        encoded = self._cache.get_look(BlobId(content)) if len(content) == ID_BYTES else None
        if encoded is None:
            return None
        try:
            look = read_look(encoded)
        except IntegrityFault:
            return None  # the disk damaged it: the directory is read
        return look if look.walk in self._trust.walks else None

    def has_better(self, directory: bytes) -> bool:
        """Say whether `better` has anything of a directory."""
        if not self._grafts and self._partial is None:
            return False
        entries, is_noted = self.better(directory)
        return is_noted or bool(entries)

    def better(self, directory: bytes) -> tuple[dict[bytes, TreeEntry], bool]:
        """Return entries of a directory, by name, that are newer than what the parent snapshot says.

        And whether the partial tree has any of it.
        """
        grafts = self._grafts.get(directory, {})
        rows = self._partial.entries_in(directory) if self._partial is not None else {}
        return {**grafts, **rows} if rows else grafts, bool(rows)

    def find_missing(self, known: KnownBatch, index: Index) -> set[BlobId]:
        """Return the blobs of a batch that the index does not hold. May be called by any thread."""
        wanted: set[BlobId] = set()
        for _, _, _, entry in known.files:
            wanted.update(self.blobs_of(entry))
        for _, content in known.whole:
            wanted.update(split_ids(content))
        return wanted - index.known(wanted)

    def blobs_of(self, entry: TreeEntry) -> list[BlobId]:
        """Return all blobs of a file; one that nobody has where the cache lost a content list: it is read again then.

        May be called by any thread.
        """
        if not entry.depth:
            return split_ids(entry.content)
        try:
            return [*split_ids(entry.content), *self._trees.chunks_of(entry)]
        except IntegrityFault:
            return [BlobId(b"")]

    def _find(self, snapshot: Snapshot, path: bytes) -> TreeEntry | None:
        try:
            way = find_entry(self._trees, snapshot.tree, split_path(path))
        except BackupPeerError:
            return None
        return way[-1] if way else None
