"""The index: which blob lies where, on disk in SQLite, and nothing that packs don't say again.

Knows: its tables. Must not know: copies and hosts (shares.ledger), keys, plaintext of trees. It can be deleted at any
time: registering the directories of all packs in the order of the inventory, and the snapshots, builds it again.

Memory: SQLite's page cache only, whatever the number of chunks. Rows are keyed by the blob id itself (WITHOUT ROWID),
so one B-tree holds everything; a pack is a small number in each row. When a blob lies in several packs, the one
registered last is found: that is the one a repair or compaction wrote. One that no head names yet is found last of all.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from backuppeer.ids import BlobId, LogicalId, SnapshotId
from backuppeer.limits import ABSENCE_BLOBS, INDEX_BATCH, INDEX_CACHE_KIB
from backuppeer.repo.absence import Absence
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.database import LocalDatabase
from backuppeer.repo.layout import Entry
from backuppeer.repo.location import Location, Row, read_location
from backuppeer.repo.registration import Contents, record_dropped, record_found, record_stored
from backuppeer.repo.turnover import DROPPED, NEW_EPOCH, Turnover

__all__ = ["Counts", "Index", "Location", "Trust"]

_SCHEMA: Final = (
    """
    CREATE TABLE packs (number INTEGER PRIMARY KEY AUTOINCREMENT, logical BLOB NOT NULL UNIQUE);
    CREATE TABLE blobs (
        blob BLOB PRIMARY KEY, pack INTEGER NOT NULL, slot INTEGER NOT NULL, offset INTEGER NOT NULL,
        sealed INTEGER NOT NULL, plain INTEGER NOT NULL, kind INTEGER NOT NULL, codec INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX blobs_kind ON blobs (kind) WHERE kind > 1;
    CREATE TABLE snapshots (number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
    """,
    # state: of a pack, see turnover.py. spares: further places of blobs that lie in more than one pack.
    """
    ALTER TABLE packs ADD COLUMN state INTEGER NOT NULL DEFAULT 1;
    CREATE TABLE spares (
        blob BLOB NOT NULL, pack INTEGER NOT NULL, slot INTEGER NOT NULL, offset INTEGER NOT NULL,
        sealed INTEGER NOT NULL, plain INTEGER NOT NULL, kind INTEGER NOT NULL, codec INTEGER NOT NULL,
        PRIMARY KEY (blob, pack)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE epoch (value BLOB NOT NULL);
    INSERT INTO epoch VALUES (randomblob(16));
    CREATE TABLE walks (walk BLOB PRIMARY KEY, epoch BLOB NOT NULL) WITHOUT ROWID;
    """,
)
# One look into each table: joined, an empty one would have SQLite walk every pair of the others.
_PROBE: Final = (
    "SELECT (SELECT 1 FROM packs LIMIT 1), (SELECT 1 FROM blobs LIMIT 1), (SELECT 1 FROM snapshots LIMIT 1),"
    " (SELECT 1 FROM spares LIMIT 1), (SELECT 1 FROM epoch), (SELECT 1 FROM walks LIMIT 1)"
)
_COLUMNS: Final = "blob, logical, slot, offset, sealed, plain, kind, codec"
_FIND: Final = f"SELECT {_COLUMNS} FROM blobs JOIN packs ON number = pack WHERE blob = ?"  # noqa: S608 - constants
_HAS: Final = "SELECT 1 FROM blobs WHERE blob = ?"
_FIND_MANY: Final = (
    f"SELECT {_COLUMNS} FROM blobs JOIN packs ON number = pack "  # noqa: S608 - constants and question marks
    f"WHERE blob IN ({','.join('?' * INDEX_BATCH)})"
)
# Those in packs that a head named once, and dropped since, last: they may be erased by now.
_FIND_SPARES: Final = (
    f"SELECT {_COLUMNS} FROM spares JOIN packs ON number = pack "  # noqa: S608 - constants and question marks
    f"WHERE blob IN ({','.join('?' * INDEX_BATCH)}) ORDER BY blob, state > 1, number DESC"
)
_KNOWN, _KNOWN_SPARE = (
    f"SELECT blob, pack FROM {table} WHERE blob IN ({','.join('?' * INDEX_BATCH)})"  # noqa: S608 - question marks
    " AND pack NOT IN (SELECT number FROM temp.concealed) AND pack NOT IN (SELECT number FROM temp.absent)"
    # A row whose pack is not known lies nowhere: taken for known, what it names would never be sent.
    " AND pack IN (SELECT number FROM packs)"
    for table in ("blobs", "spares")
)
_CONCEALED: Final = "CREATE TEMP TABLE IF NOT EXISTS concealed (number INTEGER PRIMARY KEY)"


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the index knows."""

    packs: int
    blobs: int
    snapshots: int


@dataclass(frozen=True, slots=True)
class Trust:
    """`walks`: those whose every blob was durable, and none was forgotten since; `walk`: the name of a new one.

    `epoch`: changes whenever a blob that was known may be so no more.
    """

    epoch: bytes
    walks: frozenset[bytes]
    walk: bytes


class Index:
    """The local index of one repository; may be used from several threads, one lock serialises them."""

    def __init__(self, path: Path) -> None:
        """Open or create the index at `path`.

        Raises:
            DamagedStateError: the file can't be read as an index, or is of a newer version.

        """
        self._db = LocalDatabase(path, _SCHEMA, what="index", probe=_PROBE, cache_kib=INDEX_CACHE_KIB)
        self._db.run(lambda db: db.execute(_CONCEALED))
        self.turnover = Turnover(self._db)
        self._absence: Absence | None = None
        self._is_large = False

    def close(self) -> None:
        """Close the file; the index can't be used afterwards."""
        self._db.close()

    def find(self, blob: BlobId) -> Location | None:
        """Return where a blob lies, None when it isn't known."""
        row = self._db.run(lambda db: db.execute(_FIND, (blob,)).fetchone())
        return None if row is None else read_location(row)

    def has(self, blob: BlobId) -> bool:
        """Say whether a blob is known."""
        return self._db.run(lambda db: db.execute(_HAS, (blob,)).fetchone()) is not None

    def find_many(self, blobs: Iterable[BlobId]) -> dict[BlobId, Location]:
        """Return where those of the blobs lie that are known."""
        return {BlobId(row[0]): read_location(row) for row in self._look_up(_FIND_MANY, blobs)}

    def find_spares(self, blobs: Iterable[BlobId]) -> dict[BlobId, list[Location]]:
        """Return where else blobs lie than `find_many` says, likeliest place first; if nowhere, left out."""
        found: dict[BlobId, list[Location]] = {}
        for row in self._look_up(_FIND_SPARES, blobs):
            found.setdefault(BlobId(row[0]), []).append(read_location(row))
        return found

    def known(self, blobs: Iterable[BlobId]) -> set[BlobId]:
        """Return those of the blobs that a writer may rely on: known, not concealed, in no pack that goes.

        Within `turnover.relying` their packs can't be taken away from now on.
        """
        found: set[BlobId] = set()

        def act(db: sqlite3.Connection, batch: Sequence[BlobId]) -> None:
            places = {BlobId(row[0]): row[1] for row in db.execute(_KNOWN, batch)}
            if not places.keys() >= set(batch):
                # Concealed or gone there, but work that broke off may have sent it since.
                places = {BlobId(row[0]): row[1] for row in db.execute(_KNOWN_SPARE, batch)} | places
            self.turnover.rely(places.values())
            found.update(places)

        for batch in _cut_batches(self._leave_out_absent(blobs)):
            self._db.run(partial(act, batch=batch))
        return found

    def _leave_out_absent(self, blobs: Iterable[BlobId]) -> Iterable[BlobId]:
        if self._absence is None and not self._is_large:
            self._db.run(self._learn_absence)
        return self._absence.keep_possible(blobs) if self._absence is not None else blobs

    def _learn_absence(self, db: sqlite3.Connection) -> None:
        query = "SELECT count(*) FROM (SELECT 1 FROM blobs LIMIT ?)"
        self._is_large = db.execute(query, (ABSENCE_BLOBS + 1,)).fetchone()[0] > ABSENCE_BLOBS
        if not self._is_large:
            absence = Absence()
            absence.add(BlobId(row[0]) for row in db.execute("SELECT blob FROM blobs"))
            self._absence = absence  # only now: others look at it without the lock

    def conceal(self, packs: Iterable[LogicalId]) -> None:
        """Let `known` pass over these packs from now on, instead of those concealed before; nothing is forgotten.

        For packs that the hosts of a backup do not all hold: their blobs are sent anew, from the files.
        """
        wanted = [(pack,) for pack in packs]

        def act(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM temp.concealed")
            db.executemany("INSERT OR IGNORE INTO concealed SELECT number FROM packs WHERE logical = ?", wanted)

        self._db.transact(act)

    def register(self, logical: LogicalId, entries: Sequence[Entry]) -> None:
        """Record a pack that was stored now, and its blobs; one already known is recorded again, at its old place."""

        def act(db: sqlite3.Connection) -> None:
            self._note_present(entries)
            self.turnover.rely([record_stored(db, logical, entries)])

        self._db.transact(act)

    def register_found(self, contents: Sequence[Contents]) -> None:
        """Record packs that were met at a host, as `register`, in one transaction; those that were dropped stay so."""

        def act(db: sqlite3.Connection) -> None:
            for _, entries in contents:
                self._note_present(entries)
            record_found(db, contents)

        if contents:
            self._db.transact(act)

    def register_dropped(self, logical: LogicalId, entries: Sequence[Entry]) -> None:
        """Record a pack that no head names, for readers alone; one that is known, and not dropped, stays as it is."""

        def act(db: sqlite3.Connection) -> None:
            if record_dropped(db, logical, entries):
                self._note_present(entries)

        self._db.transact(act)

    def _note_present(self, entries: Iterable[Entry]) -> None:
        if self._absence is not None:
            self._absence.add(entry.blob for entry in entries)

    def dropped_packs(self) -> set[LogicalId]:
        """Return the dropped packs of which a blob is still found (walks the table once)."""
        query = "SELECT DISTINCT logical FROM packs JOIN blobs ON pack = number WHERE state = ?"
        return {LogicalId(row[0]) for row in self._fetch(query, (DROPPED,))}

    def packs(self) -> Iterator[LogicalId]:
        """Yield the logical ids of all packs that are not dropped, in the order they were first registered."""
        last = 0
        query = "SELECT number, logical FROM packs WHERE number > ? AND state < ? ORDER BY number LIMIT 4096"
        while rows := self._fetch(query, [last, DROPPED]):
            yield from (LogicalId(row[1]) for row in rows)
            last = rows[-1][0]

    def has_pack(self, logical: LogicalId) -> bool:
        """Say whether a pack is known, and not dropped."""
        query = "SELECT 1 FROM packs WHERE logical = ? AND state < ?"
        return self._db.run(lambda db: db.execute(query, (logical, DROPPED)).fetchone()) is not None

    def has_read(self, logical: LogicalId) -> bool:
        """Say whether a pack was registered, be it dropped since: what a resync need not open again."""
        query = "SELECT 1 FROM packs WHERE logical = ?"
        return self._db.run(lambda db: db.execute(query, (logical,)).fetchone()) is not None

    def weigh_packs(self) -> Iterator[tuple[LogicalId, int]]:
        """Yield each pack that is not dropped with the sealed bytes of all its blobs (walks the table once)."""
        query = (
            "SELECT logical, COALESCE(bytes, 0) FROM packs LEFT JOIN (SELECT pack, SUM(sealed) AS bytes FROM"
            " (SELECT pack, sealed FROM blobs UNION ALL SELECT pack, sealed FROM spares) GROUP BY pack)"
            " ON pack = number WHERE state < 2 ORDER BY number"
        )
        yield from ((LogicalId(row[0]), int(row[1])) for row in self._fetch(query, ()))

    def blobs_of(self, kind: BlobKind) -> list[BlobId]:
        """Return the ids of all blobs of a kind (for DATA this is the whole table: ask for the rare kinds)."""
        # `kind > 1` is what lets SQLite use the partial index; it says nothing more.
        rare = " AND kind > 1" if kind != BlobKind.DATA else ""
        query = f"SELECT blob FROM blobs WHERE kind = ?{rare}"  # noqa: S608 - constants
        return [BlobId(row[0]) for row in self._db.run(lambda db: db.execute(query, (int(kind),)).fetchall())]

    def blobs_concealed(self, kind: BlobKind) -> Iterator[BlobId]:
        """Yield the blobs of a kind (not DATA) that lie in concealed packs; packs may be registered meanwhile."""
        query = (
            "SELECT blob FROM blobs WHERE kind > 1 AND kind = ? AND blob > ?"
            " AND pack IN (SELECT number FROM temp.concealed) ORDER BY blob LIMIT 4096"
        )
        last = b""
        while rows := self._fetch(query, (int(kind), last)):
            yield from (BlobId(row[0]) for row in rows)
            last = rows[-1][0]

    def begin_walk(self) -> Trust | None:
        """Return which walks of earlier backups can be believed, and a name for a new one; None if packs are concealed.

        Within `turnover.relying`, whoever asked relies on every pack from now on.
        """

        def act(db: sqlite3.Connection) -> Trust | None:
            if db.execute("SELECT 1 FROM temp.concealed LIMIT 1").fetchone():
                return None
            self.turnover.rely_on_all()
            epoch = bytes(db.execute("SELECT value FROM epoch").fetchone()[0])
            rows = db.execute("SELECT walk FROM walks WHERE epoch = ?", (epoch,)).fetchall()
            # Random, from the system: looks of a walk that broke off name one that is never in the table.
            return Trust(epoch, frozenset(bytes(row[0]) for row in rows), secrets.token_bytes(16))

        return self._db.run(act)

    def end_walk(self, trust: Trust) -> None:
        """Note that all blobs of a walk are known here, so durable; not if any was forgotten since it began."""

        def act(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM walks WHERE epoch NOT IN (SELECT value FROM epoch)")
            db.execute("INSERT INTO walks SELECT ?, value FROM epoch WHERE value = ?", (trust.walk, trust.epoch))

        self._db.transact(act)

    def add_snapshot(self, snapshot: SnapshotId, body: bytes) -> None:
        """Record a snapshot's encoded bytes under its id; again is no change."""
        query = "INSERT OR IGNORE INTO snapshots (id, body) VALUES (?, ?)"
        self._db.transact(lambda db: db.execute(query, (snapshot, body)))

    def set_snapshots(self, rows: Iterable[tuple[SnapshotId, bytes]]) -> None:
        """Record just these snapshots, in this order; an empty body: its name is known, its bytes can't be had."""
        wanted = list(rows)

        def act(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM snapshots")
            db.executemany("INSERT INTO snapshots (id, body) VALUES (?, ?)", wanted)

        self._db.transact(act)

    def remove_snapshot(self, snapshot: SnapshotId) -> None:
        """Forget a snapshot; one that isn't known is no error."""
        self._db.transact(lambda db: db.execute("DELETE FROM snapshots WHERE id = ?", (snapshot,)))

    def snapshots(self) -> list[tuple[SnapshotId, bytes]]:
        """Return the snapshots (id, encoded bytes) in the order they were added, those known by name only left out."""
        return [(snapshot, body) for snapshot, body in self._snapshot_rows() if body]

    def snapshot_names(self) -> dict[SnapshotId, bool]:
        """Return all snapshots in the order they were added, and of each whether its bytes are here."""
        return {snapshot: bool(body) for snapshot, body in self._snapshot_rows()}

    def _snapshot_rows(self) -> list[tuple[SnapshotId, bytes]]:
        rows = self._db.run(lambda db: db.execute("SELECT id, body FROM snapshots ORDER BY number").fetchall())
        return [(SnapshotId(row[0]), row[1]) for row in rows]

    def counts(self) -> Counts:
        """Return how many packs, blobs and snapshots are known (walks the table once)."""
        query = (
            "SELECT (SELECT count(*) FROM packs WHERE state < 2), (SELECT count(*) FROM blobs),"
            " (SELECT count(*) FROM snapshots)"
        )
        return Counts(*self._db.run(lambda db: db.execute(query).fetchone()))

    def find_fault(self) -> str:
        """Return what is wrong with the file itself, "" for nothing; reads all of it.

        Raises:
            LocalError: the disk fails.

        """
        fault = self._db.find_fault()
        if fault:
            return fault
        stray = self._fetch("SELECT count(*) FROM blobs WHERE pack NOT IN (SELECT number FROM packs)", ())[0][0]
        return f"{stray} rows name a pack that it does not know" if stray else ""

    def locations(self) -> Iterator[Location]:
        """Yield where every blob lies, in order of their ids, page by page; rows without a pack are left out."""
        last = b""
        query = f"SELECT {_COLUMNS} FROM blobs JOIN packs ON number = pack WHERE blob > ? ORDER BY blob LIMIT 4096"  # noqa: S608 - constants
        while rows := self._fetch(query, (last,)):
            yield from (read_location(row) for row in rows)
            last = rows[-1][0]

    def locations_in(self, pack: LogicalId) -> list[Location]:
        """Return the blobs last found in a pack, by reading the whole table: for packs that can't say it themselves."""
        query = f"SELECT {_COLUMNS} FROM blobs JOIN packs ON number = pack WHERE logical = ?"  # noqa: S608 - constants
        return [read_location(row) for row in self._fetch(query, (pack,))]

    def clear(self) -> None:
        """Forget everything, to be rebuilt from directories."""

        def act(db: sqlite3.Connection) -> None:
            for table in ("blobs", "packs", "snapshots", "spares", "temp.absent"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - the names above
            db.execute(NEW_EPOCH)

        self._db.transact(act)

    def _look_up(self, query: str, blobs: Iterable[BlobId]) -> list[Row]:
        return [row for batch in _cut_batches(blobs) for row in self._fetch(query, batch)]

    def _fetch(self, query: str, values: Sequence[object]) -> list[Any]:
        return self._db.run(lambda db: db.execute(query, values).fetchall())


def _cut_batches(blobs: Iterable[BlobId]) -> Iterator[list[BlobId]]:
    """Yield the ids in order, INDEX_BATCH at a time; the last batch is filled up with its last id."""
    wanted = sorted(set(blobs))
    for start in range(0, len(wanted), INDEX_BATCH):
        batch = wanted[start : start + INDEX_BATCH]
        yield batch + [batch[-1]] * (INDEX_BATCH - len(batch))
