"""A private temporary database: what a walk over all snapshots has met, so that memory does not grow with files.

Knows: SQLite. Must not know: what is noted in it. It goes to disk, into the system's temporary folder, once it outgrows
its cache; it has no name, and is gone when it is closed.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Final, Self

from backuppeer.db import explain_full
from backuppeer.errors import LocalError
from backuppeer.limits import INDEX_CACHE_KIB

_PAGE_ROWS: Final = 4096


class Scratch:
    """Use it in a `with`, by one thread at a time. Whatever is asked of it may raise LocalError: the disk is full."""

    def __init__(self, purpose: str, tables: Sequence[str]) -> None:
        """Make one with tables as CREATE TABLE wants them; `purpose`: "can't … in a temporary database"."""
        self._purpose, self._tables = purpose, tables

    def __enter__(self) -> Self:
        try:
            # "": of this connection alone.
            self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
            self._db.execute(f"PRAGMA cache_size=-{INDEX_CACHE_KIB}")
            self._db.execute("PRAGMA journal_mode=OFF")  # nothing of it is ever taken back, or survives
            for table in self._tables:
                self._db.execute(f"CREATE TABLE {table} WITHOUT ROWID")
            self._db.execute("BEGIN")
        except sqlite3.Error as exc:
            raise self._make_error(exc) from exc
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def select(self, query: str, *values: bytes | int) -> list[tuple[bytes, ...]]:
        """Return all rows."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as exc:
            raise self._make_error(exc) from exc

    def change(self, statement: str, *values: bytes) -> int:
        """Do it; return how many rows it changed."""
        try:
            return self._db.execute(statement, values).rowcount
        except sqlite3.Error as exc:
            raise self._make_error(exc) from exc

    def change_many(self, statement: str, rows: Iterable[Sequence[bytes]]) -> None:
        """Do it for each row."""
        try:
            self._db.executemany(statement, rows)
        except sqlite3.Error as exc:
            raise self._make_error(exc) from exc

    def pages(self, query: str) -> Iterator[list[bytes]]:
        """Yield what a query finds page by page; its parameters are the last value before, and the rows of a page."""
        last = b""
        while page := [row[0] for row in self.select(query, last, _PAGE_ROWS)]:
            yield page
            last = page[-1]

    def _make_error(self, exc: sqlite3.Error) -> LocalError:
        return explain_full(exc, "a temporary database in", Path(gettempdir())) or LocalError(
            f"can't {self._purpose} in a temporary database: {exc}", hint="is the disk of the temporary folder full?"
        )
