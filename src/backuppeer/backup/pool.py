"""Worker processes of one restore, and the agent's own threads where there are none (ADR 0016).

Knows: starting, feeding and ending them. Must not know: what is in an order.

Why processes: opening and writing small files is a hundred short calls each, and threads of one interpreter spend a
fifth of the processor on handing its lock to each other (measured). A worker has the sealed bytes in memory shared with
the agent, an interpreter of its own, and one order at a time. Until the first is ready, and where none can be started,
orders are carried out by the thread that brings them.
"""

import mmap
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import IO, Final, Protocol, Self

import msgspec
import structlog

from backuppeer.backup.frames import receive_frame, send_frame
from backuppeer.backup.orders import Order, Piece, Report, carry_out
from backuppeer.backup.worker import MEMORY_BYTES, READY, STOP_AT, Start, Task
from backuppeer.crypto.keys import RepositoryKeys
from backuppeer.errors import LocalError
from backuppeer.files.write import FileWriter, RestoreTarget
from backuppeer.limits import RESTORE_WORKERS, WORKER_END_S, WORKER_LOOK_S

_log = structlog.get_logger()
_KEPT: Final = frozenset({"PATH", "LANG", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "LC_ALL", "LC_CTYPE", "TMPDIR"})
"""What a worker inherits of the environment: what the interpreter and the C library read."""


class CarriesOut(Protocol):
    """Does what orders say; called from several threads at once."""

    def carry_out(self, order: Order, pieces: Sequence[Piece], files: Sequence[FileWriter]) -> Report:
        """Return what came of it; whatever `check` raises when the restore was cancelled."""
        ...


class WorkerPool:
    """The workers of one restore into one target; thread-safe. `check` raises when the restore was cancelled."""

    def __init__(self, keys: RepositoryKeys, target: RestoreTarget, *, check: Callable[[], None]) -> None:
        self._keys, self._target, self._check = keys, target, check
        self._changed = threading.Condition()
        self._starting: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        workers = (*self._starting, *self._idle, *self._busy)
        for worker in workers:
            worker.dismiss()
        for worker in workers:
            worker.close()

    def start(self) -> None:
        """Start as many workers as there are processors for; returns at once. Once only."""
        for _ in range(min(_processors(), RESTORE_WORKERS)):
            try:
                self._starting.append(_Worker(self._keys, self._target))
            except OSError as exc:
                _log.warning("a worker process can't be started", reason=str(exc))

    def await_workers(self) -> int:
        """Wait until every worker that was started has begun or ended; return how many there are."""
        while True:
            with self._changed:
                self._look_at_starting()
                if not self._starting:
                    return len(self._idle) + len(self._busy)
                worker = self._starting[0]
            worker.wait()

    def carry_out(self, order: Order, pieces: Sequence[Piece], files: Sequence[FileWriter]) -> Report:
        """Carry out an order in a worker, or right here when none is ready yet.

        One that is ended from outside (by the system, for want of memory) does not end the restore: another, or this
        thread where there is none, goes on with its order.

        Raises:
            LocalError: a worker failed, or a second one was ended in the middle of this order.
            BackupPeerError: whatever `check` raises.

        """
        try:
            return self._carry_out(order, pieces, files)
        except _WorkerEndedError as exc:
            _log.warning("a worker process was ended from outside", reason=exc.message)
            return self._carry_out(msgspec.structs.replace(order, is_again=True), pieces, files)

    def _carry_out(self, order: Order, pieces: Sequence[Piece], files: Sequence[FileWriter]) -> Report:
        worker = self._take()
        if worker is None:
            return carry_out(order, pieces, files, keys=self._keys, target=self._target, check=self._check)
        report = None
        try:
            report = worker.carry_out(order, pieces, files, self._check)
        finally:
            self._give_back(worker, is_well=report is not None)
        self._target.count_notes(report.notes)
        return report

    def _take(self) -> "_Worker | None":
        with self._changed:
            while True:
                self._look_at_starting()
                if self._idle:
                    worker = self._idle.pop()
                    self._busy.add(worker)
                    return worker
                if not self._busy:
                    return None
                self._changed.wait(WORKER_LOOK_S)
                self._check()

    def _look_at_starting(self) -> None:
        for worker in list(self._starting):
            is_ready = worker.is_ready()
            if is_ready is None:
                continue
            self._starting.remove(worker)
            if is_ready:
                self._idle.append(worker)
            else:
                _log.warning("a worker process ended at once", code=worker.close())

    def _give_back(self, worker: "_Worker", *, is_well: bool) -> None:
        with self._changed:
            self._busy.discard(worker)
            if is_well:
                self._idle.append(worker)
            self._changed.notify()
        if not is_well:
            worker.close()


