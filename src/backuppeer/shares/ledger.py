"""Which copy of a pack lies under which agreement: logical id x agreement -> stored id.

Knows: its own table. Must not know: hosts' answers, packs' contents. Rebuildable (each pack's sealed directory names
its logical id), so commits are `synchronous=NORMAL`: a power cut may cost the last rows, never consistency. One
connection, one lock; thread-safe; iterators read page by page, so a million rows need no memory.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from backuppeer.db import open_database
from backuppeer.errors import DamagedStateError, LocalError
from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.shares.copies import HEADER_BYTES, Copy

__all__ = ["Copy", "Ledger"]

_PAGE_ROWS: Final = 512
_ID_BYTES: Final = 16
_STORED_BYTES: Final = 32

_SCHEMA: Final = (
    """
    CREATE TABLE agreements (
        number INTEGER PRIMARY KEY,
        agreement BLOB NOT NULL UNIQUE
    );
    CREATE TABLE copies (
        logical BLOB NOT NULL,
        number INTEGER NOT NULL REFERENCES agreements (number),
        stored BLOB NOT NULL,
        size INTEGER NOT NULL,
        header BLOB NOT NULL,
        PRIMARY KEY (logical, number)
    ) WITHOUT ROWID;
    CREATE INDEX copies_by_agreement ON copies (number, logical);
    """,
)


class Ledger:
    """The ledger in the database at `path`; `close` when done."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            DamagedStateError: not a database of ours, or of a newer version; delete it to have it rebuilt.

        """
        self._path = path
        self._lock = threading.Lock()
        with self._translated():
            self._connection = open_database(path, _SCHEMA, synchronous="NORMAL")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    def register_copy(self, copy: Copy) -> None:
        """Note that a host holds this copy durably; replaces what was known of the same pack and agreement.

        Raises:
            LocalError: an id or header of a wrong length, or a disk that refuses.

        """
        self.register_copies([copy])

    def register_copies(self, copies: Iterable[Copy]) -> None:
        """Note many copies in one transaction: all or none.

        Raises:
            LocalError: an id or header of a wrong length, or a disk that refuses.

        """
        checked = [_check_copy(copy) for copy in copies]
        with self._transaction() as connection:
            numbers = {name: _number_of(connection, name) for name in {copy.agreement for copy in checked}}
            connection.executemany(
                "INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?)",
                ((c.logical, numbers[c.agreement], c.stored, c.size, c.header) for c in checked),
            )

    def copies_of(self, logical: LogicalId) -> list[Copy]:
        """Return all copies of a pack, in the order in which their agreements became known."""
        sql = (
            "SELECT agreement, stored, size, header FROM copies JOIN agreements USING (number)"
            " WHERE logical = ? ORDER BY number"
        )
        rows = self._fetch(sql, (logical,))
        return [Copy(logical, AgreementId(a), StoredId(s), int(n), bytes(h)) for a, s, n, h in rows]

    def copy_at(self, agreement: AgreementId, logical: LogicalId) -> Copy | None:
        """Return the copy of a pack under one agreement, or None."""
        return next((copy for copy in self.copies_of(logical) if copy.agreement == agreement), None)

    def missing_at(self, agreement: AgreementId, logicals: Iterable[LogicalId]) -> Iterator[LogicalId]:
        """Yield, in order, those of `logicals` that have no copy under the agreement. Reads both lazily."""
        page: list[LogicalId] = []
        for logical in logicals:
            page.append(logical)
            if len(page) == _PAGE_ROWS:
                yield from self._missing_in(agreement, page)
                page = []
        yield from self._missing_in(agreement, page)

    def measure(self, logicals: Iterable[LogicalId]) -> int:
        """Return how many bytes one copy of each of these packs has; those that nobody holds count nothing."""
        total, rest = 0, iter(logicals)
        while page := list(islice(rest, _PAGE_ROWS)):
            marks = ",".join("?" * len(page))
            sql = f"SELECT MAX(size) FROM copies WHERE logical IN ({marks}) GROUP BY logical"  # noqa: S608 - only question marks
            total += sum(int(row[0]) for row in self._fetch(sql, tuple(page)))
        return total

    def copies_at(self, agreement: AgreementId) -> Iterator[Copy]:
        """Yield all copies under an agreement in order of their logical ids, page by page."""
        sql = (
            "SELECT logical, stored, size, header FROM copies"
            " WHERE number = (SELECT number FROM agreements WHERE agreement = ?) AND logical > ?"
            " ORDER BY logical LIMIT ?"
        )
        after = b""
        while rows := self._fetch(sql, (agreement, after, _PAGE_ROWS)):
            for logical, stored, size, header in rows:
                yield Copy(LogicalId(logical), agreement, StoredId(stored), int(size), bytes(header))
            after = rows[-1][0]

    def count(self, agreement: AgreementId | None = None) -> int:
        """Return the number of copies under an agreement, or of all."""
        if agreement is None:
            return int(self._fetch("SELECT COUNT(*) FROM copies", ())[0][0])
        sql = "SELECT COUNT(*) FROM copies WHERE number = (SELECT number FROM agreements WHERE agreement = ?)"
        return int(self._fetch(sql, (agreement,))[0][0])

    def keep_only(self, agreement: AgreementId, stored: AbstractSet[StoredId]) -> int:
        """Forget the copies under an agreement that are not among `stored`; return how many those were.

        Raises:
            LocalError: a disk that refuses.

        """
        gone = [(copy.logical, copy.stored) for copy in self.copies_at(agreement) if copy.stored not in stored]
        with self._transaction() as connection:
            connection.executemany("DELETE FROM copies WHERE logical = ? AND stored = ?", gone)
        return len(gone)

    def forget_copies(self, copies: Iterable[Copy]) -> None:
        """Forget these copies; what a host lists later is registered again.

        Raises:
            LocalError: a disk that refuses.

        """
        gone = [(copy.logical, copy.stored) for copy in copies]
        with self._transaction() as connection:
            connection.executemany("DELETE FROM copies WHERE logical = ? AND stored = ?", gone)

    def drop_agreement(self, agreement: AgreementId) -> int:
        """Forget all copies under an agreement and return how many those were.

        Raises:
            LocalError: a disk that refuses.

        """
        number = "(SELECT number FROM agreements WHERE agreement = ?)"
        with self._transaction() as connection:
            dropped = connection.execute(f"DELETE FROM copies WHERE number = {number}", (agreement,)).rowcount  # noqa: S608 - a constant
            connection.execute("DELETE FROM agreements WHERE agreement = ?", (agreement,))
        return dropped

    def _missing_in(self, agreement: AgreementId, page: list[LogicalId]) -> Iterator[LogicalId]:
        marks = ",".join("?" * len(page))
        sql = (
            "SELECT logical FROM copies WHERE number = (SELECT number FROM agreements WHERE agreement = ?)"  # noqa: S608 - only question marks
            f" AND logical IN ({marks})"
        )
        there = {row[0] for row in self._fetch(sql, (agreement, *page))}
        return (logical for logical in page if logical not in there)

    def _fetch(self, sql: str, values: tuple[bytes | int, ...]) -> list[tuple[bytes, ...]]:
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated(), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise DamagedStateError(
                    f"the ledger {self._path} is damaged: {exc}", hint="delete it; it is rebuilt from the hosts' packs"
                ) from exc
            raise LocalError(f"can't use the ledger {self._path}: {exc}", hint="is the disk full?") from exc


def _number_of(connection: sqlite3.Connection, agreement: AgreementId) -> int:
    connection.execute("INSERT INTO agreements (agreement) VALUES (?) ON CONFLICT DO NOTHING", (agreement,))
    return int(connection.execute("SELECT number FROM agreements WHERE agreement = ?", (agreement,)).fetchone()[0])


def _check_copy(copy: Copy) -> Copy:
    lengths = (len(copy.logical), len(copy.agreement), len(copy.stored), len(copy.header))
    if lengths != (_ID_BYTES, _ID_BYTES, _STORED_BYTES, HEADER_BYTES) or copy.size < 1:
        raise LocalError(f"a copy with ids and header of {lengths} bytes and a pack of {copy.size}")
    return copy
