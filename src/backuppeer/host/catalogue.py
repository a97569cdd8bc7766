"""The store's list of what it holds: fast answers to "have you", "how much", "what comes after".

Knows: its tables. Must not know: files, signatures. Everything here can be rebuilt from the files (rebuild.py,
removals.py), so commits need no fsync of their own (`synchronous=NORMAL`): a power cut may cost rows, and opening the
store finds the files again. One connection, one lock; every call is short.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from backuppeer.db import open_database
from backuppeer.errors import DamagedStateError, LocalError
from backuppeer.host.disk import explain_database_failure, translate_failures
from backuppeer.ids import AgreementId, PeerId, StoredId

T = TypeVar("T")
_SCHEMA: Final = (
    """
    CREATE TABLE packs (
        agreement BLOB NOT NULL,
        stored BLOB NOT NULL,
        size INTEGER NOT NULL,
        PRIMARY KEY (agreement, stored)
    ) WITHOUT ROWID;
    CREATE TABLE agreements (
        agreement BLOB PRIMARY KEY,
        owner BLOB NOT NULL,
        revision INTEGER NOT NULL,
        signed BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
    # due_s: NULL, or at which age of the store a deleted pack may be erased. dropped: number of the head of the delete.
    """
    ALTER TABLE packs ADD COLUMN due_s INTEGER;
    ALTER TABLE packs ADD COLUMN dropped INTEGER;
    CREATE INDEX packs_due ON packs (due_s) WHERE due_s IS NOT NULL;
    CREATE TABLE ages (age_s INTEGER NOT NULL);
    INSERT INTO ages VALUES (0);
    CREATE TABLE removals (agreement BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    """,
    # upon: of a draft, number of the head that was held when it was stored, 0 for none; of all others NULL (ADR 31).
    """
    ALTER TABLE packs ADD COLUMN upon INTEGER;
    CREATE INDEX packs_upon ON packs (agreement) WHERE upon IS NOT NULL;
    """,
    # born_s: age of the store when it was stored, NULL: of an earlier version, or found by a rebuild. removal: number
    # of the request that deleted it. deletes: what was asked for (hold.py), as the files of removals.py say it too.
    """
    ALTER TABLE packs ADD COLUMN born_s INTEGER;
    ALTER TABLE packs ADD COLUMN removal INTEGER;
    CREATE INDEX packs_removal ON packs (agreement, removal) WHERE removal IS NOT NULL;
    CREATE TABLE deletes (
        agreement BLOB NOT NULL,
        number INTEGER NOT NULL,
        age_s INTEGER NOT NULL,
        held INTEGER NOT NULL,
        held_old INTEGER NOT NULL,
        took INTEGER NOT NULL,
        took_old INTEGER NOT NULL,
        lock_s INTEGER NOT NULL,
        is_doubled INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (agreement, number)
    ) WITHOUT ROWID;
    CREATE INDEX deletes_doubled ON deletes (agreement) WHERE is_doubled;
    """,
    # lost: what is gone or spoiled though it was acknowledged; number: of the report that says so, 0 as long as it is a
    # suspicion; age_s: the store's age then (losses.py). What was reported counts as used no more. audited: bytes read
    # for audits on `day`, counted from 1970 (budget.py). scrubs: how far the store has been read (scrub.py).
    """
    CREATE TABLE lost (
        agreement BLOB NOT NULL,
        stored BLOB NOT NULL,
        number INTEGER NOT NULL DEFAULT 0,
        time_ms INTEGER NOT NULL DEFAULT 0,
        age_s INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (agreement, stored)
    ) WITHOUT ROWID;
    CREATE INDEX lost_suspects ON lost (agreement) WHERE number = 0;
    CREATE INDEX lost_age ON lost (age_s) WHERE number > 0;
    CREATE TABLE reports (agreement BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE audited (agreement BLOB PRIMARY KEY, day INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE scrubs (
        day INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        began_ms INTEGER NOT NULL DEFAULT 0,
        agreement BLOB NOT NULL DEFAULT x'',
        stored BLOB NOT NULL DEFAULT x''
    );
    INSERT INTO scrubs DEFAULT VALUES;
    """,
    # What was done under an agreement since the store's age `since_s`, for caps by the day (daily.py).
    """
    CREATE TABLE daily (
        agreement BLOB NOT NULL,
        what TEXT NOT NULL,
        since_s INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (agreement, what)
    ) WITHOUT ROWID;
    """,
)
_LIST_PACKS: Final = """
    SELECT stored, size FROM packs p WHERE agreement = ? AND stored > ? AND due_s IS NULL
    AND NOT EXISTS (SELECT 1 FROM lost l WHERE l.agreement = p.agreement AND l.stored = p.stored)
    ORDER BY stored LIMIT ?
"""

