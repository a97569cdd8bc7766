"""Which packs of the index are on their way in or out: what a prune takes away and no backup may rely on (DESIGN 4).

Knows: the states of packs, which of them somebody relies on now. Must not know: heads, hosts, why a pack goes.

Theory of operation. A pack is *fresh* when it was stored here and no head named it yet, *named* once one did (or when
it was found at a host), *dropped* when a later head names it no more: then its blobs are still found, for readers that
are under way, but no writer may rely on them. Beside these lasting states there are two that end with the process:
*leaving* packs are about to be dropped by a prune, and writers treat their blobs as absent; *relied* are the packs in
which a running writer found blobs, or that it made, and these can't be marked as leaving. Both are looked up and set
under the one lock of the database, so there is no moment between. Killed anywhere, packs are what the index says:
those of an unfinished backup are fresh and kept, those that were leaving are named and stay.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from backuppeer.ids import LogicalId
from backuppeer.repo.database import LocalDatabase

# As they stand in the statements below.
FRESH: Final = 0
NAMED: Final = 1
DROPPED: Final = 2
NEW_EPOCH: Final = "UPDATE epoch SET value = randomblob(16)"
"""Whenever a blob that was known may be so no more: see `Index.begin_walk`."""
_ABSENT: Final = "CREATE TEMP TABLE IF NOT EXISTS absent (number INTEGER PRIMARY KEY)"
_GONE: Final = "CREATE TEMP TABLE IF NOT EXISTS gone (number INTEGER PRIMARY KEY)"
_EPOCH_IF_GONE: Final = f"{NEW_EPOCH} WHERE EXISTS (SELECT 1 FROM temp.gone)"  # noqa: S608 - constants
_LISTED: Final = "CREATE TEMP TABLE IF NOT EXISTS listed (logical BLOB PRIMARY KEY, place INTEGER)"
_GONE_PACKS: Final = "(SELECT number FROM temp.gone)"
_NAMED_PACKS: Final = "(SELECT number FROM packs WHERE state = 1)"
_THERE_PACKS: Final = "(SELECT number FROM packs WHERE state < 2)"
_ABSENT_PACKS: Final = "(SELECT number FROM temp.absent)"


def _find_elsewhere(there: str) -> tuple[str, str, str]:
    """Return statements that let blobs b be found in their spare places s, `there`; the old ones are spares then.

    Of several such places it is one in a named pack, if there is one, and the last.
    """
    pairs = f"spares s CROSS JOIN blobs b ON b.blob = s.blob WHERE {there}"
    order = "(SELECT state FROM packs WHERE number = s.pack), s.pack"
    return (
        f"INSERT OR IGNORE INTO spares SELECT b.* FROM {pairs}",  # noqa: S608 - constants
        f"INSERT OR REPLACE INTO blobs SELECT s.* FROM {pairs} ORDER BY {order}",  # noqa: S608 - constants
        "DELETE FROM spares WHERE EXISTS (SELECT 1 FROM blobs b WHERE b.blob = spares.blob AND b.pack = spares.pack)",
    )


# A blob of a pack that goes is found from now on in another pack that has it, too.
_LEAVE_GONE: Final = _find_elsewhere(
    f"b.pack IN {_GONE_PACKS} AND s.pack NOT IN {_GONE_PACKS} AND s.pack IN {_THERE_PACKS}"
)
# What a head names now is found there: its hosts have it, and those that lag are brought it.
_FIND_IN_THESE: Final = _find_elsewhere(f"s.pack IN {_GONE_PACKS} AND b.pack NOT IN {_GONE_PACKS}")
# Never in a draft, which no host is owed, while a pack that the head names, and that stays, has it (ADR 55).
_FIND_IN_NAMED: Final = _find_elsewhere(
    f"s.pack IN {_NAMED_PACKS} AND s.pack NOT IN {_ABSENT_PACKS} AND b.pack NOT IN {_NAMED_PACKS}"
)
_MISPLACED: Final = (
    "SELECT 1 FROM blobs b CROSS JOIN spares s ON s.blob = b.blob"  # noqa: S608 - constants
    f" WHERE b.pack IN (SELECT number FROM packs WHERE state = 0) AND s.pack IN {_NAMED_PACKS}"
    f" AND s.pack NOT IN {_ABSENT_PACKS} LIMIT 1"
)


class Turnover:
    """The states of one index's packs. Thread-safe. Made by `Index`."""

    def __init__(self, db: LocalDatabase) -> None:
        self._db = db
        self._relied: set[int] = set()
        self._writers = 0
        self._are_all_relied = False
        db.run(lambda c: [c.execute(sql) for sql in (_ABSENT, _GONE, _LISTED)])
        self.stay()

    @contextmanager
    def relying(self) -> Iterator[None]:
        """Keep what is relied on from leaving, until the last of those who are in such a block is out of it."""
        self._db.run(lambda _: self._count(1))
        try:
            yield
        finally:
            self._db.run(lambda _: self._count(-1))

    def rely(self, packs: Iterable[int]) -> None:
        """Note the numbers of packs that a writer relies on; within `LocalDatabase.run`, which holds the lock."""
        if self._writers:
            self._relied.update(packs)

    def rely_on_all(self) -> None:
        """Note that a writer relies on every pack; as `rely`."""
        self._are_all_relied = self._are_all_relied or bool(self._writers)

    def mark_leaving(self, packs: Iterable[LogicalId]) -> set[LogicalId]:
        """Let writers treat these packs' blobs as absent from now on, but for packs relied on; return the marked."""
        wanted = [(pack,) for pack in packs]
        marked: set[LogicalId] = set()

        def act(db: sqlite3.Connection) -> None:
            if self._are_all_relied:
                return
            db.execute(NEW_EPOCH)
            for (pack,) in wanted:
                row = db.execute("SELECT number FROM packs WHERE logical = ? AND state < 2", (pack,)).fetchone()
                if row is not None and row[0] not in self._relied:
                    db.execute("INSERT OR IGNORE INTO temp.absent VALUES (?)", row)
                    marked.add(pack)

        self._db.transact(act)
        return marked

    def still_leaving(self, packs: Iterable[LogicalId]) -> set[LogicalId]:
        """Return those of marked packs that are to go as before: nobody stored them again, or relies on them, since."""
        wanted = list(packs)

        def act(db: sqlite3.Connection) -> set[LogicalId]:
            # Not `_are_all_relied`: a walk that began after the mark knew nothing of these packs.
            sql = "SELECT number FROM packs JOIN temp.absent USING (number) WHERE logical = ? AND state < 2"
            rows = ((pack, db.execute(sql, (pack,)).fetchone()) for pack in wanted)
            return {pack for pack, row in rows if row is not None and row[0] not in self._relied}

        return self._db.run(act)

    def stay(self, packs: Iterable[LogicalId] | None = None) -> None:
        """Take the mark off packs, or off all: they are not leaving after all."""
        which = None if packs is None else [(pack,) for pack in packs]

        def act(db: sqlite3.Connection) -> None:
            if which is None:
                db.execute("DELETE FROM temp.absent")
                db.execute("INSERT INTO temp.absent SELECT number FROM packs WHERE state = ?", (DROPPED,))
            else:
                db.executemany(
                    "DELETE FROM temp.absent"
                    " WHERE number IN (SELECT number FROM packs WHERE logical = ? AND state < 2)",
                    which,
                )
            if _has_misplaced(db):
                _run_all(db, _FIND_IN_NAMED)

        self._db.transact(act)

    def name(self, packs: Iterable[LogicalId]) -> None:
        """Note that a head which stands names these packs: those of them that were fresh are no longer."""
        fresh = [(pack,) for pack in self.fresh().intersection(packs)]

        def act(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM temp.gone")
            db.executemany("INSERT INTO temp.gone SELECT number FROM packs WHERE logical = ? AND state = 0", fresh)
            _run_all(db, _FIND_IN_THESE)
            db.execute("UPDATE packs SET state = 1 WHERE number IN (SELECT number FROM temp.gone)")

        if fresh:
            self._db.transact(act)

    def drop(self, packs: Iterable[LogicalId], named: Iterable[LogicalId]) -> None:
        """Let packs be dropped, and those `named` be named, as a head that stands says; durable on return.

        What was dropped by earlier calls is forgotten: nobody reads it any more, or finds that it can't be had.
        """
        gone = [(pack,) for pack in packs]

        def act(db: sqlite3.Connection) -> None:
            self._forget_dropped(db)
            db.execute("DELETE FROM temp.gone")
            db.executemany("INSERT OR IGNORE INTO temp.gone SELECT number FROM packs WHERE logical = ?", gone)
            self._drop_gone(db)

        # FULL: deletes are sent next. Rows that came back after a power cut would let a backup rely on erased packs.
        self._db.run(lambda db: db.execute("PRAGMA synchronous=FULL"))
        try:
            self._db.transact(act)
        finally:
            self._db.run(lambda db: db.execute("PRAGMA synchronous=NORMAL"))
        self.name(named)

    def take_back(self, packs: Iterable[LogicalId]) -> None:
        """Let dropped packs be named again, as a head that stands says."""
        back = [(pack, DROPPED) for pack in packs]

        def act(db: sqlite3.Connection) -> None:
            sql = "DELETE FROM temp.absent WHERE number IN (SELECT number FROM packs WHERE logical = ? AND state = ?)"
            db.executemany(sql, back)
            db.executemany("UPDATE packs SET state = 1 WHERE logical = ? AND state = ?", back)
            _run_all(db, _FIND_IN_NAMED)

        self._db.transact(act)

    def follow(self, listed: Sequence[LogicalId]) -> None:
        """Bring packs in line with a head that lists just these: others that were named by a head are dropped.

        Fresh packs stay: they are an unfinished backup's. So do those that a writer relies on now. Packs that are not
        known are noted by name only: a host that is away may hold them.
        """

        def act(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM temp.listed")
            db.executemany(
                "INSERT INTO temp.listed VALUES (?, ?)", [(pack, place) for place, pack in enumerate(listed)]
            )
            db.execute("DELETE FROM temp.gone")
            db.execute(
                "INSERT INTO temp.gone SELECT number FROM packs WHERE state = 1"
                " AND logical NOT IN (SELECT logical FROM temp.listed)"
            )
            db.executemany("DELETE FROM temp.gone WHERE number = ?", [(number,) for number in self._relied])
            if self._are_all_relied:
                db.execute("DELETE FROM temp.gone")
            self._drop_gone(db)
            db.execute(
                "DELETE FROM temp.absent WHERE number IN (SELECT number FROM packs"
                " WHERE state = 2 AND logical IN (SELECT logical FROM temp.listed))"
            )
            db.execute("UPDATE packs SET state = 1 WHERE state <> 1 AND logical IN (SELECT logical FROM temp.listed)")
            db.execute("INSERT OR IGNORE INTO packs (logical, state) SELECT logical, 1 FROM temp.listed ORDER BY place")
            db.execute("DELETE FROM temp.listed")
            _run_all(db, _FIND_IN_NAMED)

        self._db.transact(act)

    def forget(self, packs: Iterable[LogicalId]) -> None:
        """Forget packs that are nowhere any more, and the blobs that only they have, in one transaction.

        A writer relies on all fresh packs then: what was lost may be found only there now, so the next head names them.
        """
        lost = [(pack,) for pack in packs]

        def act(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM temp.gone")
            db.executemany("INSERT OR IGNORE INTO temp.gone SELECT number FROM packs WHERE logical = ?", lost)
            self._forget_gone(db)
            self.rely(row[0] for row in db.execute("SELECT number FROM packs WHERE state = ?", (FRESH,)))

        if lost:
            self._db.transact(act)

    def epoch(self) -> bytes:
        """Return what changes whenever a pack goes, or is marked to: where blobs lie may be another place then."""
        return bytes(self._db.run(lambda db: db.execute("SELECT value FROM epoch").fetchone()[0]))

    def is_dropped(self, pack: LogicalId) -> bool:
        """Say whether a pack is known to be dropped."""
        sql = "SELECT 1 FROM packs WHERE logical = ? AND state = ?"
        return self._db.run(lambda db: db.execute(sql, (pack, DROPPED)).fetchone()) is not None

    def fresh(self) -> set[LogicalId]:
        """Return the packs of unfinished work: no head names them yet."""
        sql = "SELECT logical FROM packs WHERE state = ?"
        return {LogicalId(row[0]) for row in self._db.run(lambda db: db.execute(sql, (FRESH,)).fetchall())}

    def named(self) -> list[LogicalId]:
        """Return the packs that the newest head names, or that were found at a host, in order of registration."""
        sql = "SELECT logical FROM packs WHERE state = ? ORDER BY number"
        return [LogicalId(row[0]) for row in self._db.run(lambda db: db.execute(sql, (NAMED,)).fetchall())]

    def unfinished(self, *, has_head: bool = True) -> set[LogicalId]:
        """Return the fresh packs that nobody relies on now: of work that broke off. Without any head, all packs are."""
        least = NAMED if has_head else DROPPED

        def act(db: sqlite3.Connection) -> set[LogicalId]:
            if self._are_all_relied:
                return set()
            rows = db.execute("SELECT number, logical FROM packs WHERE state < ?", (least,)).fetchall()
            return {LogicalId(logical) for number, logical in rows if number not in self._relied}

        return self._db.run(act)

    def unneeded(self, *, has_head: bool) -> set[LogicalId]:
        """Return the fresh packs in which no running writer found a blob, or that it made: of work that broke off.

        Unlike `unfinished`, while a writer passes over folders that look as before: those lie in packs heads name.
        Without any head, packs that were found at a host are of such work, too.
        """
        least = NAMED if has_head else DROPPED

        def act(db: sqlite3.Connection) -> set[LogicalId]:
            rows = db.execute("SELECT number, logical FROM packs WHERE state < ?", (least,)).fetchall()
            return {LogicalId(logical) for number, logical in rows if number not in self._relied}

        return self._db.run(act)

    def _count(self, change: int) -> None:
        self._writers += change
        if not self._writers:
            self._relied.clear()
            self._are_all_relied = False

    def _drop_gone(self, db: sqlite3.Connection) -> None:
        db.execute(_EPOCH_IF_GONE)
        _run_all(db, _LEAVE_GONE)
        db.execute("UPDATE packs SET state = 2 WHERE number IN (SELECT number FROM temp.gone)")
        db.execute("INSERT OR IGNORE INTO temp.absent SELECT number FROM temp.gone")

    def _forget_dropped(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM temp.gone")
        if db.execute("INSERT INTO temp.gone SELECT number FROM packs WHERE state = ?", (DROPPED,)).rowcount:
            self._forget_gone(db)

    def _forget_gone(self, db: sqlite3.Connection) -> None:
        db.execute(_EPOCH_IF_GONE)
        _run_all(db, _LEAVE_GONE)
        db.execute("DELETE FROM spares WHERE pack IN (SELECT number FROM temp.gone)")
        db.execute("DELETE FROM blobs WHERE pack IN (SELECT number FROM temp.gone)")
        db.execute("DELETE FROM packs WHERE number IN (SELECT number FROM temp.gone)")
        db.execute("DELETE FROM temp.absent WHERE number IN (SELECT number FROM temp.gone)")


def _has_misplaced(db: sqlite3.Connection) -> bool:
    """Say whether a blob is found in a draft that a named pack has, too; what was dropped is not found so.

    In place of a look through all spare places, which takes seconds where there are many, and most often moves nothing.
    """
    has_drafts = db.execute("SELECT 1 FROM packs WHERE state = ? LIMIT 1", (FRESH,)).fetchone() is not None
    return has_drafts and db.execute(_MISPLACED).fetchone() is not None


def _run_all(db: sqlite3.Connection, statements: Iterable[str]) -> None:
    for sql in statements:
        db.execute(sql)
