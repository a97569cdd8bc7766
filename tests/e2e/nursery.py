"""Verbs that need not read the program anew: forks of a process that has imported the command line and done nothing.

A verb takes 0.2 s of processor time to import what it is made of and 0.03 s to do what it is asked, and the end-to-end
tests call thousands. What is forked is a process like any other: its own words, environment, streams and end. Only the
import is not seen again. So agents, servers and verbs that go on beside a test (`Home.start`) are started as people
start them, and so is any verb in an environment other than that of the tests.
"""

import array
import atexit
import contextlib
import gc
import importlib
import os
import pickle
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import backuppeer.cli

REQUEST_BYTES = 128 * 1024
INPUT_BYTES = 32 * 1024
"""What surely fits into a pipe that nobody reads yet."""
APART = ("backuppeer.cli.serve", "backuppeer.cli.routing", "backuppeer.cli.mounted")
"""Not of the command line: the agent's parts, and what looks for a library when it is imported."""
ENVIRONMENT = {"PYTHONUTF8": "1"}


class Nursery:
    """The process that is forked from, started when it is first needed; it ends with the one that started it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None
        self._usual: dict[str, str] = {}

    def fits(self, environment: dict[str, str], stdin: bytes) -> bool:
        """Tell whether such a verb is as if started anew: imports depend on no variable that is the program's own."""
        self._open()
        return _usual(environment) == self._usual and len(stdin) <= INPUT_BYTES

    def run(
        self, words: Sequence[str | bytes], environment: dict[str, str], stdin: bytes, timeout_s: float
    ) -> tuple[int, bytes, bytes]:
        """Run a verb to its end; return its exit code and what it said on both streams.

        Raises:
            subprocess.TimeoutExpired: it did not end in time; it was killed.

        """
        mine, theirs = zip(*(os.pipe()[::way] for way in (-1, 1, 1, 1)), strict=True)
        try:
            os.write(mine[0], stdin)
            request = pickle.dumps((words, environment, str(Path.cwd())))
            assert len(request) <= REQUEST_BYTES
            self._send(request, theirs)
        finally:
            for descriptor in (*theirs, mine[0]):
                os.close(descriptor)
        said, told, end = _read_all(mine[1:], timeout_s, words)
        assert end, f"{words} ended in no way that is known: {told[-2000:]!r}"
        return int(end.split()[-1]), said, told

    def _open(self) -> None:
        with self._lock:
            if self._process is not None:
                return
            self._door, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            environment = dict(os.environ) | ENVIRONMENT
            self._usual = _usual(environment)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "e2e.nursery", str(inner.fileno())],
                cwd=Path(__file__).parents[1],
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[inner.fileno()],
            )
            inner.close()
            atexit.register(self.close)

    def _send(self, request: bytes, descriptors: Sequence[int]) -> None:
        assert self._door is not None
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        self._door.sendmsg([request], [rights])

    def close(self) -> None:
        """End it, if it was needed."""
        if self._process is not None and self._door is not None:
            self._door.close()
            self._process.wait(30)
            self._process = None


def _usual(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(("BACKUPPEER_", "PYTEST_"))}


def _read_all(pipes: Sequence[int], timeout_s: float, words: Sequence[str | bytes]) -> list[bytes]:
    """Return what comes out of each pipe until its end."""
    said = dict.fromkeys(pipes, b"")
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for pipe in pipes:
            stack.callback(os.close, pipe)
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout_s)
            if not ready:
                os.kill(int(said[pipes[-1]].split()[0]), signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(words), timeout_s)
            for key, _ in ready:
                part = os.read(key.fd, 1 << 20)
                said[key.fd] += part
                if not part:
                    selector.unregister(key.fd)
    return list(said.values())


def main() -> int:
    """Import the command line, then fork for each request; the forks return from here with their exit codes."""
    door = socket.socket(fileno=int(sys.argv[1]))
    for module in pkgutil.iter_modules(backuppeer.cli.__path__, "backuppeer.cli."):
        if not module.name.startswith(APART):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()
    while True:
        request, ancillary, _, _ = door.recvmsg(REQUEST_BYTES, socket.CMSG_SPACE(4 * 4))
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # those that waited for verbs
        if not request:
            return 0
        descriptors = array.array("i", ancillary[0][2])
        if os.fork() == 0:
            door.close()
            return _watch(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _watch(request: bytes, descriptors: Sequence[int]) -> int:
    """Fork once more; say who the child is and how it ended. The child returns its exit code from here."""
    *streams, telling = descriptors
    child = os.fork()
    if child == 0:
        os.close(telling)
        return _become(request, streams)
    for descriptor in streams:
        os.close(descriptor)
    os.write(telling, f"{child} ".encode())
    _, status = os.waitpid(child, 0)
    os.write(telling, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: bytes, streams: Sequence[int]) -> int:
    words, environment, folder = pickle.loads(request)  # noqa: S301 - of the process that started us
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # As Python opens them in its UTF-8 mode.
    sys.stdin = os.fdopen(0, "r", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    front = importlib.import_module("backuppeer.cli.main")
    sys.argv = [str(front.__file__), *map(os.fsdecode, words)]
    return front.main()


if __name__ == "__main__":
    sys.exit(main())
