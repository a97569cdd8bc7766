"""Worker processes of one job: started, asked, ended, and given to whoever needs one (ADR 0016).

Knows: sockets, shared memory, processes. Must not know: what a worker does (`worker` does).

Why processes: reading or writing small files is a hundred short calls each, and threads of one interpreter spend a
fifth of the processor on handing its lock to each other (measured). A worker has memory shared with the agent, an
interpreter of its own, and one thing to do at a time.
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
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Final, Self

import msgspec
import structlog

from backuppeer.backup.frames import FAULT, READY, receive_frame, send_frame
from backuppeer.errors import LocalError
from backuppeer.giving_way import lower_process
from backuppeer.limits import WORKER_END_S, WORKER_LOOK_S

_log = structlog.get_logger()
_KEPT: Final = frozenset({"PATH", "LANG", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "LC_ALL", "LC_CTYPE", "TMPDIR"})
"""What a worker inherits of the environment: what the interpreter and the C library read."""
Check = Callable[[], None]


class WorkerEndedError(LocalError):
    """A worker is gone, not by a fault of its own."""


class Job(msgspec.Struct, frozen=True):
    """What every worker of a job is started with: the first message, descriptors with it, bytes of shared memory.

    gives_way: nobody waits for it, so it comes after others at processor and disk.
    """

    start: bytes
    descriptors: tuple[int, ...]
    memory_bytes: int
    gives_way: bool = False


class Workers:
    """The workers of one job; thread-safe. `check` raises when the job was cancelled. Leaving `with` ends them all."""

    def __init__(self, job: Job, *, check: Check) -> None:
        self._job, self._check = job, check
        self._changed = threading.Condition()
        self._starting: list[Worker] = []
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()

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

    def start(self, most: int) -> None:
        """Start at most so many; returns at once. Once only."""
        for _ in range(most):
            try:
                self._starting.append(Worker(self._job))
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

    def take(self) -> "Worker | None":
        """Return a worker that has nothing to do, as soon as there is one; None when there is none at all (yet).

        Raises:
            BackupPeerError: whatever `check` raises.

        """
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

    def give_back(self, worker: "Worker", *, is_well: bool) -> None:
        """Let others have it; one that is not well is ended."""
        with self._changed:
            self._busy.discard(worker)
            if is_well:
                self._idle.append(worker)
            self._changed.notify()
        if not is_well:
            worker.close()


class Worker:
    """One process, its socket and the memory it shares with us. Asked by one thread at a time."""

    def __init__(self, job: Job) -> None:
        """Start it.

        Raises:
            OSError: the system refused memory, descriptors or a process.

        """
        with ExitStack() as failed:
            with shared_file(job.memory_bytes) as file:
                self._pages = mmap.mmap(file.fileno(), job.memory_bytes)
                self.memory = memoryview(self._pages)
                """What both see; the last byte is the flag by which it is told to stop."""
                self._socket, theirs = socket.socketpair()
                failed.callback(self._socket.close)
                with theirs:
                    self._process = _spawn(theirs.fileno(), file.fileno())
                if job.gives_way:
                    lower_process(self._process.pid)
            failed.callback(self.close)
            send_frame(self._socket, job.start, job.descriptors)
            failed.pop_all()

    def wait(self) -> None:
        """Wait until it says something, or has ended, but no longer than a moment: another thread may have heard it."""
        self._has_said(WORKER_LOOK_S)

    def is_ready(self) -> bool | None:
        """Say whether it has begun; False when it never will, None while that is open."""
        if not self._has_said(0):
            return None
        try:
            payload, _ = receive_frame(self._socket)
        except (EOFError, OSError):
            return False
        return payload == READY

    def ask(self, message: bytes, descriptors: Sequence[int], check: Check) -> bytearray:
        """Send a message and return the answer.

        Raises:
            WorkerEndedError: the process has ended, by nothing that it knew of.
            LocalError: it failed.
            BackupPeerError: whatever `check` raises; it does nothing any more then.

        """
        try:
            send_frame(self._socket, message, descriptors)
            self._wait(check)
            answer, _ = receive_frame(self._socket)
        except (EOFError, OSError) as exc:
            check()
            raise WorkerEndedError(
                f"a worker process was ended from outside (code {self.close()})",
                hint="perhaps this machine is short of memory; what is finished stays",
            ) from exc
        if answer.startswith(FAULT):
            _log.error("a worker process failed", exception=answer[len(FAULT) :].decode(errors="replace"))
            raise LocalError("a worker process failed", hint="the agent's log says more")
        return answer

    def _wait(self, check: Callable[[], None]) -> None:
        with ExitStack() as stopped:
            # It ends after the file it is at; until it has ended its descriptors of our files are in use.
            stopped.callback(self.close)
            while not self._has_said(WORKER_LOOK_S):
                check()
            stopped.pop_all()

    def _has_said(self, wait_s: float) -> bool:
        poll = select.poll()  # not select(): an agent has more than 1,024 descriptors
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))

    def dismiss(self) -> None:
        """Have it end: after the file it is at, if it is at one."""
        if not self._pages.closed:
            self.memory[-1] = 1
        self._socket.close()

    def close(self) -> int:
        """Return its exit code as soon as it has ended, which it is made to."""
        self.dismiss()
        self.memory.release()
        self._pages.close()
        try:
            return self._process.wait(WORKER_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def count_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shared_file(size_bytes: int) -> IO[bytes]:
    """Return a nameless file, which has no path that anybody could open."""
    if not hasattr(os, "memfd_create"):
        spare = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's `with` closes it
        spare.truncate(size_bytes)
        return spare
    file = os.fdopen(os.memfd_create("backup-peer"), "w+b")
    file.truncate(size_bytes)
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
