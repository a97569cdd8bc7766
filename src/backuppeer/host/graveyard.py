"""The rows of deleted packs: marked, counted, taken back, and held longer where much goes at once.

Knows: the tables of the catalogue that deletes need. Must not know: files, statements, signatures. What the rows say
stands in the files of removals.py too, but for how much of a lock is over. Times are ages of the store in seconds: the
uptime that agents saw, added up.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from backuppeer.host.catalogue import Catalogue, PackRow
from backuppeer.host.hold import Alarm, Asked, Measure, find_doubled, held_s, make_alarm, spare_bytes
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import HOLD_WINDOW_S, NEXT_FREE_SPAN_S

_MEASURE: Final = """
    SELECT TOTAL(size), TOTAL(CASE WHEN born_s IS NULL OR born_s <= ? THEN size END)
    FROM packs WHERE agreement = ? AND due_s IS NULL AND upon IS NULL
"""
_NEXT_FREE: Final = """
    SELECT SUM(size), MAX(due_s) - (SELECT age_s FROM ages)
    FROM packs WHERE due_s IS NOT NULL AND (?1 IS NULL OR agreement = ?1) AND due_s <= ?2 + (
        SELECT MIN(due_s) FROM packs WHERE due_s IS NOT NULL AND (?1 IS NULL OR agreement = ?1)
    )
"""
_ASKED: Final = "SELECT number, age_s, held, held_old, took, took_old FROM deletes WHERE agreement = ? AND age_s > ?"
# A pack is counted with the request that deleted it, as long as it lies here.
_ALARMS: Final = """
    SELECT d.agreement, d.number, d.age_s, d.held, d.held_old, d.took, d.took_old, SUM(p.size),
        MAX(p.due_s) - (SELECT age_s FROM ages)
    FROM deletes d JOIN packs p ON p.agreement = d.agreement AND p.removal = d.number AND p.due_s IS NOT NULL
    WHERE d.is_doubled GROUP BY d.agreement, d.number ORDER BY d.agreement, d.number
