"""A SQLite file that can be rebuilt: one lock, transactions, and what its failures mean.

Knows: how SQLite reports damage, a full disk, a closed file. Must not know: tables; index and cache each have theirs.
"""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from backuppeer.db import explain_full, find_fault, open_database
from backuppeer.errors import BackupPeerError, DamagedStateError, LocalError

T = TypeVar("T")
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
"""SQLITE_ERROR: our statements are right, so a table or column is not what it should be."""


REBUILD_HINT: Final = "`backup-peer check --repair` builds it again"


class LocalDatabase:
    """One file, several threads, one at a time. `what` names it in messages: "index"."""

    def __init__(self, path: Path, schema: Sequence[str], *, what: str, probe: str, cache_kib: int) -> None:
        """Open or create the file; `probe` is a query that fails when a table is missing.

        Raises:
            DamagedStateError: the file can't be read as what it should be, or is of a newer version.

        """
        self._path = path
        self._what = what
        self._lock = threading.Lock()
        # NORMAL: a power cut may lose the last commits, never consistency; the rooms above can do without them.
        self._db = open_database(path, schema, synchronous="NORMAL")
        try:
            self.run(lambda db: db.execute(f"PRAGMA cache_size=-{cache_kib}"))
            self.run(lambda db: db.execute(probe).fetchone())
        except BackupPeerError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def run(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `act` returns, alone on the connection.

        Raises:
            DamagedStateError: SQLite finds the file damaged.
            LocalError: the disk is full or fails, or the file was closed.

        """
        with self._lock:
            try:
                return act(self._db)
            except sqlite3.Error as exc:
                raise self._explain(exc) from exc

    def transact(self, act: Callable[[sqlite3.Connection], object]) -> None:
        """Run `act` in one transaction: all of it is seen, or nothing, also after a crash."""

        def whole(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            try:
                act(db)
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

        self.run(whole)

    def find_fault(self) -> str:
        """Return what SQLite finds wrong with the file, "" for nothing; reads all of it.

        Raises:
            LocalError: the disk fails, or the file was closed.

        """
        try:
            return self.run(find_fault)
        except DamagedStateError as exc:
            return exc.message

    def _explain(self, exc: sqlite3.Error) -> LocalError:
        # The low byte is the primary code; errors of the module itself (closed file) have none.
        if (getattr(exc, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE:
            return DamagedStateError(f"the {self._what} {self._path} is damaged: {exc}", hint=REBUILD_HINT)
        return explain_full(exc, f"the {self._what}", self._path) or LocalError(
            f"the {self._what} {self._path} can't be used: {exc}", hint="is its disk in order? (dmesg, SMART)"
        )
