"""SQLite, opened one way: WAL, strict versions, forward upgrades only.

Knows: SQLite and `PRAGMA user_version`. Must not know: any table. Each room that owns state keeps its own schema
as a list of scripts; script n brings version n to n + 1. A database of a newer program is refused by name and not
touched.
"""

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from backuppeer.errors import DamagedStateError, LocalError, NewerFormatError

Synchronous = Literal["FULL", "NORMAL"]


def open_database(path: Path, scripts: Sequence[str], *, synchronous: Synchronous = "FULL") -> sqlite3.Connection:
    """Open (or create) the database at `path` and bring it to version `len(scripts)`.

    The connection may be used from several threads, one at a time: the caller serialises. `FULL` makes every commit
    durable before it returns; `NORMAL` may lose the last commits at a power cut (never consistency) and is for
    state that can be rebuilt. Before an upgrade the old file is copied to `<name>.v<version>`.

    Raises:
        DamagedStateError: the file is not a database of ours, or is of a newer version.
        LocalError: it is locked, or the disk refuses; an upgrade that failed left the old version as it was.

    """
    try:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    except sqlite3.Error as exc:
        raise DamagedStateError(f"can't open the database {path}: {exc}") from exc
    try:
        _prepare(connection, synchronous)
        _upgrade(connection, path, scripts)
    except sqlite3.OperationalError as exc:
        connection.close()
        raise LocalError(
            f"can't use the database {path}: {exc}", hint="is another agent using this home, or is the disk full?"
        ) from exc
    except sqlite3.Error as exc:
        connection.close()
        raise DamagedStateError(f"can't read the database {path}: {exc}") from exc
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("PRAGMA foreign_keys=ON")


def _upgrade(connection: sqlite3.Connection, path: Path, scripts: Sequence[str]) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if not 0 <= version <= len(scripts):
        raise NewerFormatError(
            f"{path} was written by a newer version (format {version}, this program knows {len(scripts)})",
            hint="install the newer backup-peer again; nothing was changed",
        )
    if 0 < version < len(scripts):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy2(path, path.with_name(f"{path.name}.v{version}"))
    for number in range(version, len(scripts)):
        connection.executescript(f"BEGIN;{scripts[number]};PRAGMA user_version={number + 1};COMMIT;")
