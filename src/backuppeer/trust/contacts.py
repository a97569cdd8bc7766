"""Connections tried and made with each peer, and the windows in which it was there: tables of `trust.schema`.

Knows: rows of contacts, rows of windows. Must not know: sessions, what a score makes of it. One row for each session
and each dial that came to nothing; a window is written when it changes, so it costs no more than four rows a day.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from backuppeer.errors import LocalError
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.limits import (
    AVAILABILITY_DAYS,
    CONTACT_RESULT_CHARS,
    CONTACTS_PER_DAY,
    CONTACTS_SHOWN_MOST,
    PACE_CONTACTS,
    PACE_LEAST_BYTES,
    WINDOWS_KEPT,
)
from backuppeer.trust.availability import WINDOWS_PER_DAY, Windows, window_of
from backuppeer.trust.lines import Lines
from backuppeer.trust.schema import among

DAY_MS: Final = 86_400_000
_COLUMNS: Final = (
    "peer, day, time_ms, is_made, is_ours, path, rtt_us, sent_bytes, received_bytes, length_ms, busy_ms, result"
)
_TOUCH: Final = (
    "INSERT INTO windows (peer, window, is_up) VALUES (?, ?, ?)"
    " ON CONFLICT (peer, window) DO UPDATE SET is_up = 1 WHERE excluded.is_up AND NOT is_up"
)


_UNKNOWN: Final = Windows()


def find_peers(connection: sqlite3.Connection, table: Literal["observations", "windows"]) -> set[PeerId]:
    """Return the peers of which there is a row: as many steps along the index as there are peers, not rows.

    Raises:
        sqlite3.Error: the database can't be read.

    """
    sql = (
        f"WITH RECURSIVE found (peer) AS (SELECT MIN(peer) FROM {table} UNION ALL SELECT"  # noqa: S608 - one of two names
        f" (SELECT MIN(peer) FROM {table} WHERE peer > found.peer) FROM found WHERE found.peer IS NOT NULL)"
        " SELECT peer FROM found WHERE peer IS NOT NULL"
    )
    return {PeerId(peer) for (peer,) in connection.execute(sql)}


@dataclass(frozen=True, slots=True)
class Contact:
    """A session that was, or a try that came to nothing. Begun at `time_ms`, in ms since 1970.

    is_ours: this machine dialled; path: "direct", "relayed", with "+ lanes" where bulk went beside it, or "". rtt_ms: 0
    where it was not measured. busy_ms: of `length_ms`, how long requests were in flight. result: how it ended, or why
    there was none, for people; at most 200 characters.
    """

    peer: PeerId
    time_ms: int
    is_made: bool
    is_ours: bool
    path: str = ""
    rtt_ms: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0
    length_ms: int = 0
    busy_ms: int = 0
    result: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """Medians of the last month: round-trip time in ms, and payload bytes per second; 0 where nothing tells."""

    rtt_ms: float = 0.0
    bytes_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ContactCount:
    """All contacts with a peer that are on record, those condensed to days included. Times in ms, 0 = none."""

    made: int = 0
    failed: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    length_ms: int = 0


class ContactLog:
    """The contacts in the database of an EvidenceLog, whose connection and lock these are."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: threading.Lock,
        translated: Callable[[], AbstractContextManager[None]],
        lines: Lines,
    ) -> None:
        self._connection, self._lock, self._translated, self._lines = connection, lock, translated, lines
        with translated():
            self._known = find_peers(connection, "windows")

    def record(self, contact: Contact, *, counts: bool = True) -> bool:
        """Append a contact and what follows for its windows, durably; False if the peer filled its day already.

        A window counts all the same. `counts`: False if it says nothing of whether the peer was there.

        Raises:
            LocalError: an id of a wrong length, a negative number, or a disk that refuses.

        """
        numbers = (contact.time_ms, contact.rtt_ms, contact.sent_bytes, contact.received_bytes)
        if len(contact.peer) != PEER_ID_BYTES or min(*numbers, contact.length_ms, contact.busy_ms) < 0:
            raise LocalError(f"an impossible contact: {contact}")
        first = window_of(contact.time_ms)
        # A clock that was set in the middle of a session must not fill the table.
        last = min(window_of(contact.time_ms + contact.length_ms), first + WINDOWS_KEPT - 1)
        touched = [(contact.peer, window, int(contact.is_made)) for window in range(first, last + 1)]
        with self._lock, self._translated(), self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(_TOUCH, touched if counts else ())
            self._known.add(contact.peer)
            return self._append(contact)

    def _append(self, contact: Contact) -> bool:
        key = (contact.peer, contact.time_ms // DAY_MS)
        row = (
            *key,
            contact.time_ms,
            int(contact.is_made),
            int(contact.is_ours),
            contact.path[:CONTACT_RESULT_CHARS],
            round(1000 * contact.rtt_ms),
            contact.sent_bytes,
            contact.received_bytes,
            contact.length_ms,
            contact.busy_ms,
            contact.result[:CONTACT_RESULT_CHARS],
        )
        marks = ",".join("?" * len(row))
        sql = (
            f"INSERT INTO contacts ({_COLUMNS}) SELECT {marks}"  # noqa: S608 - constants and question marks
            " WHERE (SELECT COUNT(*) FROM contacts WHERE peer = ? AND day = ?) < ?"
        )
        return self._connection.execute(sql, (*row, *key, CONTACTS_PER_DAY)).rowcount == 1

    def touch(self, peer: PeerId, time_ms: int, *, is_up: bool) -> None:
        """Note that a peer was there at a time, or was tried in vain; durable, and free when it is known already."""
        with self._lock, self._translated():
            self.note_window(peer, time_ms, is_up=is_up)

    def note_window(self, peer: PeerId, time_ms: int, *, is_up: bool) -> None:
        """Do as `touch`, for who holds the lock and may be in a transaction."""
        self._known.add(peer)
        self._connection.execute(_TOUCH, (peer, window_of(time_ms), int(is_up)))

    def latest(self, peer: PeerId, *, limit: int) -> list[Contact]:
        """Return the newest contacts with a peer, newest first."""
        columns, line = _COLUMNS.removeprefix("peer, day, "), self._lines.of(peer)
        sql = f"SELECT {columns} FROM contacts WHERE {among(line)} ORDER BY day DESC, time_ms DESC, number DESC LIMIT ?"  # noqa: S608 - constants
        with self._lock, self._translated():
            rows = self._connection.execute(sql, (*line, max(0, min(limit, CONTACTS_SHOWN_MOST)))).fetchall()
        return [
            Contact(peer, time, bool(made), bool(ours), path, rtt / 1000, *numbers)
            for time, made, ours, path, rtt, *numbers in rows
        ]

    def count(self, peer: PeerId) -> ContactCount:
        """Return how many contacts there were, and what they moved, as far back as anything is known."""
        line = self._lines.of(peer)
        sql = (
            "SELECT SUM(made), SUM(failed), SUM(sent), SUM(received), SUM(length) FROM ("  # noqa: S608 - only question marks
            "SELECT made, failed, sent_bytes sent, received_bytes received, length_ms length FROM contact_days"
            f" WHERE {among(line)} UNION ALL SELECT is_made, NOT is_made, sent_bytes, received_bytes, length_ms"
            f" FROM contacts WHERE {among(line)})"
        )
        with self._lock, self._translated():
            row = self._connection.execute(sql, (*line, *line)).fetchone()
        return ContactCount(*(int(value or 0) for value in row))

    def pace(self, peer: PeerId, *, now_ms: int) -> Pace:
        """Return the median latency and throughput of the last 30 days, of sessions that moved a MiB or more."""
        line = self._lines.of(peer)
        sql = (
            f"SELECT rtt_us, sent_bytes + received_bytes, busy_ms FROM contacts WHERE {among(line)}"  # noqa: S608 - only question marks
            " AND day > ? AND is_made ORDER BY number DESC LIMIT ?"
        )
        key = (*line, now_ms // DAY_MS - AVAILABILITY_DAYS, PACE_CONTACTS)
        with self._lock, self._translated():
            rows = self._connection.execute(sql, key).fetchall()
        rtts = [rtt / 1000 for rtt, _, _ in rows if rtt]
        rates = [1000 * moved / busy_ms for _, moved, busy_ms in rows if moved >= PACE_LEAST_BYTES and busy_ms]
        return Pace(median(rtts) if rtts else 0.0, median(rates) if rates else 0.0)

    def windows(self, peer: PeerId, *, now_ms: int) -> Windows:
        """Return in which of the last windows the peer was tried, and in which it was there."""
        line = self._lines.of(peer)
        if self._known.isdisjoint(line):
            return _UNKNOWN
        now = window_of(now_ms)
        sql = f"SELECT window, is_up FROM windows WHERE {among(line)} AND window > ? AND window <= ?"  # noqa: S608 - only question marks
        up = seen = 0
        with self._lock, self._translated():
            for window, is_up in self._connection.execute(sql, (*line, now - WINDOWS_KEPT, now)):
                seen |= 1 << now - window
                up |= is_up << now - window
        return Windows(up, seen)

    # what travels with snapshots: four bits a day, as windows that were up, and that were tried in vain
    def day_masks(self, *, since_day: int) -> dict[tuple[PeerId, int], tuple[int, int]]:
        """Return (up, down) of each peer and day after `since_day`: bit n is the n-th window of the day, in UTC."""
        sql = "SELECT peer, window, is_up FROM windows WHERE window >= ?"
        found: dict[tuple[PeerId, int], tuple[int, int]] = {}
        with self._lock, self._translated():
            for peer, window, is_up in self._connection.execute(sql, ((since_day + 1) * WINDOWS_PER_DAY,)):
                day, place = divmod(window, WINDOWS_PER_DAY)
                up, down = found.get((PeerId(peer), day), (0, 0))
                bit = 1 << place
                found[PeerId(peer), day] = (up | bit, down) if is_up else (up, down | bit)
        return found

    def take_back(self, peer: PeerId, day: int, mask: int, *, is_up: bool) -> None:
        """Note windows of a day that another log of this identity had; one that this log saw itself stays.

        Within a transaction of who calls, who holds the lock.
        """
        rows = [
            (peer, day * WINDOWS_PER_DAY + place, int(is_up)) for place in range(WINDOWS_PER_DAY) if mask >> place & 1
        ]
        self._known.add(peer)
        sql = "INSERT INTO windows (peer, window, is_up) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        self._connection.executemany(sql, rows)
