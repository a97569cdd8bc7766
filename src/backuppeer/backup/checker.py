"""`check`: that every tree opens and every blob is in a known pack; and which files it costs where that is not so.

Knows: trees, the index, tables of its own. Must not know: hosts, who read a pack. What was met and what is bad stands
in a temporary database (`scratch`), so that memory does not grow with files. Two passes: `add` reads each
piece once, whatever number of snapshots share it; `name_hits` walks again, only where there is something bad, and
passes over subtrees that it found whole before.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from backuppeer.backup.scratch import Scratch
from backuppeer.backup.trees import TreeReader, TreeWalk, Visit, split_ids
from backuppeer.errors import BackupPeerError, IntegrityFault, Unavailable
from backuppeer.ids import BlobId, LogicalId, SnapshotId
from backuppeer.repo.index import Index
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import EntryKind, TreeEntry, decode_content, decode_piece

_TAKEN_AT_ONCE: Final = 16384
_CHECK_STEPS: Final = 4096
_TABLES: Final = (
    "used (blob PRIMARY KEY)",
    "bad (blob PRIMARY KEY)",
    "whole (blob PRIMARY KEY)",
    "packs (logical PRIMARY KEY)",
)


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry of a snapshot that is not whole; `path` without leading slash, empty for all of it."""

    snapshot: SnapshotId
    path: bytes
    reason: str


@dataclass(slots=True)
class Found:
    """What the first pass met. `unread`: trees that lie with hosts that can't be reached; what they hold is unknown."""

    pieces: int = 0
    missing: int = 0
    wrong: int = 0
    unread: int = 0


