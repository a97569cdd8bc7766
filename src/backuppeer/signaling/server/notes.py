"""Notes in recovery inboxes, as a server keeps them: one for each inbox, for NOTE_KEPT_S (ADR 46).

Knows: inboxes, numbers, opaque bytes, wall time. Must not know: who left a note, what it says, sockets. Signatures are
checked before. The number of a note is the time at which it was left, in ms, so that a note of before, replayed,
neither replaces a later one nor comes back when that has gone.

Two places, one contract: this process's memory, and a folder, which outlives it. When one is full, the network that
left most notes makes room with its oldest; where no network left more than one, the note that was left longest ago: a
host that lives leaves it again within a day.
"""

import os
import sqlite3
from collections import OrderedDict
from pathlib import Path
from typing import Final, Protocol

from backuppeer.db import explain_full, open_database
from backuppeer.errors import LocalError, UserError
from backuppeer.limits import CLOCK_SKEW_S, NOTE_KEPT_S
from backuppeer.signaling.server.crowding import Crowd

_SKEW_MS: Final = CLOCK_SKEW_S * 1000
_KEPT_MS: Final = NOTE_KEPT_S * 1000
_NAME: Final = "notes.db"
_SCRIPTS: Final = (
    """
    CREATE TABLE notes(inbox BLOB NOT NULL UNIQUE, number INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;
    CREATE INDEX notes_by_number ON notes(number);
    """,
)


class Notes(Protocol):
    """Recovery inboxes. Coroutines, because several nodes may share a place across the network later."""

    async def put(self, inbox: bytes, number: int, sealed: bytes, *, now_ms: int, network: bytes = b"") -> bool:
        """Keep a note in place of the inbox's former one; False when that is newer, or the number no time of now.

        `network`: who leaves it, as `crowding.Networks` names it; empty = nobody knows.

        Raises:
            LocalError: the disk refuses.

        """
        ...

    async def get(self, inbox: bytes, *, now_ms: int) -> bytes | None:
        """Return the note of an inbox, if one is kept.

        Raises:
            LocalError: the disk refuses.

        """
        ...

    async def sweep(self, *, now_ms: int) -> None:
        """Forget the notes whose time is over."""
        ...

    def count(self) -> int:
        """Return how many notes are kept."""
        ...

    def close(self) -> None:
        """Let go of the place."""
        ...


class MemoryNotes:
    """See `Notes`; a restart forgets them all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._notes: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()
        self._crowd = Crowd()

    async def put(self, inbox: bytes, number: int, sealed: bytes, *, now_ms: int, network: bytes = b"") -> bool:
        """Replace, and make room."""
        known = self._notes.get(inbox)
        if not _is_of_now(number, now_ms) or (known is not None and number <= known[0]):
            return False
        self._notes[inbox] = (number, sealed)
        self._notes.move_to_end(inbox)
        _tell(self._crowd, inbox, network)
        while len(self._notes) > self._most:
            self._drop(self._crowd.choose() or next(iter(self._notes)))
        return True

    def _drop(self, inbox: bytes) -> None:
        del self._notes[inbox]
        self._crowd.drop(inbox)

    async def get(self, inbox: bytes, *, now_ms: int) -> bytes | None:
        """Look it up."""
        known = self._notes.get(inbox)
        return known[1] if known is not None and _is_of_now(known[0], now_ms) else None

    async def sweep(self, *, now_ms: int) -> None:
        """Drop what is old."""
        for inbox in [inbox for inbox, (number, _) in self._notes.items() if number <= now_ms - _KEPT_MS]:
            self._drop(inbox)

    def count(self) -> int:
        """Return their number."""
        return len(self._notes)

    def close(self) -> None:
        """Have nothing to let go of."""


class FolderNotes:
    """See `Notes`; in a database in a folder, which outlives the process. For one thread.

    A note is written within 0.1 ms and not waited for to be on the disk (`NORMAL`): what a power cut takes is left anew
    within a day.
    """

    def __init__(self, folder: Path, most: int) -> None:
        """Open the folder, made if there is none.

        Raises:
            UserError: it can't be made or written.
            DamagedStateError, NewerFormatError, LocalError: as `db.open_database`.

        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # 0600 before anything is in it: sealed as they are, when notes are left is nobody else's to read.
            os.close(os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as exc:
            raise UserError(
                f"can't keep notes in {folder}: {exc.strerror}", hint="name another folder with --data DIR"
            ) from exc
        self._path, self._most = folder / _NAME, most
        self._db = open_database(self._path, _SCRIPTS, synchronous="NORMAL")
        self._count = int(self._db.execute("SELECT count(*) FROM notes").fetchone()[0])
        self._crowd = Crowd()

    async def put(self, inbox: bytes, number: int, sealed: bytes, *, now_ms: int, network: bytes = b"") -> bool:
        """Replace, and make room."""
        if not _is_of_now(number, now_ms):
            return False
        try:
            known = self._db.execute("SELECT number FROM notes WHERE inbox=?", (inbox,)).fetchone()
            if known is not None and number <= known[0]:
                return False
            # A replaced row gets a new, higher rowid: their order is that in which they were left.
            self._db.execute("INSERT OR REPLACE INTO notes(inbox,number,sealed) VALUES(?,?,?)", (inbox, number, sealed))
            self._count += known is None
            _tell(self._crowd, inbox, network)
            while self._count > self._most:
                self._make_room()
        except sqlite3.Error as exc:
            raise self._explain(exc) from exc
        return True

    async def get(self, inbox: bytes, *, now_ms: int) -> bytes | None:
        """Look it up."""
        try:
            row = self._db.execute("SELECT number,sealed FROM notes WHERE inbox=?", (inbox,)).fetchone()
        except sqlite3.Error as exc:
            raise self._explain(exc) from exc
        return bytes(row[1]) if row is not None and _is_of_now(row[0], now_ms) else None

    async def sweep(self, *, now_ms: int) -> None:
        """Drop what is old."""
        old = (now_ms - _KEPT_MS,)
        try:
            for row in self._db.execute("SELECT inbox FROM notes WHERE number<=?", old).fetchall():
                self._crowd.drop(row[0])
            self._count -= self._db.execute("DELETE FROM notes WHERE number<=?", old).rowcount
        except sqlite3.Error as exc:
            raise self._explain(exc) from exc

    def count(self) -> int:
        """Return their number."""
        return self._count

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _make_room(self) -> None:
        inbox = self._crowd.choose()
        if inbox is None:
            (inbox,) = self._db.execute("SELECT inbox FROM notes ORDER BY rowid LIMIT 1").fetchone()
        self._crowd.drop(inbox)
        self._count -= self._db.execute("DELETE FROM notes WHERE inbox=?", (inbox,)).rowcount

    def _explain(self, error: sqlite3.Error) -> LocalError:
        return explain_full(error, "the notes", self._path) or LocalError(
            f"can't use the notes in {self._path}: {error}", hint="is its disk in order, and the folder yours?"
        )


def _tell(crowd: Crowd, inbox: bytes, network: bytes) -> None:
    if network:
        crowd.add(inbox, network)
    else:
        crowd.drop(inbox)


def _is_of_now(number: int, now_ms: int) -> bool:
    return now_ms - _KEPT_MS < number <= now_ms + _SKEW_MS