_COUNT_PACKS: Final = """
    SELECT agreement, COUNT(*), SUM(size) FROM packs p WHERE NOT EXISTS (
        SELECT 1 FROM lost l WHERE l.agreement = p.agreement AND l.stored = p.stored AND l.number > 0
    ) GROUP BY agreement
"""


class PackRow(NamedTuple):
    """One stored copy: its id and its length in bytes."""

    stored: StoredId
    size: int


class Count(NamedTuple):
    """What an agreement holds."""

    packs: int
    size_bytes: int


class Catalogue:
    """The catalogue of the store at `root`; `close` when done."""

    def __init__(self, connection: sqlite3.Connection, root: Path) -> None:
        self._connection = connection
        self._root = root
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the database; nothing is lost without it."""
        with self._lock, translate_failures(self._root):
            self._connection.close()

    def run(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `act` returns, alone on the connection.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        with self._lock, translate_failures(self._root):
            return act(self._connection)

    def add_pack(self, agreement: AgreementId, stored: StoredId, size: int, *, upon: int | None = None) -> bool:
        """Add a pack and return True, or False when it is listed already. `upon`: of a draft, the head held before it.

        Whatever was wrong with it, it is whole now: True as well if it was lost, and so not counted.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        sql = (
            "INSERT INTO packs (agreement, stored, size, upon, born_s)"
            " VALUES (?, ?, ?, ?, (SELECT age_s FROM ages)) ON CONFLICT DO NOTHING"
        )
        healed = "DELETE FROM lost WHERE agreement = ? AND stored = ? RETURNING number"
        with self._lock, translate_failures(self._root):
            reports = self._connection.execute(healed, (agreement, stored)).fetchall()
            is_new = self._connection.execute(sql, (agreement, stored, size, upon)).rowcount == 1
        return is_new or any(number for (number,) in reports)

    def settle_drafts(
        self, agreement: AgreementId, *, held: int, following: int, drafts: Iterable[StoredId] = ()
    ) -> None:
        """Let the drafts of an agreement be packs as any other: head number `following` is about to be accepted.

        `drafts`: those that it does not name, as their owner says. They are drafts upon it then, but only what was one
        upon the head `held` (0: none): a pack that was settled once never is again.
        """
        settle_all = "UPDATE packs SET upon = NULL WHERE agreement = ? AND upon IS NOT NULL"
        look = "SELECT stored, upon FROM packs WHERE agreement = ? AND upon IS NOT NULL"
        settle = "UPDATE packs SET upon = ? WHERE agreement = ? AND stored = ?"
        unnamed = set(drafts)
        with self._lock, translate_failures(self._root), self._connection as connection:
            connection.execute("BEGIN")
            if not unnamed:
                connection.execute(settle_all, (agreement,))
                return
            # Only what changes is written: a head may be brought again and again.
            rows = connection.execute(look, (agreement,)).fetchall()
            meant = ((following if upon == held and stored in unnamed else None, stored, upon) for stored, upon in rows)
            connection.executemany(settle, [(new, agreement, stored) for new, stored, upon in meant if new != upon])

    def change_packs(self, agreement: AgreementId, *, add: Sequence[PackRow], drop: Iterable[StoredId]) -> None:
        """Add and drop many packs in one transaction."""
        with self._lock, translate_failures(self._root), self._connection as connection:
            connection.execute("BEGIN")
            connection.executemany(
                "DELETE FROM packs WHERE agreement = ? AND stored = ?", ((agreement, stored) for stored in drop)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO packs (agreement, stored, size) VALUES (?, ?, ?)",
                ((agreement, row.stored, row.size) for row in add),
            )

    def pack_size(self, agreement: AgreementId, stored: StoredId) -> int | None:
        """Return the length of a pack, or None when it is not listed."""
        sql = "SELECT size FROM packs WHERE agreement = ? AND stored = ?"
        with self._lock, translate_failures(self._root):
            row = self._connection.execute(sql, (agreement, stored)).fetchone()
        return None if row is None else int(row[0])

    def list_packs(self, agreement: AgreementId, after: bytes, limit: int) -> list[PackRow]:
        """Return up to `limit` packs, neither deleted nor lost, in order of their ids, from the first after `after`."""
        with self._lock, translate_failures(self._root):
            rows = self._connection.execute(_LIST_PACKS, (agreement, after, limit)).fetchall()
        return [PackRow(StoredId(stored), int(size)) for stored, size in rows]

    def list_alive(self, agreement: AgreementId, packs: Iterable[StoredId]) -> list[StoredId]:
        """Return those of these packs that are listed and not deleted."""
        sql = "SELECT 1 FROM packs WHERE agreement = ? AND stored = ? AND due_s IS NULL"
        return self.run(lambda db: [stored for stored in packs if db.execute(sql, (agreement, stored)).fetchone()])

    def suspect(self, agreement: AgreementId, packs: Iterable[StoredId], *, is_back: bool = False) -> None:
        """Note that packs may be lost; what is known to be lost stays so. They are listed no more until it is clear.

        `is_back`: files that are there; of those among them that were lost nobody knows any more whether they are.
        """
        sql = "INSERT INTO lost (agreement, stored) VALUES (?, ?) ON CONFLICT DO NOTHING"
        if is_back:
            sql = "UPDATE lost SET number = 0 WHERE agreement = ? AND stored = ?"
        with self._lock, translate_failures(self._root), self._connection as connection:
            connection.execute("BEGIN")
            connection.executemany(sql, ((agreement, stored) for stored in packs))

    def packs_of_prefix(self, agreement: AgreementId, prefix: int) -> dict[StoredId, int]:
        """Return the lengths of the packs whose id begins with the byte `prefix`."""
        low = bytes([prefix])
        high = bytes([prefix + 1]) if prefix < 0xFF else b"\xff" * 33
        sql = "SELECT stored, size FROM packs WHERE agreement = ? AND stored >= ? AND stored < ?"
        with self._lock, translate_failures(self._root):
            return {StoredId(s): int(n) for s, n in self._connection.execute(sql, (agreement, low, high))}

    def count_packs(self) -> dict[AgreementId, Count]:
        """Return what each agreement holds, deleted packs included: they take their room until they are erased.

        Lost ones are not: it is not their owner's fault that what is left of them takes room.
        """
        with self._lock, translate_failures(self._root):
            return {AgreementId(a): Count(int(n), int(size)) for a, n, size in self._connection.execute(_COUNT_PACKS)}

    def count_reported(self, agreement: AgreementId, packs: Iterable[StoredId]) -> Count:
        """Return how much of these packs is listed, but was reported as lost, and so is not counted as used."""
        return self.run(lambda db: count_reported(db, agreement, packs))

    def put_agreement(self, agreement: AgreementId, signed: bytes, *, owner: PeerId, revision: int) -> None:
        """Keep a second copy of the newest revision of an agreement."""
        sql = "INSERT OR REPLACE INTO agreements VALUES (?, ?, ?, ?)"
        with self._lock, translate_failures(self._root):
            self._connection.execute(sql, (agreement, owner, revision, signed))

    def signed_agreements(self) -> dict[AgreementId, bytes]:
        """Return the newest signed revision of each agreement, unverified."""
        with self._lock, translate_failures(self._root):
            rows = self._connection.execute("SELECT agreement, signed FROM agreements").fetchall()
        return {AgreementId(agreement): bytes(signed) for agreement, signed in rows}