"""


class DeletedRow(NamedTuple):
    """One deleted copy: its id, its length in bytes, and the seconds until it is erased."""

    stored: StoredId
    size: int
    left_s: int


class NextFree(NamedTuple):
    """What is erased next: so many bytes in so many seconds of uptime; nothing is deleted: 0 bytes."""

    size_bytes: int = 0
    left_s: int = 0


class Graveyard:
    """The part of a catalogue that knows deleted packs."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._run = catalogue.run

    def age_s(self) -> int:
        """Return how long agents were seen running on this store."""
        return int(self._run(lambda db: db.execute("SELECT age_s FROM ages").fetchone()[0]))

    def add_age(self, seconds: int) -> None:
        """Let time pass."""
        self._run(lambda db: db.execute("UPDATE ages SET age_s = age_s + ?", (seconds,)))

    def recall_age(self, age_s: int) -> None:
        """Let the store be at least as old as it was once: its catalogue was lost, or its last rows."""
        self._run(lambda db: db.execute("UPDATE ages SET age_s = MAX(age_s, ?)", (age_s,)))

    def last_removal(self, agreement: AgreementId) -> int:
        """Return the number of the last statement that these rows know."""
        sql = "SELECT number FROM removals WHERE agreement = ?"
        row = self._run(lambda db: db.execute(sql, (agreement,)).fetchone())
        return int(row[0]) if row else 0

    def measure(self, agreement: AgreementId, packs: Sequence[StoredId] | None = None) -> Measure:
        """Return how much of an agreement, or of some of its packs, is no draft and not deleted, and how much is old.

        Reads every row of the agreement: 10 ms for a terabyte.
        """

        def act(db: sqlite3.Connection) -> Measure:
            old_s = int(db.execute("SELECT age_s FROM ages").fetchone()[0]) - HOLD_WINDOW_S
            total = Measure()
            for more, values in [("", ())] if packs is None else [(" AND stored = ?", (pack,)) for pack in packs]:
                row = db.execute(_MEASURE + more, (old_s, agreement, *values)).fetchone()
                total = total.plus(Measure(int(row[0]), int(row[1])))
            return total

        return self._run(act)

    def spare_bytes(self, agreement: AgreementId) -> int:
        """Return how many bytes may be deleted now before the hold doubles."""
        age_s = self.age_s()
        return spare_bytes(self._asked_since(agreement, age_s - HOLD_WINDOW_S), age_s, self.measure(agreement))

    def delete(
        self, agreement: AgreementId, packs: Sequence[StoredId], asked: Asked, *, lock_s: int, head: int
    ) -> list[StoredId]:
        """Mark packs as deleted and return those that this changed; `head`: number of the head that dropped them.

        With the last request of a window that goes over the share, all of the window are held longer from now on.
        """
        sql = (
            "UPDATE packs SET due_s = (SELECT age_s FROM ages) + ?, dropped = ?, removal = ?"
            " WHERE agreement = ? AND stored = ? AND due_s IS NULL RETURNING stored"
        )
        row = (agreement, asked.number, asked.age_s, *asked.held, *asked.took, lock_s)

        def act(db: sqlite3.Connection) -> list[StoredId]:
            with db:
                db.execute("BEGIN")
                values = [(lock_s, head, asked.number, agreement, stored) for stored in packs]
                rows = [row for one in values for row in db.execute(sql, one).fetchall()]
                db.execute("INSERT OR REPLACE INTO deletes VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)", row)
                _double(db, agreement, find_doubled(_asked_since(db, agreement, asked.age_s - HOLD_WINDOW_S)))
                _note_removal(db, agreement, asked.number)
            return [StoredId(row[0]) for row in rows]

        return self._run(act)

    def withdraw(self, agreement: AgreementId, packs: Sequence[StoredId], *, head: int, removal: int) -> list[StoredId]:
        """Mark those of the packs as due now that are drafts upon head number `head`; return them. Durable on return.

        FULL: their files go next. Rows that came back after a power cut would say that packs were lost.
        """
        sql = (
            "UPDATE packs SET due_s = 0, dropped = ? WHERE agreement = ? AND stored = ? AND due_s IS NULL"
            " AND upon = ? RETURNING stored"
        )
        steps = [(sql, (head, agreement, stored, head)) for stored in packs]
        return self._change(agreement, removal, steps, is_durable=True)

    def shorten(self, agreement: AgreementId, lock_s: int) -> None:
        """Let what was deleted under a longer lock go when `lock_s` is over, counted from its request.

        Twice as long what is held so. Again is fine: no lock of these rows is longer then.
        """
        ask = "SELECT number, age_s, is_doubled FROM deletes WHERE agreement = ? AND lock_s > ?"
        cut = "UPDATE packs SET due_s = MIN(due_s, ?) WHERE agreement = ? AND removal = ? AND due_s IS NOT NULL"

        def act(db: sqlite3.Connection) -> None:
            rows = db.execute(ask, (agreement, lock_s)).fetchall()
            if not rows:
                return  # as most often: nothing is written
            with db:
                db.execute("BEGIN")
                for number, age_s, is_doubled in rows:
                    due_s = age_s + held_s(lock_s, is_doubled=bool(is_doubled))
                    db.execute(cut, (due_s, agreement, number))
                db.execute("UPDATE deletes SET lock_s = ?1 WHERE agreement = ?2 AND lock_s > ?1", (lock_s, agreement))

        self._run(act)

    def purge(self, agreement: AgreementId) -> tuple[int, int]:
        """Mark all deleted packs of an agreement as due now; return how many, and their bytes."""
        sql = "UPDATE packs SET due_s = 0 WHERE agreement = ? AND due_s IS NOT NULL RETURNING size"
        sizes = [int(row[0]) for row in self._run(lambda db: db.execute(sql, (agreement,)).fetchall())]
        return len(sizes), sum(sizes)

    def deleted_ids(self, agreement: AgreementId) -> list[StoredId]:
        """Return the ids of all deleted packs of an agreement, ascending."""
        sql = "SELECT stored FROM packs WHERE agreement = ? AND due_s IS NOT NULL ORDER BY stored"
        return [StoredId(row[0]) for row in self._run(lambda db: db.execute(sql, (agreement,)).fetchall())]

    def count(self, agreement: AgreementId) -> tuple[int, int]:
        """Return how many packs of an agreement are here, deleted ones too, and their bytes."""
        sql = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM packs WHERE agreement = ?"
        packs, size_bytes = self._run(lambda db: db.execute(sql, (agreement,)).fetchone())
        return int(packs), int(size_bytes)

    def doom(self, agreement: AgreementId) -> None:
        """Mark all packs of an agreement as due now, whatever they are: it has ended. Durable on return, as `withdraw`.

        Costs an fsync once: where all are marked already nothing is written.
        """
        sql = "UPDATE packs SET due_s = 0 WHERE agreement = ? AND (due_s IS NULL OR due_s > 0)"

        def act(db: sqlite3.Connection) -> None:
            with _durably(db):
                db.execute(sql, (agreement,))

        self._run(act)

    def is_draft(self, agreement: AgreementId, stored: StoredId, head: int) -> bool:
        """Return whether a pack is here, not deleted, and a draft upon head number `head`."""
        sql = "SELECT 1 FROM packs WHERE agreement = ? AND stored = ? AND due_s IS NULL AND upon = ?"
        return self._run(lambda db: db.execute(sql, (agreement, stored, head)).fetchone()) is not None

    def revive(self, agreement: AgreementId, packs: Sequence[StoredId], *, head: int, removal: int) -> list[StoredId]:
        """Take the mark off packs deleted under an earlier head than number `head`; return those that are kept."""
        sql = (
            "UPDATE packs SET due_s = NULL, dropped = NULL, removal = NULL WHERE agreement = ? AND stored = ?"
            " AND (due_s IS NULL OR dropped < ?) RETURNING stored"
        )
        return self._change(agreement, removal, [(sql, (agreement, stored, head)) for stored in packs])

    def _change(
        self,
        agreement: AgreementId,
        removal: int,
        steps: Sequence[tuple[str, tuple[object, ...]]],
        *,
        is_durable: bool = False,
    ) -> list[StoredId]:
        def act(db: sqlite3.Connection) -> list[StoredId]:
            with _durably(db) if is_durable else nullcontext(), db:
                db.execute("BEGIN")
                rows = [row for sql, values in steps for row in db.execute(sql, values).fetchall()]
                _note_removal(db, agreement, removal)
            return [StoredId(row[0]) for row in rows]

        return self._run(act)

    def is_deleted(self, agreement: AgreementId, stored: StoredId) -> bool:
        """Return whether a pack is here and deleted."""
        sql = "SELECT 1 FROM packs WHERE agreement = ? AND stored = ? AND due_s IS NOT NULL"
        return self._run(lambda db: db.execute(sql, (agreement, stored)).fetchone()) is not None

    def is_alive(self, agreement: AgreementId, stored: StoredId) -> bool:
        """Return whether a pack is here and not deleted."""
        sql = "SELECT 1 FROM packs WHERE agreement = ? AND stored = ? AND due_s IS NULL"
        return self._run(lambda db: db.execute(sql, (agreement, stored)).fetchone()) is not None

    def left_s(self, agreement: AgreementId, packs: Sequence[StoredId]) -> int:
        """Return in how many seconds the last of these packs is erased; 0 when none of them is here and deleted."""
        sql = "SELECT due_s - (SELECT age_s FROM ages) FROM packs WHERE agreement = ? AND stored = ? AND due_s NOTNULL"

        def act(db: sqlite3.Connection) -> int:
            rows = [row for stored in packs for row in db.execute(sql, (agreement, stored)).fetchall()]
            return max((int(row[0]) for row in rows), default=0)

        return max(0, self._run(act))

    def list_deleted(self, agreement: AgreementId, after: bytes, limit: int) -> list[DeletedRow]:
        """Return up to `limit` deleted packs in order of their ids, from the first after `after` on."""
        sql = (
            "SELECT stored, size, MAX(0, due_s - (SELECT age_s FROM ages)) FROM packs"
            " WHERE agreement = ? AND stored > ? AND due_s IS NOT NULL ORDER BY stored LIMIT ?"
        )
        rows = self._run(lambda db: db.execute(sql, (agreement, after, limit)).fetchall())
        return [DeletedRow(StoredId(stored), int(size), int(left)) for stored, size, left in rows]

    def deleted_bytes(self, agreement: AgreementId | None) -> int:
        """Return how many bytes the deleted packs take, of one agreement or of all."""
        sql = "SELECT COALESCE(SUM(size), 0) FROM packs WHERE due_s IS NOT NULL AND (?1 IS NULL OR agreement = ?1)"
        return int(self._run(lambda db: db.execute(sql, (agreement,)).fetchone()[0]))

    def next_free(self, agreement: AgreementId | None) -> NextFree:
        """Return what is erased next, of one agreement or of all, what follows within a day included."""
        values = (agreement, NEXT_FREE_SPAN_S)
        size_bytes, left_s = self._run(lambda db: db.execute(_NEXT_FREE, values).fetchone())
        return NextFree(int(size_bytes), max(0, int(left_s))) if size_bytes else NextFree()

    def list_alarms(self) -> list[Alarm]:
        """Return the mass deletions that are not over, one for each agreement: till most is erased or taken back."""
        rows = self._run(lambda db: db.execute(_ALARMS).fetchall())
        alarms = []
        for agreement, group in groupby(rows, key=itemgetter(0)):
            members = [(_read_asked(row[1:7]), int(row[7]), int(row[8])) for row in group]
            requests = [asked for asked, _, _ in members]
            deleted_bytes, left_s = sum(size for _, size, _ in members), max(left for _, _, left in members)
            alarms.append(make_alarm(AgreementId(agreement), requests, deleted_bytes=deleted_bytes, left_s=left_s))
        return [alarm for alarm in alarms if alarm.is_much]

    def list_due(self, limit: int) -> list[tuple[AgreementId, PackRow]]:
        """Return up to `limit` packs whose lock is over, of one agreement after the other."""
        sql = (
            "SELECT agreement, stored, size FROM packs WHERE due_s <= (SELECT age_s FROM ages)"
            " ORDER BY agreement, stored LIMIT ?"
        )
        rows = self._run(lambda db: db.execute(sql, (limit,)).fetchall())
        return [(AgreementId(agreement), PackRow(StoredId(stored), int(size))) for agreement, stored, size in rows]

    def next_due_s(self) -> int | None:
        """Return in how many seconds the next lock is over; None when nothing is deleted."""
        sql = "SELECT MIN(due_s) - (SELECT age_s FROM ages) FROM packs WHERE due_s IS NOT NULL"
        row = self._run(lambda db: db.execute(sql).fetchone())
        return None if row[0] is None else max(0, int(row[0]))

    def _asked_since(self, agreement: AgreementId, age_s: int) -> list[Asked]:
        return self._run(lambda db: _asked_since(db, agreement, age_s))


