"""Counts what a process does to the disk and the network of one side, and lets it go wrong at one of these points.

Installed in a process of its own, which ends with it: the calls of `os`, of `sqlite3` and of the network in memory are
replaced. What is done to files of the other side, or to none of ours, is not counted.
"""

import errno
import os
import shutil
import signal
import sqlite3
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from backuppeer.transport.memory.link import Link


class Mishap(StrEnum):
    """What happens at the point."""

    NONE = "none"
    KILL = "kill"
    """SIGKILL just before the call; of a write, half is done."""
    POWER = "power"
    """A power cut: what was not fsynced is lost, names of files included, then SIGKILL."""
    FULL = "full"
    """From here on the disk takes nothing: ENOSPC."""
    QUOTA = "quota"
    """The same as EDQUOT."""
    FAULTY = "faulty"
    """This one call fails with EIO."""


_ERRORS = {Mishap.FULL: errno.ENOSPC, Mishap.QUOTA: errno.EDQUOT, Mishap.FAULTY: errno.EIO}
_SPACE = frozenset({"write", "open", "mkdir", "commit", "fsync", "link"})
"""What a full disk refuses; renaming and removing it still allows."""
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "COMMIT", "END")


class Injector:
    """`roots`: the folders of the side. `at`: at which point, counted from 1; 0 = never.

    `aside`: a folder in which what a power cut would bring back is kept meanwhile.
    """

    def __init__(self, roots: Sequence[Path], aside: Path, mishap: Mishap = Mishap.NONE, at: int = 0) -> None:
        self._roots = tuple(os.fspath(root) for root in roots)
        self._mishap, self._at = mishap, at
        self._lock = threading.RLock()
        self._loss = Loss(aside)
        self.count = 0
        self.kinds: list[str] = []
        self.has_struck = False

    def install(self) -> None:
        """Replace the calls, in the process that shall suffer."""
        self._loss.begin()
        for name in ("write", "pwrite", "ftruncate", "fsync", "fdatasync"):
            self._replace_by_descriptor(name)
        for name in ("rename", "replace", "unlink", "remove", "mkdir", "rmdir", "link", "truncate"):
            self._replace_by_path(name)
        self._replace_open()
        self._replace_sqlite()
        self._replace_network()

    def pass_point(self, kind: str, name: str, torn: Callable[[], object] | None = None) -> None:
        """Count; at the point, let it happen. `torn`: does half of the call.

        Raises:
            OSError: the disk is full or faulty from now on.

        """
        with self._lock:
            self.count += 1
            self.kinds.append(kind)
            if not self._at or self.count < self._at or self._mishap is Mishap.NONE:
                return
            if self._mishap in {Mishap.KILL, Mishap.POWER}:
                self._die(torn)
            if (self._mishap is Mishap.FAULTY and self.count > self._at) or kind not in _SPACE:
                return
            self.has_struck = True
            raise OSError(_ERRORS[self._mishap], os.strerror(_ERRORS[self._mishap]), name)

    def _die(self, torn: Callable[[], object] | None) -> None:
        if torn is not None:
            torn()
        if self._mishap is Mishap.POWER:
            self._loss.strike(keep_names=bool(self._at % 2))
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # nothing may follow

    def _is_ours(self, name: str) -> bool:
        return name.startswith(self._roots)

    def _path_of(self, descriptor: int) -> str:
        with suppress(OSError):
            return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - may be no path at all
        return ""

    def _replace_by_descriptor(self, name: str) -> None:
        call = getattr(os, name)
        kind = {"pwrite": "write", "ftruncate": "write", "fdatasync": "fsync"}.get(name, name)

        def counted(descriptor, *rest):
            path = self._path_of(descriptor)
            if not self._is_ours(path):
                return call(descriptor, *rest)
            torn = (lambda: call(descriptor, rest[0][: len(rest[0]) // 2])) if name == "write" else None
            self.pass_point(kind, path, torn)
            with self._lock:
                if kind == "write":
                    self._loss.note_write(path)
                done = call(descriptor, *rest)
                if kind == "fsync":
                    self._loss.note_sync(path)
                return done

        setattr(os, name, counted)

    def _replace_by_path(self, name: str) -> None:
        call = getattr(os, name)
        kind = {"replace": "rename", "remove": "unlink"}.get(name, name)

        def counted(path, *rest, **options):
            places = [os.fsdecode(place) for place in (path, *rest[:1]) if isinstance(place, (str, bytes, os.PathLike))]
            if options.get("dir_fd") is not None or not self._is_ours(places[0]):
                return call(path, *rest, **options)
            self.pass_point(kind, places[0])
            with self._lock, self._loss.changing(kind, places):
                return call(path, *rest, **options)

        setattr(os, name, counted)

    def _replace_open(self) -> None:
        call = os.open

        def counted(path, flags, *rest, **options):
            place = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
            is_new = flags & os.O_CREAT and self._is_ours(place) and not os.path.lexists(place)
            if not is_new or options.get("dir_fd") is not None:
                return call(path, flags, *rest, **options)
            self.pass_point("open", place)
            with self._lock, self._loss.changing("open", [place]):
                return call(path, flags, *rest, **options)

        os.open = counted

    def _replace_sqlite(self) -> None:
        connect, injector = sqlite3.connect, self

        class Counted(sqlite3.Connection):
            place = ""

            def execute(self, sql, *rest):
                injector.pass_statement(self, sql)
                return super().execute(sql, *rest)

            def executescript(self, sql):
                injector.pass_statement(self, "COMMIT")
                return super().executescript(sql)

            def __exit__(self, *exc):
                if self.in_transaction and exc[0] is None:
                    injector.pass_statement(self, "COMMIT")
                return super().__exit__(*exc)

        def counted(path, *rest, **options):
            made = connect(path, *rest, factory=Counted, **options)
            made.place = os.fspath(path)
            return made

        sqlite3.connect = counted

    def pass_statement(self, connection: sqlite3.Connection, sql: str) -> None:
        """Count a statement that commits; SQLite says of a full disk what it says."""
        verb = sql.split(None, 1)[0].upper()
        is_commit = verb in {"COMMIT", "END"} or (verb in _WRITES and not connection.in_transaction)
        if not is_commit or "TEMP" in sql.upper() or not self._is_ours(connection.place):
            return
        try:
            self.pass_point("commit", connection.place)
        except OSError as exc:
            # As SQLite does: only ENOSPC is "full" to it, a quota is a fault like any other.
            is_full = exc.errno == errno.ENOSPC
            code = sqlite3.SQLITE_FULL if is_full else sqlite3.SQLITE_IOERR_WRITE
            text = "database or disk is full" if is_full else "disk I/O error"
            error = sqlite3.OperationalError(text)
            error.sqlite_errorcode = code
            raise error from None

    def count_sends(self, stream: type) -> None:
        """Count the writes of a kind of stream, as those of the network in memory are."""
        write, injector = stream.write, self

        async def counted(self, data):
            injector.pass_point("send", "")
            await write(self, data)

        stream.write = counted

    def _replace_network(self) -> None:
        carry, injector = Link.carry, self

        def counted(link, pipe, piece):
            injector.pass_point("send", "")
            carry(link, pipe, piece)

        Link.carry = counted


class Loss:
    """What a power cut takes: bytes written and not fsynced, names changed in folders that were not fsynced."""

    def __init__(self, aside: Path) -> None:
        self._aside = os.fspath(aside)
        self._lengths: dict[str, int] = {}
        self._undo: list[tuple[str, Callable[[], object]]] = []
        self._saved = 0
        self._calls = {name: getattr(os, name) for name in ("rename", "unlink", "link", "truncate")}

    def begin(self) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)
        os.mkdir(self._aside)  # noqa: PTH102 - a string, as all here

    def note_write(self, path: str) -> None:
        if path not in self._lengths:
            self._lengths[path] = os.path.getsize(path)  # noqa: PTH202 - a name as the kernel gave it

    def note_sync(self, path: str) -> None:
        self._lengths.pop(path, None)
        self._undo = [(folder, undo) for folder, undo in self._undo if folder != path]

    def changing(self, kind: str, places: Sequence[str]) -> "_Change":
        return _Change(self, kind, places)

    def strike(self, *, keep_names: bool) -> None:
        """Leave the disk as it may be found after the cut; with `keep_names` only bytes are lost."""
        for path, length in self._lengths.items():
            with suppress(OSError):
                self._calls["truncate"](path, length)
        for _, undo in [] if keep_names else reversed(self._undo):
            with suppress(OSError):
                undo()

    def prepare(self, kind: str, places: Sequence[str]) -> tuple[str, Callable[[], object]] | None:
        """Return how to take back a change of names, before it is done."""
        first, last = places[0], places[-1]
        folder, calls = str(Path(last).parent), self._calls
        if kind in {"open", "link"}:
            return folder, lambda: calls["unlink"](last)
        if kind == "mkdir":
            return folder, lambda: shutil.rmtree(last, ignore_errors=True)
        saved = self._save(last)
        if kind == "unlink":
            return folder, lambda: saved and calls["rename"](saved, last)
        if kind != "rename":
            return None

        def undo() -> None:
            calls["rename"](last, first)
            if saved:
                calls["rename"](saved, last)

        if first in self._lengths:
            self._lengths[last] = self._lengths.pop(first)
        return folder, undo

    def _save(self, path: str) -> str:
        """Keep what a name stands for under another one."""
        with suppress(OSError):
            if stat.S_ISREG(os.lstat(path).st_mode):
                self._saved += 1
                saved = f"{self._aside}/{self._saved}"
                self._calls["link"](path, saved)
                return saved
        return ""

    def add(self, change: tuple[str, Callable[[], object]]) -> None:
        self._undo.append(change)


class _Change:
    """A change of names that counts only if it succeeds."""

    def __init__(self, loss: Loss, kind: str, places: Sequence[str]) -> None:
        self._loss, self._prepared = loss, loss.prepare(kind, places)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._prepared is not None:
            self._loss.add(self._prepared)
