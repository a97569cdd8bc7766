"""How others behaved as owners of what is kept here: days on which something of note happened. No score follows.

Knows: one table of `trust.schema`. Must not know: agreements, stores. What owners deserve is for a person to judge; the
program holds each of them to what was agreed, whatever stands here. A row for each day: nobody fills our disk.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum

from backuppeer.ids import PeerId
from backuppeer.trust.contacts import DAY_MS
from backuppeer.trust.lines import Lines
from backuppeer.trust.schema import among


class Deed(Enum):
    """What an owner did. Values are on disk: never renumber."""

    AGREED = 1
    NOTICED = 2
    OVERDRAWN = 3
    """It sent more than was agreed on, and was refused."""
    OWING = 4
    """Nothing new was taken from it, as it doesn't keep what it promised in return."""
    DELETED = 5
    MASS_DELETED = 6


class TenantLog:
    """The owners in the database of an EvidenceLog, whose connection and lock these are."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: threading.Lock,
        translated: Callable[[], AbstractContextManager[None]],
        lines: Lines,
    ) -> None:
        self._connection, self._lock, self._translated, self._lines = connection, lock, translated, lines

    def note(self, owner: PeerId, deed: Deed, time_ms: int) -> None:
        """Write down that an owner did something on the day of a time; durable, and free when it did already.

        Raises:
            LocalError: a disk that refuses.

        """
        sql = "INSERT INTO tenants (peer, day, deed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        with self._lock, self._translated():
            self._connection.execute(sql, (owner, time_ms // DAY_MS, deed.value))

    def count(self, owner: PeerId) -> dict[Deed, int]:
        """Return on how many days an owner did what; nothing that it never did.

        Raises:
            LocalError: it can't be read.

        """
        line = self._lines.of(owner)
        sql = f"SELECT deed, COUNT(DISTINCT day) FROM tenants WHERE {among(line)} GROUP BY deed"  # noqa: S608 - only question marks
        with self._lock, self._translated():
            return {Deed(deed): int(days) for deed, days in self._connection.execute(sql, line)}
