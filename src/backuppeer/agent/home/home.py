"""One peer's home folder: where everything lies, and the lock (DESIGN 1, 10).

Knows: paths, permissions. Must not know: keys, sessions, the terminal; every command imports it, so it stays light.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import platformdirs

from backuppeer.db import explain_full
from backuppeer.errors import LocalError, UserError
from backuppeer.limits import EDIT_KEPT_S

PROOFS: Final = "proofs"
"""Folder of a home in which proofs against hosts lie."""
DRILL: Final = "backup-peer-drill-"
"""What the folders begin with in which drills read files; eight characters follow."""
EDIT_PREFIX: Final = ".config.edit-"
"""What the copy of the settings is called that is open in an editor, and what that keeps beside it."""

_UNFINISHED: Final = re.compile(r"\..+\.[0-9a-f]{8}")
"""What `write_private` calls a file until it is whole."""


class Home:
    """Paths below one home folder. Creates nothing until asked."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def keys(self) -> Path:
        """Folder of key files, 0700."""
        return self.path / "keys"

    @property
    def config(self) -> Path:
        """TOML file of settings."""
        return self.path / "config.toml"

    @property
    def config_lock(self) -> Path:
        """The file that whoever changes the settings holds locked; it stays."""
        return self.path / "settings.lock"

    @property
    def state(self) -> Path:
        """The agent's own database."""
        return self.path / "state.db"

    @property
    def repository(self) -> Path:
        """Folder of the local index, cache and ledger."""
        return self.path / "repository"

    @property
    def default_store(self) -> Path:
        """Where hosted packs lie unless `--store` says otherwise."""
        return self.path / "store"

    @property
    def logs(self) -> Path:
        """Folder of the agent's log."""
        return self.path / "logs"

    @property
    def lock_file(self) -> Path:
        """The file that the running agent holds locked."""
        return self.path / "lock"

    @property
    def exists_identity(self) -> bool:
        """Whether `init` or `recover` has been completed here (the working secret is written last)."""
        return (self.keys / "working").exists()

    @property
    def is_read_only(self) -> bool:
        """Whether the identity here was brought back from its words: such a home has no grant to write."""
        return self.exists_identity and not (self.keys / "grant").exists()

    @property
    def is_passing(self) -> bool:
        """Whether this home was made to try words in, and goes with its agent."""
        return self.passing_mark.exists()

    @property
    def passing_mark(self) -> Path:
        """The file that says so; nothing but `recover --check` makes it."""
        return self.path / "passing"

    @property
    def leaving_mark(self) -> Path:
        """The file that says that this home was being deleted."""
        return self.path / "leaving"

    @property
    def is_half_removed(self) -> bool:
        """Whether a removal was stopped after its first step."""
        return not self.exists_identity and self.leaving_mark.exists()

    def settle_mark(self) -> None:
        """Let go of the mark in a home that has its key: its removal was stopped before anything was deleted."""
        if self.exists_identity:
            self.leaving_mark.unlink(missing_ok=True)

    def check_whole(self) -> None:
        """Refuse to make an identity among what a removal that was stopped has left of another one.

        Raises:
            UserError: it has.

        """
        if self.is_half_removed:
            raise UserError(
                f"{self.path} was being deleted when that was stopped",
                hint="`backup-peer leave --purge` finishes that; or name another folder with --home DIR",
            )

    def prepare(self) -> None:
        """Create the home, 0700: it holds names of files and keys.

        Raises:
            LocalError: the system refuses.

        """
        try:
            for folder in (self.path, self.keys, self.repository, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as exc:
            raise explain_denial(self.path, exc) from exc

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the home's lock while the block runs; yields False when another process has it.

        The kernel releases the lock when the process ends in whatever way, so no stale lock can remain.

        Raises:
            LocalError: the home can't be written.

        """
        try:
            handle = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise explain_denial(self.path, exc) from exc
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(handle)


def explain_denial(path: Path, error: OSError) -> LocalError:
    """Return what to tell of a home that the system does not let us use."""
    return explain_full(error, "the home", path) or LocalError(
        f"the home {path} can't be written: {error.strerror}",
        hint="is its disk mounted for writing, and the folder yours? else choose or copy to another one: --home DIR",
    )


def usual_home() -> Home:
    """Return the home that is meant where nothing names one: in the platform's folder for data."""
    return Home(Path(platformdirs.user_data_dir("backup-peer")))


def locate_home(given: str | None) -> Home:
    """Return the home that `--home`, else `BACKUPPEER_HOME`, else the platform's data folder names."""
    chosen = given or os.environ.get("BACKUPPEER_HOME")
    return Home(Path(chosen).expanduser().absolute()) if chosen else usual_home()


def write_private(path: Path, data: bytes) -> None:
    """Write a 0600 file so that after a crash it is there whole or not at all (temp, fsync, rename, fsync folder)."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)  # gone already, unless something went wrong
    sync_folder(path.parent)


def sweep_unfinished(folder: Path) -> None:
    """Remove what `write_private` left in a folder when it was killed; nobody else may be writing there now."""
    for path in folder.glob(".*.*"):
        if _UNFINISHED.fullmatch(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)


def sweep_edits(home: Home, now_ms: int) -> None:
    """Remove the copies of the settings that a command left which was killed; younger ones may be open still."""
    for path in home.path.glob(f"{EDIT_PREFIX}*"):
        with suppress(OSError):
            if path.lstat().st_mtime < now_ms / 1000 - EDIT_KEPT_S:
                path.unlink()


def sync_folder(path: Path) -> None:
    """Make durable which files a folder has: a rename is not, before."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
