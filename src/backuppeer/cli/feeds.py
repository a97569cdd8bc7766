"""Where a streamed backup comes from: standard input, or a command that is run for it and must end well.

Knows: descriptors, processes. Must not know: the agent, what becomes of the bytes.
"""

import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Annotated, Final, NamedTuple, Protocol, Self

import typer

from backuppeer.cli.render import escape_line
from backuppeer.errors import LocalError, NotFoundError, UserError
from backuppeer.limits import COMMAND_END_S

_NAME: Final = "stdin"
_NO_SNAPSHOT: Final = "no snapshot was made"


class Stream(NamedTuple):
    """What the options ask for. `name`: of the file in the snapshot."""

    from_stdin: bool
    from_command: bool
    name: str

    @property
    def is_wanted(self) -> bool:
        """Whether the backup is of a stream and not of files."""
        return self.from_stdin or self.from_command


def read_stream(
    *,
    stdin: Annotated[bool, typer.Option("--stdin", help="Back up standard input as one file.")] = False,
    stdin_from_command: Annotated[
        bool,
        typer.Option(
            "--stdin-from-command",
            help="Back up what `-- CMD ARGS` prints; no snapshot if it fails.",
        ),
    ] = False,
    stdin_name: Annotated[
        str | None, typer.Option("--stdin-name", metavar="NAME", help="Its name in the snapshot.  [default: stdin]")
    ] = None,
) -> Stream:
    """Return what is asked for.

    Raises:
        UserError: both at once, or a name without either.

    """
    if stdin and stdin_from_command:
        raise UserError("both --stdin and --stdin-from-command", hint="a backup is of one stream: leave one out")
    if stdin_name is not None and not (stdin or stdin_from_command):
        raise UserError("--stdin-name without a stream", hint="add --stdin, or --stdin-from-command -- CMD ARGS")
    return Stream(stdin, stdin_from_command, _NAME if stdin_name is None else stdin_name)


class Feed(Protocol):
    """Gives the bytes of a stream; left, it lets go of what feeds it."""

    def __enter__(self) -> Self:
        """Make ready; nothing is run or read yet."""
        ...

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """End what feeds it."""
        ...

    def take(self, most: int) -> bytes:
        """Return at most so many next bytes; fewer, or none, only at the end.

        Raises:
            LocalError: not all of it can be had.

        """
        ...


class StandardInput:
    """Standard input, as it is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        pass

    def take(self, most: int) -> bytes:
        """Return the next bytes.

        Raises:
            LocalError: it can't be read.

        """
        try:
            # By its number: who reads through the object holds a lock that Ctrl-C can't end.
            return _read_full(sys.stdin.fileno(), most)
        except (OSError, ValueError) as exc:
            raise LocalError(
                f"can't read standard input: {exc}; {_NO_SNAPSHOT}",
                hint="pipe something in: `… | backup-peer backup --stdin`",
            ) from exc


class Command:
    """What a command prints. It is started when the first bytes are wanted, and ended when nobody wants more."""

    def __init__(self, words: Sequence[str]) -> None:
        """Look whether there is such a command.

        Raises:
            UserError: none was given.
            NotFoundError: there is none.

        """
        if not words or not words[0]:
            raise UserError("no command was given", hint="--stdin-from-command -- CMD ARGS, e.g. -- pg_dumpall")
        if shutil.which(words[0]) is None:
            raise NotFoundError(
                f"there is no command {escape_line(words[0])}", hint="give its whole path, or name it as in a shell"
            )
        self._words = list(words)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_left = False
        self._starting = threading.Lock()
        """Who starts it is another thread than who leaves it, and it runs before `Popen` returns."""
        self._in_use = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        with self._starting:
            self._is_left = True
            process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(COMMAND_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Not under the hands of who reads: its number could be another file's by then. A child of the command may hold
        # the other end for ever; then ours is closed with this process.
        if process.stdout is not None and self._in_use.acquire(timeout=COMMAND_END_S):
            process.stdout.close()

    def take(self, most: int) -> bytes:
        """Return the next bytes.

        Raises:
            LocalError: it can't be started, or ended badly.

        """
        with self._in_use:
            process = self._process or self._start()
            data = _read_output(process, most)
            # Its output is over; only its exit code tells whether that was all of it.
            code = 0 if data else process.wait()
        if code:
            raise LocalError(f"{self._show()} {_explain(code)}; {_NO_SNAPSHOT}", hint="what it said stands above")
        return data

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._starting:
            if self._is_left:
                raise LocalError(f"stopped; {_NO_SNAPSHOT}")
            try:
                self._process = subprocess.Popen(self._words, stdout=subprocess.PIPE)
            except OSError as exc:
                reason = (exc.strerror or str(exc)).lower()
                raise LocalError(
                    f"can't run {self._show()}: {reason}; {_NO_SNAPSHOT}",
                    hint="it is run as it stands, not by a shell: name a program that is there, and its arguments",
                ) from exc
            return self._process

    def _show(self) -> str:
        shown = escape_line(shlex.join(self._words))
        return shown if len(shown) <= 80 else f"{shown[:79]}…"


def choose_feed(stream: Stream, words: Sequence[str]) -> Feed:
    """Return where the bytes come from; `words`: what stands behind `--`.

    Raises:
        UserError: no command where one is needed, or words where none are.
        NotFoundError: there is no such command.

    """
    if stream.from_command:
        return Command(words)
    if words:
        raise UserError("--stdin and paths are two backups", hint="leave out one of them; several runs make several")
    return StandardInput()


def _explain(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _read_output(process: "subprocess.Popen[bytes]", most: int) -> bytes:
    if process.stdout is None or process.stdout.closed:
        return b""
    return _read_full(process.stdout.fileno(), most)


def _read_full(fd: int, most: int) -> bytes:
    """Read until so many bytes are there or the input ends: a pipe gives 64 KiB at a time."""
    parts: list[bytes] = []
    size = 0
    while size < most and (part := os.read(fd, most - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
