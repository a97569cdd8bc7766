"""Which copy of a pack lies under which agreement: logical id x agreement -> stored id; and when it was read last.

Knows: its own tables. Must not know: hosts' answers, packs' contents. Rebuildable (each pack's sealed directory names
its logical id), so commits are `synchronous=NORMAL`: a power cut may cost the last rows, never consistency. One
connection, one lock; thread-safe; iterators read page by page, so a million rows need no memory.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from backuppeer.db import find_fault, open_database, translating
from backuppeer.errors import DamagedStateError
from backuppeer.ids import AgreementId, LogicalId, StoredId
from backuppeer.limits import NEXT_FREE_SPAN_S
from backuppeer.shares.copies import PAGE_ROWS, Copy, check_copy, cut_pages

__all__ = ["Copy", "Ledger"]

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
    # until_ms: NULL, or of a doomed copy (no head names it): 0 until its host was told, then when it may be gone.
    """
    ALTER TABLE copies ADD COLUMN until_ms INTEGER;
    CREATE INDEX copies_doomed ON copies (number, logical) WHERE until_ms IS NOT NULL;
    """,
    # What was read and verified when (0 = never), which copies came back wrong, and which packs' rows of the index
    # were compared with their directory (`repo.tally`).
    """
    ALTER TABLE copies ADD COLUMN verified_ms INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX copies_by_verification ON copies (verified_ms, logical, number);
    CREATE TABLE spoiled (
        number INTEGER NOT NULL REFERENCES agreements (number),
        stored BLOB NOT NULL,
        found_ms INTEGER NOT NULL,
        PRIMARY KEY (number, stored)
    ) WITHOUT ROWID;
    CREATE TABLE compared (logical BLOB PRIMARY KEY, blobs INTEGER NOT NULL, mark INTEGER NOT NULL) WITHOUT ROWID;
    """,
)
_REGISTER: Final = """
    INSERT INTO copies (logical, number, stored, size, header) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (logical, number) DO UPDATE SET
        verified_ms = CASE WHEN stored = excluded.stored THEN verified_ms ELSE 0 END,
        stored = excluded.stored, size = excluded.size, header = excluded.header, until_ms = NULL
"""
_IS_SPOILED: Final = "EXISTS (SELECT 1 FROM spoiled s WHERE s.number = copies.number AND s.stored = copies.stored)"
_DROP_SUPERSEDED: Final = """
    DELETE FROM spoiled WHERE number = (SELECT number FROM agreements WHERE agreement = ?)
    AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.number = spoiled.number AND c.stored = spoiled.stored)
"""
_OLDEST: Final = """
    SELECT logical, number, agreement, stored, size, header, verified_ms FROM copies JOIN agreements USING (number)
    WHERE verified_ms < ? AND (verified_ms, logical, number) > (?, ?, ?)
    ORDER BY verified_ms, logical, number LIMIT ?
