"""What the command line says, and where: results on stdout, questions, notes and errors on stderr.

Knows: whether people or programs read (`--json`, terminals, NO_COLOR), JSON lines, questions. Must not know: verbs.
Every write goes through here, so that a reader who closes the pipe ends the command in one quiet way.
"""

import contextlib
import io
import os
import shutil
import termios
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

import msgspec

from backuppeer.cli.render import (
    PIPE_COLUMNS,
    Column,
    add_home,
    draw_table,
    encode_line,
    escape_line,
    strip_color,
    wrap_line,
)
from backuppeer.errors import (
    BackupPeerError,
    DeclinedError,
    ExitCode,
    InterruptedByUserError,
    LocalError,
    UserError,
    full_disk,
    is_out_of_room,
)

GREEN: Final = "32"
YELLOW: Final = "33"
RED: Final = "31"
BOLD: Final = "1"
DIM: Final = "2"
_CLEAR_LINE: Final = "\r\x1b[K"


class OutputClosed(InterruptedByUserError):  # noqa: N818 - nobody's error: the reader has had enough
    """The reader of stdout went away; end without a word, with the code of a program that SIGPIPE ended (ADR 40)."""

    exit_code = ExitCode.OUTPUT_CLOSED


class Screen:
    """The three streams of one command, and how it speaks to them."""

    def __init__(self, streams: tuple[TextIO, TextIO, TextIO], *, json: bool, yes: bool) -> None:
        self._in, self._out, self._err = streams
        self.json = json
        self.yes = yes
        dumb = os.environ.get("TERM") == "dumb"
        self.is_live = self._err.isatty() and not dumb and not json
        """Whether a line may be redrawn."""
        self.has_color = self.is_live and not os.environ.get("NO_COLOR")
        self.is_quiet = self.is_verbose = False
        """Whether nothing is told of how work goes, or each step, where people read."""
        self.out_is_terminal = self._out.isatty()
        self.can_ask = self._in.isatty() and self._err.isatty()
        self.home = ""
        """The option that commands in what is said need; empty where the home is the usual one."""
        self.input_ended = False
        """Whether a question met the end of the input: there will be no more answers."""
        self.has_fault = False
        """Whether a host was caught at something: then no exit code says that all is well."""
        self._live_shown = False
        self._drawn = 0
        """Lines that `redraw` drew."""
        self._lock = threading.RLock()
        """The spinner writes from its own thread."""

    @property
    def columns(self) -> int:
        """Width of the terminal."""
        return max(40, shutil.get_terminal_size().columns)

    @property
    def rows(self) -> int:
        """Height of the terminal."""
        return shutil.get_terminal_size().lines

    def paint(self, text: str, style: str) -> str:
        """Return `text` in a colour (SGR code), or as it is where colours are not wanted."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.has_color else text

    # --- stdout
    def line(self, text: str = "", *, hang: int | None = None) -> None:
        """Say something to a person on stdout; nothing with --json. The caller has escaped what is foreign.

        hang: the text is wrapped at spaces on a terminal, further lines are indented by this; None = never wrapped.
        """
        if self.json:
            return
        # Painted for who sits at the terminal: what goes into a file or a pipe has no colours.
        shown = text if self.out_is_terminal else strip_color(text)
        self._write(self._out, f"{shown if hang is None else self._advise(self._out, shown, hang)}\n")

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Draw a table for a person, as wide as the terminal at most."""
        width = self.columns if self.out_is_terminal else PIPE_COLUMNS
        color = self.has_color and self.out_is_terminal
        self._write(self._out, draw_table(columns, rows, width=width, color=color))

    def redraw(self, lines: Sequence[str]) -> None:
        """Draw lines on a terminal in place of those of the last call, in one write, so that nothing flickers.

        The caller keeps each line within `columns`; what is more than the terminal is high is counted, not shown.
        """
        room = self.rows - 1
        shown = list(lines) if len(lines) <= room else [*lines[: room - 1], f"… and {len(lines) - room + 1} lines more"]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._write(self._out, up + "".join(f"\r{line}\x1b[K\n" for line in shown) + "\x1b[J")
        self._drawn = len(shown)

    def value(self, value: object) -> None:
        """Print one JSON value (struct, list of structs, mapping) on stdout."""
        self._write(self._out, encode_line(msgspec.to_builtins(value)) + "\n")

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Print one event as a JSON line, if --json."""
        if self.json:
            self._write(self._out, encode_line({"event": name, **data}) + "\n")

    def done(self, result: msgspec.Struct | Mapping[str, Any]) -> None:
        """Print the last JSON line of a verb that works, if --json."""
        if self.json:
            self.event("done", msgspec.to_builtins(result))

    def text(self, text: str) -> None:
        """Write a text for programs on stdout as it is."""
        self._write(self._out, text)

    def octets(self, data: bytes | memoryview) -> None:
        """Write bytes on stdout as they are.

        Raises:
            OSError: stdout takes no more.

        """
        with self._lock:
            self.end_live()
            try:
                self._out.buffer.write(data)
                self._out.buffer.flush()
            except BrokenPipeError as exc:
                _silence(self._out)
                raise OutputClosed("the reader of the output went away") from exc

    # --- stderr
    def note(self, text: str) -> None:
        """Tell a fact or warning on stderr."""
        self._tell("note:", YELLOW, text)

    def alarm(self, text: str, hint: str) -> None:
        """Tell on stderr what a host was caught at."""
        self._tell("alarm:", RED, text)
        if hint:
            self.hint(hint)

    def aside(self, text: str, *, hang: int = 2) -> None:
        """Write a line on stderr that belongs to the talk with a person: a plan, a question's background."""
        self._write(self._err, f"{self._advise(self._err, text, hang)}\n")

    def hint(self, text: str) -> None:
        """Advise on stderr."""
        self._tell("hint:", BOLD, text)

    def error(self, error: BackupPeerError) -> None:
        """Tell the error that ends the command: on stderr, and as the last JSON line if --json."""
        if isinstance(error, (DeclinedError, InterruptedByUserError)):  # a person's own wish is no error
            self.aside(escape_line(error.message))
        else:
            self._tell("error:", RED, error.message)
        if error.advice:
            self.hint(error.advice)
        hint = add_home(error.advice, self.home)
        self.event("error", {"code": int(error.exit_code), "message": error.message, "hint": hint})

    def live(self, text: str) -> None:
        """Redraw the one live line on stderr; the caller keeps it short. Only if `is_live`."""
        if self.is_live and not self.is_quiet:
            with self._lock:
                self._live_shown = False
                self._write(self._err, _CLEAR_LINE + text)
                self._live_shown = True

    def end_live(self) -> None:
        """Wipe the live line."""
        with self._lock:
            if self._live_shown:
                self._live_shown = False
                self._write(self._err, _CLEAR_LINE)

    # --- questions
    def confirm(self, question: str, *, unanswered: str) -> bool:
        """Ask a yes-or-no question; --yes answers it. Anything but y or yes is no.

        Raises:
            UserError: nobody is there to ask; `unanswered` names what was asked.

        """
        if self.yes:
            return True
        if not self.can_ask:
            raise UserError(f"{unanswered}, and there is no terminal to ask on", hint="add --yes to agree beforehand")
        return self.read_answer(f"{question} [y/N] ").strip().lower() in {"y", "yes"}

    def read_answer(self, prompt: str, *, goes_on: bool = False) -> str:
        """Read one line from the terminal; end of input is an empty answer, and sets `input_ended`.

        goes_on: it is the next line of an answer, which may have been pasted together with the one before.
        """
        if not goes_on:
            _drop_typed(self._in)
        self._write(self._err, f"{self._wrap(self._err, prompt.rstrip(' '), 2)} ")
        try:
            line = self._in.readline()
        except KeyboardInterrupt:
            # The terminal shows ^C behind the question: what comes next starts on a line of its own.
            self._write(self._err, "\n")
            raise
        if not line.endswith("\n"):
            self.input_ended = True
            self._write(self._err, "\n")
        return line.rstrip("\n")

    def _tell(self, label: str, style: str, text: str) -> None:
        line = f"{self.paint(label, style)} {escape_line(text)}"
        self._write(self._err, f"{self._advise(self._err, line, len(label) + 1)}\n")

    def _advise(self, stream: TextIO, text: str, hang: int) -> str:
        return self._wrap(stream, add_home(text, self.home), hang)

    def _wrap(self, stream: TextIO, text: str, hang: int) -> str:
        """Wrap for people at a terminal; what programs and files get stays on one line."""
        if self.json or not stream.isatty():
            return text
        return "\n".join(wrap_line(line, self.columns, indent=" " * hang) for line in text.split("\n"))

    def _write(self, stream: TextIO, text: str) -> None:
        with self._lock:
            self.end_live()
            try:
                stream.write(text)
                stream.flush()
            except BrokenPipeError as exc:
                _silence(stream)
                raise OutputClosed("the reader of the output went away") from exc
            except OSError as exc:
                _silence(stream)
                if stream is not self._err:  # of what can't be said there, nothing can be said
                    raise explain_output(exc) from exc


def explain_output(exc: OSError) -> LocalError:
    """Return the error for standard output that takes no more."""
    if is_out_of_room(exc):
        return full_disk("standard output", hint="free some space there, or send it elsewhere")
    return LocalError(
        f"can't write to standard output: {(exc.strerror or str(exc)).lower()}",
        hint="what was done is done; send what is said elsewhere, and run it again",
    )


def _drop_typed(stream: TextIO) -> None:
    """Throw away what was typed before the question stood there: it answers something else, or nothing."""
    with contextlib.suppress(termios.error, io.UnsupportedOperation):  # no terminal: nobody types
        termios.tcflush(stream, termios.TCIFLUSH)


def _silence(stream: TextIO) -> None:
    """Point a broken stream at nothing, so that the interpreter's last flush can't fail too."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        return
