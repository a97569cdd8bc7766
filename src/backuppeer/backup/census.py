"""`stats` and `prune`: what snapshots hold together, each blob counted once.

Knows: trees, the index, a table of its own. Must not know: copies and hosts.

The blobs that were met stand in a temporary database (`scratch`): of a million files nothing stays in memory but a page
cache. Trees are read piece by piece, and a piece that was met before is not read again.
"""

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Self

from backuppeer.backup.scratch import Scratch
from backuppeer.backup.trees import TreeReader, split_ids
from backuppeer.ids import BlobId, LogicalId, SnapshotId
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.index import Index, Location
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import EntryKind, TreeEntry, decode_content, decode_piece

_TAKEN_AT_ONCE: Final = 16384


@dataclass(slots=True)
class Usage:
    """What blobs take, each once: `plain_bytes` as files, `sealed_bytes` in one copy, without the packs' padding.

    `data_bytes`: the plain bytes of files alone. `missing`: blobs in no known pack; they count nothing else.
    """

    blobs: int = 0
    data_blobs: int = 0
    plain_bytes: int = 0
    data_bytes: int = 0
    sealed_bytes: int = 0
    missing: int = 0
    packs: set[LogicalId] = field(default_factory=set)

    @property
    def compression_ratio(self) -> float:
        """How many times smaller than its plaintext a blob is on average; 1 for nothing."""
        return self.plain_bytes / self.sealed_bytes if self.sealed_bytes else 1.0

    def dedup_ratio(self, restored_bytes: int) -> float:
        """Return how many times what is restored is larger than what had to be kept for it; 1 for nothing."""
        return restored_bytes / self.data_bytes if self.data_bytes else 1.0


class Census:
    """Counts the blobs of snapshots; use it in a `with`, by one thread at a time."""

    def __init__(self, trees: TreeReader, index: Index, *, check: Callable[[int], None] = lambda _: None) -> None:
        """Take trees and index; `check` is told at each piece how many were read, and may end the work by raising."""
        self._trees, self._index, self._check = trees, index, check
        self._pieces = 0
        self._notes = Scratch("count blobs", ("used (blob PRIMARY KEY)",))
        self._waiting: list[BlobId] = []

    def __enter__(self) -> Self:
        self._notes.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._notes.__exit__()

    def add(self, snapshot_id: SnapshotId, snapshot: Snapshot) -> None:
        """Count what a snapshot consists of.

        Raises:
            IntegrityFault: a directory is missing or wrong.
            Unavailable: nobody who has it can be reached.
            LocalError: the disk is full.

        """
        self._take([BlobId(snapshot_id)])
        waiting = [snapshot.tree]
        while waiting:
            for piece in split_ids(waiting.pop()):
                if self._is_new(piece):
                    waiting += self._read(piece)

    def usage(self) -> Usage:
        """Return what all that was added takes.

        Raises:
            LocalError: the temporary database can't be read.

        """
        found = Usage()
        for page, places in self.places():
            found.blobs += len(places)
            found.missing += len(page) - len(places)
            for place in places.values():
                found.plain_bytes += place.plain_bytes
                found.sealed_bytes += place.sealed_bytes
                found.packs.add(place.pack)
                if place.kind is BlobKind.DATA:
                    found.data_blobs += 1
                    found.data_bytes += place.plain_bytes
        return found

    def places(self) -> Iterator[tuple[list[BlobId], dict[BlobId, Location]]]:
        """Yield the blobs met page by page, each page with where those of them lie that are known.

        Raises:
            LocalError: the temporary database can't be read.

        """
        self._write()
        for page in self._notes.pages("SELECT blob FROM used WHERE blob > ? ORDER BY blob LIMIT ?"):
            blobs = [BlobId(blob) for blob in page]
            yield blobs, self._index.find_many(blobs)

    def sort_by_pack(self, packs: AbstractSet[LogicalId]) -> None:
        """Note which of the blobs met lie in these packs now, for `places_in`.

        Raises:
            LocalError: the disk is full.

        """
        self._notes.change("CREATE TABLE placed (pack, blob, PRIMARY KEY (pack, blob)) WITHOUT ROWID")
        for _, places in self.places():
            rows = [(place.pack, blob) for blob, place in places.items() if place.pack in packs]
            self._notes.change_many("INSERT INTO placed VALUES (?, ?)", rows)

    def places_in(self, pack: LogicalId) -> list[Location]:
        """Return where the blobs lie that `sort_by_pack` found in a pack, and that are still found there."""
        rows = self._notes.select("SELECT blob FROM placed WHERE pack = ?", pack)
        places = self._index.find_many(BlobId(row[0]) for row in rows)
        return [place for place in places.values() if place.pack == pack]

    def _read(self, piece: BlobId) -> list[bytes]:
        """Take a piece's files, and return the directories in it."""
        self._pieces += 1
        self._check(self._pieces)
        entries = decode_piece(self._trees.read_blob(piece))
        directories = [entry.content for entry in entries if entry.kind == EntryKind.DIRECTORY]
        self._trees.prefetch(content for content in directories if not self._has(content))
        for entry in entries:
            if entry.kind != EntryKind.DIRECTORY:
                self._take_file(entry)
        return directories

    def _take_file(self, entry: TreeEntry) -> None:
        if not entry.depth:
            self._take(split_ids(entry.content))
            return
        for blob in split_ids(entry.content):
            if self._is_new(blob):
                self._take(split_ids(decode_content(self._trees.read_blob(blob))))

    def _take(self, blobs: Iterable[BlobId]) -> None:
        self._waiting += blobs
        if len(self._waiting) >= _TAKEN_AT_ONCE:
            self._write()

    def _write(self) -> None:
        # Sorted: neighbours in the table share pages, of which only some are in memory.
        rows = [(blob,) for blob in sorted(self._waiting)]
        self._waiting.clear()
        self._notes.change_many("INSERT OR IGNORE INTO used VALUES (?)", rows)

    def _is_new(self, blob: BlobId) -> bool:
        return self._notes.change("INSERT OR IGNORE INTO used VALUES (?)", blob) > 0

    def _has(self, content: bytes) -> bool:
        return all(self._notes.select("SELECT 1 FROM used WHERE blob = ?", blob) for blob in split_ids(content))
