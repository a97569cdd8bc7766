"""SQLite, opened one way: WAL, strict versions, forward upgrades only.

Knows: SQLite and `PRAGMA user_version`. Must not know: any table. Each room that owns state keeps its own schema
as a list of scripts; script n brings version n to n + 1. A database of a newer program is refused by name and not
touched, not even opened.

An upgrade: a consistent copy of the old file is made durable as `NAME.v<old>.bak`, then all scripts run in one
transaction, then copies of earlier upgrades go. Killed anywhere, the file is of the old version or of the new one, and
a copy is there.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal

from backuppeer.errors import DamagedStateError, LocalError, NewerFormatError, full_disk, is_out_of_room

Synchronous = Literal["FULL", "NORMAL"]
_MAGIC: Final = b"SQLite format 3\0"
_VERSION_AT: Final = slice(60, 64)
"""Where `user_version` stands in the first page (SQLite file format, 1.3), big-endian."""
_HEADER_BYTES: Final = 100
_COPY: Final = ".bak"


def open_database(
    path: Path, scripts: Sequence[str], *, synchronous: Synchronous = "FULL", forget: str = ""
) -> sqlite3.Connection:
    """Open (or create) the database at `path` and bring it to version `len(scripts)`.

    The connection may be used from several threads, one at a time: the caller serialises. `FULL` makes every commit
    durable before it returns; `NORMAL` may lose the last commits at a power cut (never consistency) and is for
    state that can be rebuilt. `forget`: statements that take out of a copy what must not be kept for long.

    Raises:
        DamagedStateError: something else than a database of ours stands there.
        NewerFormatError: it is of a newer version.
        LocalError: it is locked, or the disk refuses; an upgrade that failed left the old version as it was.

    """
    refuse_foreign(path, len(scripts))
    try:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    except sqlite3.Error as exc:
        # It is a file, or nothing: so it is the folder, its rights or the system's descriptors, not the file's content.
        raise LocalError(
            f"can't open the database {path}: {exc}", hint="is its folder there, and yours to write in?"
        ) from exc
    try:
        _check_version(path, _version_of(connection), len(scripts))
        _prepare(connection, synchronous)
        _upgrade(connection, path, scripts, forget)
    except sqlite3.OperationalError as exc:
        connection.close()
        raise explain_full(exc, "the database", path) or LocalError(
            f"can't use the database {path}: {exc}", hint="is another agent using this home?"
        ) from exc
    except sqlite3.Error as exc:
        connection.close()
        raise DamagedStateError(f"can't read the database {path}: {exc}") from exc
    except OSError as exc:
        connection.close()
        raise explain_full(exc, "a copy before the upgrade of", path) or LocalError(
            f"can't keep a copy of {path} before its upgrade: {exc.strerror}", hint="is its folder yours to write in?"
        ) from exc
    except BaseException:
        connection.close()
        raise
    return connection


def mark_place(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at `path` from another one that takes its place; None when there is none.

    An open database whose file is deleted goes on as if nothing had happened, until the process ends.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


LOGS: Final = ("-wal", "-shm")
"""What SQLite keeps beside a database that is open, by the database's name."""


def put_back(connection: sqlite3.Connection, path: Path) -> None:
    """Write an open database to `path` again, where somebody deleted it; durable on return. Then open it anew.

    Raises:
        LocalError: the disk refuses; the open database goes on.

    """
    try:
        # What stands in the log goes into the file that is open. The log that lies at `path` would else be taken for
        # the new file's; nobody but this process has it open, as the home is locked.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for suffix in LOGS:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        _copy_to(connection, path, "")
    except (sqlite3.Error, OSError) as exc:
        raise explain_full(exc, "the database", path) or LocalError(
            f"the database {path} was deleted, and can't be written again: {exc}",
            hint="is its folder there, and yours?",
        ) from exc


def explain_full(exc: BaseException, what: str, path: Path) -> LocalError | None:
    """Return the error for a disk without room if that is what `exc` means, else None. `what` is named, at `path`.

    SQLite calls only ENOSPC full. A log that can't grow, or a quota, is an I/O error: then the disk itself is asked.
    """
    match exc:
        case sqlite3.Error():
            code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
            is_full = code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and not _free_bytes(path.parent))
        case _:
            is_full = is_out_of_room(exc)
    return full_disk(f"{what} {path}".strip()) if is_full else None