"""


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
        checked = [check_copy(copy) for copy in copies]
        with self._transaction() as connection:
            numbers = {name: _number_of(connection, name) for name in {copy.agreement for copy in checked}}
            connection.executemany(
                _REGISTER,
                ((c.logical, numbers[c.agreement], c.stored, c.size, c.header) for c in checked),
            )

    def copies_of(self, logical: LogicalId) -> list[Copy]:
        """Return all copies of a pack, in the order their agreements became known; doomed, then spoiled ones last."""
        sql = (
            f"SELECT agreement, stored, size, header, {_IS_SPOILED} OR until_ms IS NOT NULL FROM copies"  # noqa: S608 - a constant
            f" JOIN agreements USING (number) WHERE logical = ? ORDER BY {_IS_SPOILED}, until_ms IS NOT NULL, number"
        )
        rows = self._fetch(sql, (logical,))
        return [Copy(logical, AgreementId(a), StoredId(s), int(n), bytes(h), bool(last)) for a, s, n, h, last in rows]

    def whole_copies_of(self, logical: LogicalId) -> list[Copy]:
        """Return the copies of a pack that are not known to have come back wrong; else as `copies_of`."""
        return [copy for copy in self.copies_of(logical) if copy.stored not in self.spoiled_at(copy.agreement)]

    def copy_at(self, agreement: AgreementId, logical: LogicalId) -> Copy | None:
        """Return the copy of a pack under one agreement, or None."""
        return next((copy for copy in self.copies_of(logical) if copy.agreement == agreement), None)

    def missing_at(self, agreement: AgreementId, logicals: Iterable[LogicalId]) -> Iterator[LogicalId]:
        """Yield, in order, those of `logicals` that have no copy under the agreement. Reads both lazily."""
        for page in cut_pages(logicals):
            yield from self._missing_in(agreement, page)

    def lacking_at(self, agreement: AgreementId, logicals: Iterable[LogicalId]) -> Iterator[LogicalId]:
        """Yield, in order, those of `logicals` that have no copy there, or one that came back wrong; lazily."""
        for page in cut_pages(logicals):
            yield from self._missing_in(agreement, page, f" AND NOT {_IS_SPOILED}")

    def measure(self, logicals: Iterable[LogicalId]) -> int:
        """Return how many bytes one copy of each of these packs has; those that nobody holds whole count nothing."""
        total = 0
        for page in cut_pages(logicals):
            marks = ",".join("?" * len(page))
            whole = f"logical IN ({marks}) AND NOT {_IS_SPOILED}"
            sql = f"SELECT MAX(size) FROM copies WHERE {whole} GROUP BY logical"  # noqa: S608 - only question marks
            total += sum(int(row[0]) for row in self._fetch(sql, tuple(page)))
        return total

    def copies_at(self, agreement: AgreementId) -> Iterator[Copy]:
        """Yield the copies under an agreement that are not doomed, in order of their logical ids, page by page."""
        yield from self._pages_at(agreement, "until_ms IS NULL")

    def doomed_at(self, agreement: AgreementId, *, is_told: bool | None = None) -> Iterator[Copy]:
        """Yield the doomed copies under an agreement; only those of which its host was told, or was not."""
        which = {None: "until_ms IS NOT NULL", True: "until_ms > 0", False: "until_ms = 0"}[is_told]
        yield from self._pages_at(agreement, which)

    def _pages_at(self, agreement: AgreementId, which: str) -> Iterator[Copy]:
        sql = (
            "SELECT logical, stored, size, header FROM copies"  # noqa: S608 - the conditions above
            " WHERE number = (SELECT number FROM agreements WHERE agreement = ?) AND logical > ?"
            f" AND {which} ORDER BY logical LIMIT ?"
        )
        after = b""
        while rows := self._fetch(sql, (agreement, after, PAGE_ROWS)):
            for logical, stored, size, header in rows:
                yield Copy(LogicalId(logical), agreement, StoredId(stored), int(size), bytes(header))
            after = rows[-1][0]

    def next_erased(self, agreement: AgreementId, now_ms: int) -> tuple[int, int]:
        """Return how many bytes of doomed copies their host erases next, within a day, and when (ms); 0, 0: none."""
        of = "FROM copies JOIN agreements USING (number) WHERE agreement = ? AND until_ms > ?"
        sql = f"SELECT SUM(size), MAX(until_ms) {of} AND until_ms <= (SELECT MIN(until_ms) {of}) + ?"
        size_bytes, until_ms = self._fetch(sql, (agreement, now_ms, agreement, now_ms, NEXT_FREE_SPAN_S * 1000))[0]
        return int(size_bytes or 0), int(until_ms or 0)

    def sizes(self, logicals: Iterable[LogicalId]) -> dict[LogicalId, int]:
        """Return the length of one copy of each of these packs that has one."""
        found: dict[LogicalId, int] = {}
        rest = iter(logicals)
        while page := list(islice(rest, PAGE_ROWS)):
            marks = ",".join("?" * len(page))
            sql = f"SELECT logical, MAX(size) FROM copies WHERE logical IN ({marks}) GROUP BY logical"  # noqa: S608 - only question marks
            found |= {LogicalId(row[0]): int(row[1]) for row in self._fetch(sql, tuple(page))}
        return found

    def doom(self, logicals: Iterable[LogicalId]) -> None:
        """Note that no head names these packs any more: their hosts are to be told to delete them.

        Raises:
            LocalError: a disk that refuses.

        """
        sql = "UPDATE copies SET until_ms = 0 WHERE logical = ? AND until_ms IS NULL"
        with self._transaction() as connection:
            connection.executemany(sql, ((logical,) for logical in logicals))

    def settle(self, copies: Iterable[Copy], until_ms: int | None) -> None:
        """Note of copies that their host was told, and until when it keeps them; None: they are wanted after all.

        Raises:
            LocalError: a disk that refuses.

        """
        sql = (
            "UPDATE copies SET until_ms = ? WHERE logical = ? AND stored = ?"
            " AND number = (SELECT number FROM agreements WHERE agreement = ?)"
        )
        with self._transaction() as connection:
            connection.executemany(sql, ((until_ms, c.logical, c.stored, c.agreement) for c in copies))

    def forget_copies(self, copies: Iterable[Copy]) -> None:
        """Forget copies that are gone.

        Raises:
            LocalError: a disk that refuses.

        """
        with self._transaction() as connection:
            connection.executemany(
                "DELETE FROM copies WHERE logical = ? AND stored = ?", ((c.logical, c.stored) for c in copies)
            )

    def forget_erased(self, now_ms: int) -> None:
        """Forget the doomed copies that their hosts may have erased by now.

        Raises:
            LocalError: a disk that refuses.

        """
        with self._transaction() as connection:
            connection.execute("DELETE FROM copies WHERE until_ms > 0 AND until_ms <= ?", (now_ms,))

    def count(self, agreement: AgreementId | None = None) -> int:
        """Return the number of copies under an agreement, or of all."""
        if agreement is None:
            return int(self._fetch("SELECT COUNT(*) FROM copies", ())[0][0])
        sql = "SELECT COUNT(*) FROM copies WHERE number = (SELECT number FROM agreements WHERE agreement = ?)"
        return int(self._fetch(sql, (agreement,))[0][0])

    def held_bytes(self, agreement: AgreementId) -> int:
        """Return the bytes of all copies under an agreement."""
        sql = "SELECT SUM(size) FROM copies WHERE number = (SELECT number FROM agreements WHERE agreement = ?)"
        return int(self._fetch(sql, (agreement,))[0][0] or 0)

    def wanted_bytes(self, agreement: AgreementId) -> int:
        """Return the bytes of those copies under an agreement that are not doomed."""
        sql = "SELECT SUM(size) FROM copies JOIN agreements USING (number) WHERE agreement = ? AND until_ms IS NULL"
        return int(self._fetch(sql, (agreement,))[0][0] or 0)

    def forget_stored(self, agreement: AgreementId, stored: AbstractSet[StoredId]) -> int:
        """Forget those copies under an agreement that are among `stored`, but doomed ones; return how many those were.

        Raises:
            LocalError: a disk that refuses.

        """
        gone = [copy for copy in self.copies_at(agreement) if copy.stored in stored] if stored else []
        self.forget_copies(gone)
        if gone:
            # What replaced a spoiled copy may be among them; then the parts of that which are whole count again.
            with self._transaction() as connection:
                connection.execute(_DROP_SUPERSEDED, (agreement,))
        return len(gone)

    def drop_agreement(self, agreement: AgreementId) -> int:
        """Forget all copies under an agreement and return how many those were.

        Raises:
            LocalError: a disk that refuses.

        """
        number = "(SELECT number FROM agreements WHERE agreement = ?)"
        with self._transaction() as connection:
            connection.execute(f"DELETE FROM spoiled WHERE number = {number}", (agreement,))  # noqa: S608 - a constant
            dropped = connection.execute(f"DELETE FROM copies WHERE number = {number}", (agreement,)).rowcount  # noqa: S608 - a constant
            connection.execute("DELETE FROM agreements WHERE agreement = ?", (agreement,))
        return dropped

    # what was verified
    def note_verified(self, copy: Copy, now_ms: int) -> None:
        """Note that all of a copy was read and is what it should be; one that was spoiled is whole again."""
        with self._transaction() as connection:
            number = _number_of(connection, copy.agreement)
            row = (now_ms, copy.logical, number, copy.stored)
            connection.execute("UPDATE copies SET verified_ms = ? WHERE logical = ? AND number = ? AND stored = ?", row)
            connection.execute("DELETE FROM spoiled WHERE number = ? AND stored = ?", (number, copy.stored))

    def note_spoiled(self, copy: Copy, now_ms: int) -> None:
        """Note that a copy came back wrong. It stays known, as parts may be whole; `lacking_at` names its pack."""
        with self._transaction() as connection:
            row = (_number_of(connection, copy.agreement), copy.stored, now_ms)
            connection.execute("INSERT OR REPLACE INTO spoiled VALUES (?, ?, ?)", row)

    def spoiled_at(self, agreement: AgreementId) -> dict[StoredId, int]:
        """Return what came back wrong under an agreement, and when (ms); also what was replaced since."""
        sql = "SELECT stored, found_ms FROM spoiled JOIN agreements USING (number) WHERE agreement = ?"
        return {StoredId(bytes(stored)): int(found) for stored, found in self._fetch(sql, (agreement,))}

    def oldest_first(self, before_ms: int) -> Iterator[tuple[Copy, int]]:
        """Yield the copies not verified since `before_ms`, the least recent first, each with its time; page by page.

        Copies may be noted as verified, now or later than `before_ms`, meanwhile: none comes twice.
        """
        after = (-1, b"", 0)
        while rows := self._fetch(_OLDEST, (before_ms, *after, PAGE_ROWS)):
            for logical, _, agreement, stored, size, header, verified in rows:
                copy = Copy(LogicalId(logical), AgreementId(agreement), StoredId(stored), int(size), bytes(header))
                yield copy, int(verified)
            after = (int(rows[-1][6]), rows[-1][0], int(rows[-1][1]))

    def oldest_verification(self, agreement: AgreementId) -> tuple[int, int]:
        """Return how many copies were never verified under an agreement, and the oldest time (ms) of others, or 0.

        Doomed ones don't count: nobody will read them again.
        """
        sql = (
            "SELECT COUNT(*) FILTER (WHERE verified_ms = 0), MIN(verified_ms) FILTER (WHERE verified_ms > 0)"
            " FROM copies WHERE number = (SELECT number FROM agreements WHERE agreement = ?)"
            " AND until_ms IS NULL"
        )
        never, oldest = self._fetch(sql, (agreement,))[0]
        return int(never), int(oldest or 0)

    def compared(self) -> Iterator[tuple[LogicalId, int, int]]:
        """Yield the packs whose rows of the index agreed with their directory: id, number of rows, and their mark."""
        after = b""
        sql = "SELECT logical, blobs, mark FROM compared WHERE logical > ? ORDER BY logical LIMIT ?"
        while rows := self._fetch(sql, (after, PAGE_ROWS)):
            yield from ((LogicalId(logical), int(blobs), int(mark)) for logical, blobs, mark in rows)
            after = rows[-1][0]

    def note_compared(self, logical: LogicalId, blobs: int, mark: int) -> None:
        """Note that the rows of a pack agree with its directory as they are now."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO compared VALUES (?, ?, ?)", (logical, blobs, mark))

    def find_fault(self) -> str:
        """Return what is wrong with the file, "" for nothing; reads all of it."""
        try:
            with self._lock, self._translated():
                return find_fault(self._connection)
        except DamagedStateError as exc:
            return exc.message

    def _missing_in(self, agreement: AgreementId, page: list[LogicalId], only: str = "") -> Iterator[LogicalId]:
        filled = _fill(page)
        marks = ",".join("?" * len(filled))
        sql = (
            "SELECT logical FROM copies WHERE number = (SELECT number FROM agreements WHERE agreement = ?)"  # noqa: S608 - only question marks
            f" AND logical IN ({marks}){only}"
        )
        there = {row[0] for row in self._fetch(sql, (agreement, *filled))}
        return (logical for logical in page if logical not in there)

    def _fetch(self, sql: str, values: tuple[bytes | int, ...]) -> list[tuple[bytes, ...]]:
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated(), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def _translated(self) -> AbstractContextManager[None]:
        return translating("the ledger", self._path, mend="`backup-peer check --repair` builds it again")


def _fill(page: list[LogicalId]) -> list[LogicalId]:
    """Return a page filled up to a power of two: each length is a statement that SQLite compiles and keeps."""
    return page + page[:1] * ((1 << (len(page) - 1).bit_length()) - len(page))


def _number_of(connection: sqlite3.Connection, agreement: AgreementId) -> int:
    connection.execute("INSERT INTO agreements (agreement) VALUES (?) ON CONFLICT DO NOTHING", (agreement,))
    return int(connection.execute("SELECT number FROM agreements WHERE agreement = ?", (agreement,)).fetchone()[0])
