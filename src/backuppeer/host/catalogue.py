"""The store's list of what it holds: fast answers to "have you", "how much", "what comes after".

Knows: its two tables. Must not know: files. Everything here can be rebuilt from the files (rebuild.py), so commits
need no fsync of their own (`synchronous=NORMAL`): a power cut may cost rows, and opening the store finds the files
again. One connection, one lock; every call is short.
"""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from backuppeer.db import open_database
from backuppeer.errors import DamagedStateError, LocalError
from backuppeer.host.disk import explain_database_failure, translate_failures
from backuppeer.ids import AgreementId, PeerId, StoredId

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
)


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

    def add_pack(self, agreement: AgreementId, stored: StoredId, size: int) -> bool:
        """Add a pack and return True, or False when it is listed already.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        sql = "INSERT INTO packs VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        with self._lock, translate_failures(self._root):
            return self._connection.execute(sql, (agreement, stored, size)).rowcount == 1

    def change_packs(self, agreement: AgreementId, *, add: Sequence[PackRow], drop: Iterable[StoredId]) -> None:
        """Add and drop many packs in one transaction."""
        with self._lock, translate_failures(self._root), self._connection as connection:
            connection.execute("BEGIN")
            connection.executemany(
                "DELETE FROM packs WHERE agreement = ? AND stored = ?", ((agreement, stored) for stored in drop)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO packs VALUES (?, ?, ?)", ((agreement, row.stored, row.size) for row in add)
            )

    def pack_size(self, agreement: AgreementId, stored: StoredId) -> int | None:
        """Return the length of a pack, or None when it is not listed."""
        sql = "SELECT size FROM packs WHERE agreement = ? AND stored = ?"
        with self._lock, translate_failures(self._root):
            row = self._connection.execute(sql, (agreement, stored)).fetchone()
        return None if row is None else int(row[0])

    def list_packs(self, agreement: AgreementId, after: bytes, limit: int) -> list[PackRow]:
        """Return up to `limit` packs in order of their ids, beginning after the id `after` (b"" = from the start)."""
        sql = "SELECT stored, size FROM packs WHERE agreement = ? AND stored > ? ORDER BY stored LIMIT ?"
        with self._lock, translate_failures(self._root):
            rows = self._connection.execute(sql, (agreement, after, limit)).fetchall()
        return [PackRow(StoredId(stored), int(size)) for stored, size in rows]

    def packs_of_prefix(self, agreement: AgreementId, prefix: int) -> dict[StoredId, int]:
        """Return the lengths of the packs whose id begins with the byte `prefix`."""
        low = bytes([prefix])
        high = bytes([prefix + 1]) if prefix < 0xFF else b"\xff" * 33
        sql = "SELECT stored, size FROM packs WHERE agreement = ? AND stored >= ? AND stored < ?"
        with self._lock, translate_failures(self._root):
            return {StoredId(s): int(n) for s, n in self._connection.execute(sql, (agreement, low, high))}

    def count_packs(self) -> dict[AgreementId, Count]:
        """Return what each agreement holds."""
        sql = "SELECT agreement, COUNT(*), SUM(size) FROM packs GROUP BY agreement"
        with self._lock, translate_failures(self._root):
            return {AgreementId(a): Count(int(n), int(size)) for a, n, size in self._connection.execute(sql)}

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