@contextmanager
def _durably(db: sqlite3.Connection) -> Iterator[None]:
    """Have what is committed in this block on the disk when it ends; within `Catalogue.run`, which holds the lock."""
    db.execute("PRAGMA synchronous=FULL")
    try:
        yield
    finally:
        db.execute("PRAGMA synchronous=NORMAL")


def _asked_since(db: sqlite3.Connection, agreement: AgreementId, age_s: int) -> list[Asked]:
    return [_read_asked(row) for row in db.execute(f"{_ASKED} ORDER BY number", (agreement, age_s)).fetchall()]


def _read_asked(row: Sequence[int]) -> Asked:
    number, age_s, held, held_old, took, took_old = row
    return Asked(number, age_s, Measure(held, held_old), Measure(took, took_old))


def _double(db: sqlite3.Connection, agreement: AgreementId, numbers: set[int]) -> None:
    """Let what these requests deleted, and is still here, be held longer; those that are doubled already stay so."""
    mark = "UPDATE deletes SET is_doubled = 1 WHERE agreement = ? AND number = ? AND NOT is_doubled RETURNING lock_s"
    for number in sorted(numbers):
        for (lock_s,) in db.execute(mark, (agreement, number)).fetchall():
            more_s = held_s(lock_s, is_doubled=True) - lock_s
            sql = "UPDATE packs SET due_s = due_s + ? WHERE agreement = ? AND removal = ? AND due_s IS NOT NULL"
            db.execute(sql, (more_s, agreement, number))


def _note_removal(db: sqlite3.Connection, agreement: AgreementId, number: int) -> None:
    db.execute("INSERT OR REPLACE INTO removals VALUES (?, ?)", (agreement, number))