@contextmanager
def translating(what: str, path: Path, *, mend: str = "") -> Iterator[None]:
    """Say in our own errors what SQLite does of `what` at `path` in the block; mend: what to do if it is damaged.

    Raises:
        DamagedStateError: no database any more.
        LocalError: the disk is full, or refuses.

    """
    try:
        yield
    except sqlite3.Error as exc:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise DamagedStateError(f"{what} {path} is damaged: {exc}", hint=mend) from exc
        raise explain_full(exc, what, path) or LocalError(
            f"can't use {what} {path}: {exc}", hint="is its disk in order? (dmesg, SMART)"
        ) from exc


def _free_bytes(folder: Path) -> int:
    try:
        found = os.statvfs(folder)
    except OSError:
        return 1  # gone, for example: not full
    return found.f_bavail * found.f_frsize


def find_fault(connection: sqlite3.Connection) -> str:
    """Return the first thing that SQLite finds wrong with a database, "" for nothing; reads all of it.

    Raises:
        sqlite3.Error: it can't be read at all, or the disk fails.

    """
    said = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    return "" if said == "ok" else " ".join(said.split())


def find_copies(folder: Path) -> set[str]:
    """Return the names of the copies that upgrades of databases in a folder have left."""
    return {path.name for path in folder.glob(f"*.v*{_COPY}")}


def refuse_foreign(path: Path, known: int) -> None:
    """Refuse what is no file, and a database of a newer version than `known` before it is opened for writing.

    Raises:
        DamagedStateError: something else stands there, or, as NewerFormatError, one of a newer version.
        LocalError: it can't be read.

    """
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_file():
        raise DamagedStateError(f"{path} is no database: something else stands in its place")
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as exc:
        raise LocalError(f"can't open the database {path}: {exc.strerror}", hint="is it yours to read?") from exc
    if len(header) == _HEADER_BYTES and header.startswith(_MAGIC):
        _check_version(path, int.from_bytes(header[_VERSION_AT], "big", signed=True), known)


def _version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_version(path: Path, version: int, known: int) -> None:
    if not 0 <= version <= known:
        raise NewerFormatError(
            f"{path} was written by a newer version (format {version}, this program knows {known})",
            hint="install the newer backup-peer again; nothing was changed",
        )


def _prepare(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("PRAGMA foreign_keys=ON")


def _upgrade(connection: sqlite3.Connection, path: Path, scripts: Sequence[str], forget: str) -> None:
    version = _version_of(connection)
    if version == len(scripts):
        return
    kept = _keep_copy(connection, path, version, forget) if version else None
    # One transaction for all scripts: killed at any point, the file is wholly old or wholly new.
    joined = ";".join(scripts[version:])
    connection.executescript(f"BEGIN IMMEDIATE;{joined};PRAGMA user_version={len(scripts)};COMMIT;")
    if kept is not None:
        for earlier in path.parent.glob(f"{path.name}.v*"):
            if earlier != kept:
                earlier.unlink()  # of an earlier upgrade; the newer copy is durable, and the upgrade done


def _keep_copy(connection: sqlite3.Connection, path: Path, version: int, forget: str) -> Path:
    """Copy the database, what stands in its log included, to one durable file beside it; return that."""
    kept = path.with_name(f"{path.name}.v{version}{_COPY}")
    _copy_to(connection, kept, forget)
    return kept


def _copy_to(connection: sqlite3.Connection, kept: Path, forget: str) -> None:
    temporary = kept.with_name(f"{kept.name}.part")
    temporary.unlink(missing_ok=True)  # of an upgrade that was cut short
    # Made here and not by SQLite: 0600 from the first byte.
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with no log beside it
            if forget:
                # VACUUM writes the file anew: what was deleted does not lie on in free pages.
                copy.executescript(f"PRAGMA secure_delete=ON;{forget};VACUUM;")
        # Durable before the upgrade begins: whatever that does, the old state is there.
        os.fsync(handle)
        temporary.replace(kept)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    folder = os.open(kept.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
