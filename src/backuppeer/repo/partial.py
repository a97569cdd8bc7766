"""The partial tree: what backups that broke off had finished, so that the next one need not read it again (ADR 0025).

Knows: its table. Must not know: how a walk goes, whether a file is still what it was, where blobs lie. It is a hint and
nothing more: whoever reads it compares each entry with the file system and asks the index for its blobs, so a row that
is old, or of packs that never arrived, costs a second reading and nothing else. It can be deleted at any time. It holds
names, so it lies in the home, whose mode is 0700.

A row is a msgpack array of entries (docs/format.md, Trees) finished in one directory, in no order: a later row is the
newer word on a name. A directory that is finished itself is an entry of the one above, and its own rows go. A place
that a backup was asked for has a row to itself, so that the end of that backup can let go of just this one.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import dirname
from typing import Final

import msgspec

from backuppeer.limits import PARTIAL_CACHE_KIB
from backuppeer.repo.database import LocalDatabase
from backuppeer.repo.tree import TreeEntry

_SCHEMA: Final = (
    """
    CREATE TABLE finished (
        number INTEGER PRIMARY KEY, directory BLOB NOT NULL, place BLOB, body BLOB NOT NULL
    );
    CREATE INDEX finished_directory ON finished (directory);
    """,
)
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[TreeEntry])
_AFTER_SLASH: Final = b"0"
"""The byte after `/`: paths below a directory lie between `directory/` and `directory0`."""


@dataclass(frozen=True, slots=True)
class Row:
    """Entries finished in a directory; `place`: of the one entry its path, when a backup was asked for just that."""

    directory: bytes
    entries: Sequence[TreeEntry]
    place: bytes | None = None


def read_finished(body: bytes) -> dict[bytes, TreeEntry]:
    """Return the entries in the body of a row, by name; none when it can't be decoded.

    Their files are read again then, as if the row had never been written.
    """
    try:
        return {entry.name: entry for entry in _decoder.decode(body)}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}


class PartialTree:
    """Rows by absolute path. Thread-safe by a lock."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`.

        Raises:
            DamagedStateError: the file can't be read as what it should be, or is of a newer version.

        """
        probe = "SELECT directory, place, body FROM finished LIMIT 1"
        self._db = LocalDatabase(path, _SCHEMA, what="partial tree", probe=probe, cache_kib=PARTIAL_CACHE_KIB)

    def close(self) -> None:
        """Close the file; it can't be used afterwards."""
        self._db.close()

    def is_empty(self) -> bool:
        """Say whether nothing is kept: then nobody needs to ask for each directory."""
        return self._db.run(lambda db: db.execute("SELECT 1 FROM finished LIMIT 1").fetchone()) is None

    def entries_in(self, directory: bytes) -> dict[bytes, TreeEntry]:
        """Return what is finished in a directory, by name; rows that can't be read are passed over."""
        query = "SELECT body FROM finished WHERE directory = ? ORDER BY number"
        found: dict[bytes, TreeEntry] = {}
        for (body,) in self._db.run(lambda db: db.execute(query, (directory,)).fetchall()):
            found |= read_finished(body)
        return found

    def write(self, rows: Iterable[Row], *, stale: Iterable[bytes] = ()) -> None:
        """Drop the rows of the directories in `stale`, which are finished, then add rows; all of it or nothing.

        Raises:
            LocalError: the disk is full.

        """
        dropped = [(directory,) for directory in stale]
        added = [(row.directory, row.place, _encoder.encode(row.entries)) for row in rows]
        replaced = [(directory, place) for directory, place, _ in added if place is not None]

        def act(db: sqlite3.Connection) -> None:
            # Hints of directories that a later row names whole; nothing else knows of these rows.
            db.executemany("DELETE FROM finished WHERE directory = ?", dropped)
            db.executemany("DELETE FROM finished WHERE directory = ? AND place = ?", replaced)
            db.executemany("INSERT INTO finished (directory, place, body) VALUES (?, ?, ?)", added)

        if dropped or added:
            self._db.transact(act)

    def forget(self, paths: Iterable[bytes]) -> None:
        """Drop what is kept of these places and all below: a snapshot says it now."""
        prefixes = [path.rstrip(b"/") for path in paths]

        def act(db: sqlite3.Connection) -> None:
            for prefix in prefixes:
                db.execute("DELETE FROM finished WHERE directory = ?", (prefix or b"/",))
                db.execute("DELETE FROM finished WHERE directory = ? AND place = ?", (dirname(prefix), prefix))
                db.execute(
                    "DELETE FROM finished WHERE directory >= ? AND directory < ?",
                    (prefix + b"/", prefix + _AFTER_SLASH),
                )

        if not self.is_empty():
            self._db.transact(act)
