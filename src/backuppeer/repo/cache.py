"""The tree cache: plaintext of trees, snapshots and inventories, so that a scan needs no host (DESIGN 4).

Knows: its table and its cap. Must not know: what the bytes say. It holds names, so it lies in the home, whose mode
is 0700. It can be deleted at any time; what is missing is fetched again. Plaintext is checked by whoever put it in;
`get` trusts the disk as far as the rest of the home.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from backuppeer.ids import BlobId
from backuppeer.limits import TREE_CACHE_KIB, TREE_CACHE_TOUCHES
from backuppeer.repo.database import LocalDatabase

_SCHEMA: Final = (
    """
    CREATE TABLE bodies (blob BLOB PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE uses (blob BLOB PRIMARY KEY, stamp INTEGER NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX uses_stamp ON uses (stamp);
    CREATE TABLE total (bytes INTEGER NOT NULL, stamp INTEGER NOT NULL);
    INSERT INTO total VALUES (0, 0);
    """,
    "CREATE TABLE looks (blob BLOB PRIMARY KEY, look BLOB NOT NULL) WITHOUT ROWID;",
)
_EVICT_BATCH: Final = 256
_PAGE_ROWS: Final = 64
"""Bodies read at once: each is up to 4 MiB, most are 100 KiB."""


class TreeCache:
    """Blob plaintext by id, at most `cap_bytes` of it; the least recently used goes first. Thread-safe by a lock."""

    def __init__(self, path: Path, cap_bytes: int) -> None:
        """Open or create the cache at `path`.

        Raises:
            DamagedStateError: the file can't be read as a cache, or is of a newer version.

        """
        self._cap_bytes = cap_bytes
        self._touched: dict[BlobId, None] = {}
        probe = "SELECT 1 FROM bodies, uses, total LIMIT 1"
        self._db = LocalDatabase(path, _SCHEMA, what="tree cache", probe=probe, cache_kib=TREE_CACHE_KIB)

    def close(self) -> None:
        """Close the file; the cache can't be used afterwards."""
        self._db.close()

    def get(self, blob: BlobId) -> bytes | None:
        """Return a blob's plaintext, None when it isn't kept."""

        def act(db: sqlite3.Connection) -> bytes | None:
            row = db.execute("SELECT body FROM bodies WHERE blob = ?", (blob,)).fetchone()
            if row is None:
                return None
            # Written down at the next put only: a read must not cost a write.
            if len(self._touched) < TREE_CACHE_TOUCHES:
                self._touched[blob] = None
            body: bytes = row[0]
            return body

        return self._db.run(act)

    def get_look(self, blob: BlobId) -> bytes | None:
        """Return what was kept beside a blob that is kept, None when there is nothing."""
        query = "SELECT look FROM looks WHERE blob = ? AND EXISTS (SELECT 1 FROM bodies WHERE bodies.blob = looks.blob)"
        row = self._db.run(lambda db: db.execute(query, (blob,)).fetchone())
        return None if row is None else bytes(row[0])

    def put_many(self, items: Iterable[tuple[BlobId, bytes]], looks: Sequence[tuple[BlobId, bytes]] = ()) -> None:
        """Keep blobs in one transaction, then let the least recently used go until the rest fits the cap.

        `looks`: bytes that are kept beside a blob as long as it is; they don't count.
        """
        kept = list(items)

        def act(db: sqlite3.Connection) -> None:
            total, stamp = db.execute("SELECT bytes, stamp FROM total").fetchone()
            stamp += 1
            db.executemany("UPDATE uses SET stamp = ? WHERE blob = ?", [(stamp, blob) for blob in self._touched])
            for blob, body in kept:
                if db.execute("INSERT OR IGNORE INTO bodies VALUES (?, ?)", (blob, body)).rowcount:
                    db.execute("INSERT OR REPLACE INTO uses VALUES (?, ?, ?)", (blob, stamp + 1, len(body)))
                    total += len(body)
            db.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?)", looks)
            total = self._evict(db, total)
            db.execute("UPDATE total SET bytes = ?, stamp = ?", (total, stamp + 1))

        self._db.transact(act)
        self._touched.clear()

    def _evict(self, db: sqlite3.Connection, total: int) -> int:
        """Delete the oldest until `total` bytes fit; cached copies only, what they copy lies in packs."""
        while total > self._cap_bytes:
            rows = db.execute("SELECT blob, size FROM uses ORDER BY stamp LIMIT ?", (_EVICT_BATCH,)).fetchall()
            if not rows:
                return 0
            for blob, size in rows:
                db.execute("DELETE FROM bodies WHERE blob = ?", (blob,))
                db.execute("DELETE FROM uses WHERE blob = ?", (blob,))
                db.execute("DELETE FROM looks WHERE blob = ?", (blob,))
                total -= size
                if total <= self._cap_bytes:
                    break
        return total

    def find_fault(self) -> str:
        """Return what is wrong with the file itself, "" for nothing; reads all of it.

        Raises:
            LocalError: the disk fails.

        """
        return self._db.find_fault()

    def bodies(self) -> Iterator[tuple[BlobId, bytes]]:
        """Yield all that is kept, in order of their ids, a few at a time; nothing counts as used by it."""
        last = b""
        while rows := self._db.run(partial(_read_page, last)):
            yield from ((BlobId(row[0]), bytes(row[1])) for row in rows)
            last = rows[-1][0]

    def drop(self, blobs: Iterable[BlobId]) -> None:
        """Forget these; what they copy lies in packs."""
        gone = [(blob,) for blob in blobs]

        def act(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE total SET bytes = bytes - (SELECT size FROM uses WHERE blob = ?1) "
                "WHERE EXISTS (SELECT 1 FROM uses WHERE blob = ?1)",
                gone,
            )
            db.executemany("DELETE FROM bodies WHERE blob = ?", gone)
            db.executemany("DELETE FROM uses WHERE blob = ?", gone)

        self._db.transact(act)

    def clear(self) -> None:
        """Forget everything."""

        def act(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM bodies")
            db.execute("DELETE FROM uses")
            db.execute("DELETE FROM looks")
            db.execute("UPDATE total SET bytes = 0")

        self._db.transact(act)

    def size_bytes(self) -> int:
        """Return the bytes of plaintext kept."""
        return int(self._db.run(lambda db: db.execute("SELECT bytes FROM total").fetchone())[0])


def _read_page(after: bytes, db: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
    query = "SELECT blob, body FROM bodies WHERE blob > ? ORDER BY blob LIMIT ?"
    return db.execute(query, (after, _PAGE_ROWS)).fetchall()