def count_reported(db: sqlite3.Connection, agreement: AgreementId, packs: Iterable[StoredId]) -> Count:
    """Return what `Catalogue.count_reported` does, for whoever is alone on the connection already."""
    sql = (
        "SELECT p.size FROM packs p JOIN lost l ON l.agreement = p.agreement AND l.stored = p.stored"
        " WHERE p.agreement = ? AND p.stored = ? AND l.number > 0"
    )
    sizes = [int(row[0]) for stored in packs for row in db.execute(sql, (agreement, stored)).fetchall()]
    return Count(len(sizes), sum(sizes))


def open_catalogue(path: Path) -> tuple[Catalogue, bool]:
    """Open the catalogue; the flag says that it was missing or damaged and starts empty, to be filled from the files.

    A damaged one is kept as `catalogue.db.damaged`.

    Raises:
        StoreUnavailable: the disk refuses.
        DamagedStateError: a newer version of the program wrote it.

    """
    with translate_failures(path.parent):
        missing = not path.exists()
        if missing:
            _remove_log(path)
        try:
            return Catalogue(_open_checked(path), path.parent), missing
        except sqlite3.DatabaseError as exc:
            if not isinstance(explain_database_failure(exc, path.parent), DamagedStateError):
                raise
        # The rows are derived from the packs beside them; the damaged file stays for whoever wants to look at it.
        path.replace(path.with_name(f"{path.name}.damaged"))
        _remove_log(path)
        return Catalogue(_open_checked(path), path.parent), True


def _remove_log(path: Path) -> None:
    """Remove the write-ahead log of a catalogue that is gone: it must not meet the new one."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _open_checked(path: Path) -> sqlite3.Connection:
    """Open and look at every page.

    Raises:
        sqlite3.DatabaseError: damaged, or the disk refuses.
        DamagedStateError: a newer version of the program wrote it.

    """
    try:
        connection = open_database(path, _SCHEMA, synchronous="NORMAL")
    except LocalError as exc:
        # What SQLite said decides between damage (rebuild) and weather (retry); a newer version has no such cause.
        if isinstance(exc.__cause__, sqlite3.Error):
            raise exc.__cause__ from None
        raise
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()
        connection.execute("SELECT stored, size FROM packs LIMIT 1").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    if found != ("ok",):
        connection.close()
        damage = sqlite3.DatabaseError(f"quick_check: {found}")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage
    return connection
