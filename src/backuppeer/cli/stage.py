"""The stage of `demo`: temporary homes, and the real program run in them as separate processes.

Knows: the command line's JSON lines (DESIGN 10), processes, how to end every one of them. Must not know: the story.
Everything listens on loopback only. All processes are their own sessions, so that Ctrl-C reaches the stage alone,
which then takes them down in order: first those it started itself, then each home's agent, then the folder.
"""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Final, Self

from backuppeer.agent.home.home import Home
from backuppeer.cli.agents import ping_agent, stop_agent
from backuppeer.errors import BackupPeerError, ExitCode, LocalError

Json = dict[str, Any]
OnEvent = Callable[[Json], None]
SILENCE_S: Final = 180.0
"""A verb that says nothing for this long, progress included, hangs."""
_END_S: Final = 10.0
_STDERR_KEPT: Final = 2000


class VerbFailed(BackupPeerError):  # noqa: N818 - what happened, in the words of the verb that failed
    """A verb ended with an error of its own: its message, hint and exit code."""

    def __init__(self, verb: str, code: int, message: str, hint: str) -> None:
        super().__init__(f"{verb}: {message}", hint=hint)
        self.exit_code = ExitCode(code) if code in set(ExitCode) else ExitCode.UNEXPECTED


class Running:
    """A verb that goes on while the story continues; its JSON lines are read as they come."""

    def __init__(self, process: subprocess.Popen[bytes], verb: str, on_event: OnEvent) -> None:
        self.process = process
        self.seen: list[Json] = []
        self._verb = verb
        self._on_event = on_event
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._errors = b""
        self._threads = [
            threading.Thread(target=self._read_lines, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait_event(self, *names: str) -> Json:
        """Return the next event called one of `names`; others are shown on the way.

        Raises:
            VerbFailed: the verb ended, well or badly, without it.
            LocalError: silence.

        """
        for event in self._events():
            if event.get("event") in names:
                return event
        raise self._failure()

    def wait_done(self, *, may_be_incomplete: bool = False) -> Json:
        """Return the `done` event once the verb has ended with 0, or with 3 if it may be incomplete.

        Raises:
            VerbFailed: it ended otherwise.
            LocalError: silence.

        """
        for _ in self._events():
            pass
        code = self.process.wait()
        allowed = {ExitCode.DONE, ExitCode.INCOMPLETE} if may_be_incomplete else {ExitCode.DONE}
        done = [event for event in self.seen if event.get("event") == "done"]
        if code not in allowed or not done:
            raise self._failure()
        return done[-1]

    def end(self) -> None:
        """Ask the process to end, insist after a while, and let go of its pipes."""
        for act in (self.process.terminate, self.process.kill):
            if self.process.poll() is None:
                act()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(_END_S)
        for thread in self._threads:
            thread.join(_END_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _events(self) -> Iterator[Json]:
        while True:
            try:
                line = self._lines.get(timeout=SILENCE_S)
            except queue.Empty as exc:
                raise LocalError(f"{self._verb} said nothing for {SILENCE_S:.0f} s") from exc
            if line is None:
                return
            event = json.loads(line)
            self.seen.append(event)
            self._on_event(event)
            yield event

    def _failure(self) -> BackupPeerError:
        code = self.process.wait()
        for event in reversed(self.seen):
            if event.get("event") == "error":
                return VerbFailed(self._verb, code, str(event["message"]), str(event["hint"]))
        self._threads[1].join(_END_S)
        said = self._errors.decode(errors="replace").strip().splitlines()
        return VerbFailed(self._verb, code, said[-1] if said else f"ended with {code}", "")

    def _read_lines(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            if line.startswith(b"{"):
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self._errors = (self._errors + line)[-_STDERR_KEPT:]


class Party:
    """One peer of the story: a home of its own, and the verbs run there."""

    def __init__(self, stage: "Stage", home: Path) -> None:
        self._stage = stage
        self.home = home

    def start(self, *words: str) -> Running:
        """Start a verb and go on at once."""
        return self._stage.start(self.home, *words)

    def run(self, *words: str, stdin: str = "") -> Json:
        """Run a verb that works to its end and return its `done` event.

        Raises:
            VerbFailed: it ended with an error.

        """
        running = self._stage.start(self.home, *words, stdin=stdin)
        try:
            return running.wait_done()
        finally:
            self._stage.forget(running)

    def ask(self, *words: str) -> Any:
        """Run a verb that answers with one JSON value and return that.

        Raises:
            VerbFailed: it ended with an error.

        """
        command, environment = self._stage.command(self.home, *words)
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SILENCE_S, check=False
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise VerbFailed(words[0], done.returncode, said[0] if said else "no answer", "")
        return json.loads(done.stdout)

    def stop_agent(self) -> None:
        """End this home's agent; kill it if it can't be asked."""
        home = Home(self.home)
        pid = None
        try:
            found = ping_agent(home)
            pid = found.pid if found else None
            stop_agent(home)
        except BackupPeerError:
            if pid is not None:
                # The id was told by the agent of this temporary home a moment ago, and it has not ended since.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Stage:
    """Owns a temporary folder and every process of the story; leaving it leaves nothing behind."""

    def __init__(self, on_event: OnEvent) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="bp-demo-"))
        self.server = ""
        self._on_event = on_event
        self._running: list[Running] = []
        self._parties: list[Party] = []

    def __enter__(self) -> Self:
        """Return the stage."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take everything down; a second Ctrl-C does not stop that."""
        with _interrupts_ignored():
            for running in self._running:
                running.end()
            for party in self._parties:
                if party.home.exists():
                    party.stop_agent()
            # Only the folder made above is deleted, whatever it holds by now.
            shutil.rmtree(self.path, ignore_errors=True)

    def party(self, name: str) -> Party:
        """Return a new peer with an empty home."""
        made = Party(self, self.path / name)
        self._parties.append(made)
        return made

    def start_server(self) -> str:
        """Start the signaling server and return its URL; parties use it from now on.

        Raises:
            VerbFailed: it did not start.

        """
        # Among peers of one machine nobody need show that its key is no throwaway: the least work that there is.
        running = self.start(self.path / "server", "server", "--listen", "127.0.0.1:0", "--stamp-bits", "1")
        self.server = f"ws://{running.wait_event('ready')['listen']}"
        return self.server

    def start(self, home: Path, *words: str, stdin: str = "") -> Running:
        """Start a verb for `home` with `stdin` as its standard input, never a terminal."""
        command, environment = self.command(home, *words)
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        running = Running(process, words[0], self._on_event)
        self._running.append(running)
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(stdin.encode())
                process.stdin.close()
        return running

    def forget(self, running: Running) -> None:
        """End a verb that is no longer needed."""
        running.end()
        self._running.remove(running)

    def command(self, home: Path, *words: str) -> tuple[list[str], dict[str, str]]:
        """Return the command line of a verb and the environment to run it in."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BACKUPPEER_")}
        environment = kept | {
            "BACKUPPEER_HOME": str(home),
            "BACKUPPEER_SERVERS": self.server,
            "BACKUPPEER_BIND": "127.0.0.1",
            # The default folder is the interpreter's own library: nothing may be written there.
            "PYTHONPYCACHEPREFIX": str(self.path / "bytecode"),
        }
        return [sys.executable, "-m", "backuppeer.cli.main", *words, "--json"], environment


@contextlib.contextmanager
def end_signals_raised() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt while the block runs, so that it cleans up as on Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    with _handled(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def _handled(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals; tests run elsewhere
        return
    before = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, earlier in before:
            signal.signal(number, earlier)
