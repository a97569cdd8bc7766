"""Fresh databases as copies of one that the program made: its scripts run once in a process of tests, not ten thousand
times.

What comes of the scripts is the same, byte for byte but for counters of SQLite. How databases are made and upgraded is
what tests/test_db.py is about, which uses nothing of this; nor do processes that tests start.
"""

import atexit
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from backuppeer import db

MADE: dict[tuple[str, ...], sqlite3.Connection] = {}
"""A database in memory for each list of scripts that was run."""


@contextmanager
def copied() -> Iterator[None]:
    """Have databases that are new be copied instead of made, from the second of a kind on."""
    plain = db._upgrade

    def upgrade(connection: sqlite3.Connection, path: Path, scripts: Sequence[str], forget: str) -> None:
        kind = tuple(scripts)
        is_new = connection.execute("PRAGMA page_count").fetchone()[0] <= 1 and not db._version_of(connection)
        if is_new and kind in MADE:
            MADE[kind].backup(connection)
            return
        plain(connection, path, scripts, forget)
        if is_new:
            MADE[kind] = sqlite3.connect(":memory:", check_same_thread=False)
            connection.backup(MADE[kind])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "_upgrade", upgrade)
        yield


@atexit.register
def _close() -> None:
    for model in MADE.values():
        model.close()
