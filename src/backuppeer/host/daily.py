"""What was done under each agreement within its current day: for caps by the day, which a restart must not begin anew.

Knows: one table of the catalogue. Must not know: what is capped, or at how much. A day is one of the store's age, as
of all locks: a clock that jumps begins none. It begins with what is counted first after the last one was over. Lost
with the catalogue, which harms nobody.
"""

import sqlite3
from enum import StrEnum
from typing import Final, NamedTuple

from backuppeer.host.catalogue import Catalogue
from backuppeer.ids import AgreementId

DAY_S: Final = 86_400


class Counted(StrEnum):
    """What is counted."""

    STORED = "stored"
    SENT = "sent"
    """Read by its owner: for restores, checks and audits."""
    ENDED = "ended"
    """Notices by which its owner ended it."""


class Day(NamedTuple):
    """Since which age of the store, how many bytes, how often."""

    since_s: int = 0
    size_bytes: int = 0
    times: int = 0


class Daily:
    """The days of one store. Thread-safe. Made by `open_store`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._run = catalogue.run

    def today(self, agreement: AgreementId, what: Counted) -> Day:
        """Return what was counted in the current day; an empty one that begins now if the last is over.

        Raises:
            StoreUnavailable: the disk refuses.

        """
        return self._run(lambda db: _today(db, agreement, what))

    def put(self, agreement: AgreementId, what: Counted, day: Day) -> None:
        """Keep a day that somebody else counts."""
        row = (agreement, what.value, *day)
        self._run(lambda db: db.execute("INSERT OR REPLACE INTO daily VALUES (?, ?, ?, ?, ?)", row))

    def add(self, agreement: AgreementId, what: Counted, size_bytes: int = 0) -> Day:
        """Count once more, and so many bytes; return the day with it."""

        def act(db: sqlite3.Connection) -> Day:
            day = _today(db, agreement, what)
            day = Day(day.since_s, day.size_bytes + size_bytes, day.times + 1)
            db.execute("INSERT OR REPLACE INTO daily VALUES (?, ?, ?, ?, ?)", (agreement, what.value, *day))
            return day

        return self._run(act)


def _today(db: sqlite3.Connection, agreement: AgreementId, what: Counted) -> Day:
    now_s = int(db.execute("SELECT age_s FROM ages").fetchone()[0])
    sql = "SELECT since_s, bytes, count FROM daily WHERE agreement = ? AND what = ?"
    row = db.execute(sql, (agreement, what.value)).fetchone()
    day = Day(*row) if row is not None else None
    # An age below that at which the day began: the catalogue lost its last minutes to a power cut.
    return day if day is not None and 0 <= now_s - day.since_s < DAY_S else Day(now_s)