class _WorkerEndedError(LocalError):
    """A worker is gone, not by a fault of its own."""


class _Worker:
    """One process, its socket and the memory it shares with us. One order at a time, by one thread."""

    def __init__(self, keys: RepositoryKeys, target: RestoreTarget) -> None:
        """Start it.

        Raises:
            OSError: the system refused memory, descriptors or a process.

        """
        with _shared_file() as file:
            self._memory = mmap.mmap(file.fileno(), MEMORY_BYTES)
            self._socket, theirs = socket.socketpair()
            with theirs:
                try:
                    self._process = _spawn(theirs.fileno(), file.fileno())
                except BaseException:
                    self._socket.close()
                    raise
        start = Start(keys.export(), target.overwrite)
        try:
            send_frame(self._socket, msgspec.msgpack.encode(start), [target.folders.root_fd])
        except BaseException:
            self.close()
            raise

    def wait(self) -> None:
        """Wait until it says something, or has ended."""
        self._has_said(None)

    def is_ready(self) -> bool | None:
        """Say whether it has begun; False when it never will, None while that is open."""
        if not self._has_said(0):
            return None
        try:
            payload, _ = receive_frame(self._socket)
        except (EOFError, OSError):
            return False
        return payload == READY

    def carry_out(
        self, order: Order, pieces: Sequence[Piece], files: Sequence[FileWriter], check: Callable[[], None]
    ) -> Report:
        """Have an order carried out.

        Raises:
            LocalError: the process has ended, or failed.
            BackupPeerError: whatever `check` raises; nothing is written any more then.

        """
        start = 0
        for piece in pieces:
            self._memory[start : start + len(piece)] = piece
            start += len(piece)
        task = Task(order, [len(piece) for piece in pieces])
        try:
            send_frame(self._socket, msgspec.msgpack.encode(task), [file.fd for file in files])
            self._wait(check)
            report = msgspec.msgpack.decode(receive_frame(self._socket)[0], type=Report)
        except (EOFError, OSError) as exc:
            check()
            raise _WorkerEndedError(
                f"a worker process of the restore was ended from outside (code {self.close()})",
                hint="perhaps this machine is short of memory; what is finished stays, the same command asks about it",
            ) from exc
        if report.fault:
            _log.error("a worker process failed", exception=report.fault)
            raise LocalError("a worker process of the restore failed", hint="the agent's log says more")
        return report

    def _wait(self, check: Callable[[], None]) -> None:
        while not self._has_said(WORKER_LOOK_S):
            try:
                check()
            except BaseException:
                # It ends after the file it is at; until it has ended its descriptors of our files are in use.
                self.close()
                raise

    def _has_said(self, wait_s: float | None) -> bool:
        poll = select.poll()  # not select(): an agent has more than 1,024 descriptors
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(None if wait_s is None else wait_s * 1000))

    def dismiss(self) -> None:
        """Have it end: after the file it is at, if it is at one."""
        if not self._memory.closed:
            self._memory[STOP_AT] = 1
        self._socket.close()

    def close(self) -> int:
        """Return its exit code as soon as it has ended, which it is made to."""
        self.dismiss()
        self._memory.close()
        try:
            return self._process.wait(WORKER_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _shared_file() -> IO[bytes]:
    """Return a nameless file of MEMORY_BYTES; sealed bytes and a flag are all it ever holds."""
    if not hasattr(os, "memfd_create"):
        spare = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's `with` closes it
        spare.truncate(MEMORY_BYTES)
        return spare
    file = os.fdopen(os.memfd_create("backup-peer"), "w+b")
    file.truncate(MEMORY_BYTES)
    return file


def _spawn(*inherited: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        # -P: what lies in the working directory is nobody's module.
        [sys.executable, "-P", "-m", "backuppeer.backup.worker", *map(str, inherited)],
        pass_fds=inherited,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={name: value for name, value in os.environ.items() if name in _KEPT},
        start_new_session=True,
    )