class Checker:
    """Use it in a `with`, by one thread at a time. `check` is told how many pieces were read, and may raise."""

    def __init__(self, trees: TreeReader, index: Index, *, check: Callable[[int], None] = lambda _: None) -> None:
        self._trees, self._index, self._check = trees, index, check
        self._notes = Scratch("note what was checked", _TABLES)
        self._waiting: list[BlobId] = []
        self.found = Found()

    def __enter__(self) -> Self:
        self._notes.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._notes.__exit__()

    @property
    def has_bad(self) -> bool:
        """Whether anything was found bad so far."""
        return bool(self._notes.select("SELECT 1 FROM bad LIMIT 1"))

    def add(self, name: SnapshotId, snapshot: Snapshot) -> None:
        """Read the trees of a snapshot and look up every blob it consists of."""
        self._take([BlobId(name)])
        waiting = [snapshot.tree]
        while waiting:
            for piece in split_ids(waiting.pop()):
                if self._is_new(piece):
                    waiting += self._read(piece)

    def add_blobs(self, blobs: Iterable[BlobId]) -> None:
        """Look up blobs that are needed beside snapshots: the inventory's."""
        self._take(blobs)

    def finish(self) -> Found:
        """Look up what is left, and return what was met."""
        self._look_up()
        return self.found

    def needed_packs(self) -> Iterator[LogicalId]:
        """Yield the packs in which the blobs lie that were met, in order of their ids."""
        for page in self._notes.pages("SELECT logical FROM packs WHERE logical > ? ORDER BY logical LIMIT ?"):
            yield from map(LogicalId, page)

    def mark_bad(self, blobs: Iterable[BlobId]) -> None:
        """Note blobs of which no whole copy is left."""
        self._notes.change_many("INSERT OR IGNORE INTO bad VALUES (?)", [(blob,) for blob in blobs])

    def name_hits(self, snapshots: Sequence[tuple[SnapshotId, Snapshot]]) -> Iterator[Hit]:
        """Yield the files and folders of these snapshots that are not whole, snapshot by snapshot."""
        for name, snapshot in snapshots:
            if self._count_bad([BlobId(name)]):
                yield Hit(name, b"", "the snapshot itself is missing or wrong; its entries were read from this machine")
            yield from self._name_in(name, snapshot)

    def _name_in(self, name: SnapshotId, snapshot: Snapshot) -> Iterator[Hit]:
        unread: list[Hit] = []

        def leave_out(path: bytes, error: BackupPeerError) -> None:
            if isinstance(error, IntegrityFault):
                unread.append(Hit(name, path, f"can't be read: {error.message}"))

        walk = TreeWalk(self._trees, snapshot.tree, path=b"", on_error=leave_out)
        entered: list[int] = []
        hits = steps = 0
        for visit in walk:
            steps += 1
            if steps % _CHECK_STEPS == 0:
                self._check(self.found.pieces)
            if visit.leaving:
                hits += len(unread)
                yield from unread
                unread.clear()
                if entered.pop() == hits:
                    self._note_whole(visit.entry.content)
                continue
            if visit.entry.kind == EntryKind.DIRECTORY:
                if self._is_whole(visit.entry.content):
                    walk.skip()
                    continue
                entered.append(hits)
            reason = self._find_reason(visit)
            if reason:
                hits += 1
                yield Hit(name, visit.path, reason)
        yield from unread

    def _find_reason(self, visit: Visit) -> str:
        entry = visit.entry
        if entry.kind == EntryKind.DIRECTORY:
            # The folder may still open from this machine's cache: after a disaster it would not.
            bad = self._count_bad(split_ids(entry.content))
            return "its list of entries is with no host whole" if bad else ""
        if entry.kind != EntryKind.FILE:
            return ""
        try:
            bad = self._count_bad(self._trees.chunks_of(entry))
        except IntegrityFault as exc:
            return f"can't be read: {exc.message}"
        except Unavailable:
            return ""
        return f"{bad} of its pieces {'is' if bad == 1 else 'are'} with no host whole" if bad else ""

    def _read(self, piece: BlobId) -> list[bytes]:
        """Take a piece's files, and return the directories in it; one that is wrong is noted and left."""
        self.found.pieces += 1
        self._check(self.found.pieces)
        try:
            entries = decode_piece(self._trees.read_blob(piece))
        except IntegrityFault:
            self.found.wrong += 1
            self.mark_bad([piece])
            return []
        except Unavailable:
            self.found.unread += 1
            return []
        directories = [entry.content for entry in entries if entry.kind == EntryKind.DIRECTORY]
        self._trees.prefetch(directories)
        self._take([piece])
        for entry in entries:
            if entry.kind != EntryKind.DIRECTORY:
                self._take_file(entry)
        return directories

    def _take_file(self, entry: TreeEntry) -> None:
        blobs = split_ids(entry.content)
        self._take(blobs)
        for blob in blobs if entry.depth else ():
            if not self._is_new(blob):
                continue
            try:
                self._take(split_ids(decode_content(self._trees.read_blob(blob))))
            except IntegrityFault:
                self.found.wrong += 1
                self.mark_bad([blob])
            except Unavailable:
                self.found.unread += 1

    def _take(self, blobs: Iterable[BlobId]) -> None:
        self._waiting += blobs
        if len(self._waiting) >= _TAKEN_AT_ONCE:
            self._look_up()

    def _look_up(self) -> None:
        """Find out which of the blobs that wait lie in a pack, and in which."""
        wanted = set(self._waiting)
        self._waiting.clear()
        places = self._index.find_many(wanted)
        missing = wanted - places.keys()
        self.mark_bad(missing)
        self.found.missing += len(missing)
        packs = {place.pack for place in places.values()}
        self._notes.change_many("INSERT OR IGNORE INTO packs VALUES (?)", [(pack,) for pack in sorted(packs)])

    def _is_new(self, blob: BlobId) -> bool:
        return self._notes.change("INSERT OR IGNORE INTO used VALUES (?)", blob) > 0

    def _count_bad(self, blobs: Iterable[BlobId]) -> int:
        return sum(bool(self._notes.select("SELECT 1 FROM bad WHERE blob = ?", blob)) for blob in blobs)

    def _note_whole(self, content: bytes) -> None:
        self._notes.change("INSERT OR IGNORE INTO whole VALUES (?)", content)

    def _is_whole(self, content: bytes) -> bool:
        return bool(self._notes.select("SELECT 1 FROM whole WHERE blob = ?", content))
