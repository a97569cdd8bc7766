"""`logs`: what the agent wrote down, oldest first, over all files of its log; -f goes on as it writes.

Knows: the log's files (`agent.home.logbook`), how its lines look to people. Must not know: what is logged, the agent:
it need not run. The log has no secrets; what a peer may have put into a line paints nothing.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, Self

import msgspec
import typer

from backuppeer.agent.home.home import Home
from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line
from backuppeer.cli.screen import DIM, RED, YELLOW, Screen
from backuppeer.cli.units import parse_moment
from backuppeer.errors import UserError
from backuppeer.limits import LOG_FILES, LOG_LINES_SHOWN, LOG_LOOK_S

_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_COLORS: Final = {"debug": DIM, "warning": YELLOW, "error": RED, "critical": RED}
_LINES: Final = 50
_HELP: Final = (
    "Show the agent's log.\n\nIts last 50 lines, or all --since a time. It has no keys, words, passphrases or codes, "
    "and no addresses of peers. For example: `backup-peer logs -f`, `backup-peer logs --since 1h --level warning`"
)
_Accepts = Callable[["LogLine"], bool]


class LogLine(msgspec.Struct, kw_only=True):
    """`logs`: a line of the agent's log."""

    time: str
    level: str
    event: str
    facts: dict[str, Any]


class LoggedLine(msgspec.Struct, kw_only=True):
    """`logs --follow`: as `LogLine`, but `message` for `event`, which is the name of a JSON line."""

    time: str
    level: str
    message: str
    facts: dict[str, Any]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="logs", help=_HELP)(logs)


def logs(
    ctx: typer.Context,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written, until Ctrl-C.")] = False,
    since: Annotated[str, typer.Option(metavar="1h|TIME", help="From then on: 1h ago, or 2026-11-22 21:30.")] = "",
    level: Annotated[str, typer.Option(metavar="|".join(_LEVELS), help="Only what is as grave, or graver.")] = "debug",
    lines: Annotated[
        int | None, typer.Option(min=1, max=LOG_LINES_SHOWN, metavar="N", help="So many lines, the last ones.")
    ] = None,
) -> int:
    """Show what was written, and with -f what is."""
    context = context_of(ctx)
    accepts = _choose(since, level)
    most = lines or (LOG_LINES_SHOWN if since else _LINES)
    with _Tail(context.home.logs / "agent.log") as tail:
        found = read_log(context.home, most, accepts, newest=tail.read())
        if follow:
            _follow(context, tail, found, accepts)
    show_lines(context.screen, found)
    return 0


def show_lines(screen: Screen, found: list[LogLine]) -> None:
    """Show lines of a log to people, or as one JSON array."""
    if screen.json:
        screen.value(found)
        return
    for line in found:
        _show(screen, line)
    if not found:
        screen.line("the agent has written nothing like that, or nothing yet")


def read_log(
    home: Home, most: int, accepts: _Accepts = lambda _: True, *, newest: list[LogLine] | None = None
) -> list[LogLine]:
    """Return the last `most` lines that are accepted, oldest first, from as many files of the log as it takes.

    newest: the lines of the file that is written to, where they were read already.
    """
    written = home.logs / "agent.log"
    found = [line for line in (_read_file(written) if newest is None else newest) if accepts(line)]
    for number in range(1, LOG_FILES + 1):
        if len(found) >= most:
            break
        found = [*filter(accepts, _read_file(written.with_name(f"{written.name}.{number}"))), *found]
    return found[-most:]


def _choose(since: str, level: str) -> _Accepts:
    if level not in _LEVELS:
        raise UserError(f"no such level: {level[:40]!r}", hint="for example: `backup-peer logs --level warning`")
    least = _LEVELS.index(level)
    first_s = parse_moment(since, time.time()) / 1e9 if since else 0.0

    def accepts(line: LogLine) -> bool:
        rank = _LEVELS.index(line.level) if line.level in _LEVELS else len(_LEVELS)
        return rank >= least and (not since or _moment_s(line.time) >= first_s)

    return accepts


def _follow(context: Context, tail: "_Tail", found: list[LogLine], accepts: _Accepts) -> NoReturn:
    """Show what is there and what comes; ends by Ctrl-C alone."""
    while True:
        for line in filter(accepts, found):
            _tell(context.screen, line)
        time.sleep(LOG_LOOK_S)
        found = tail.read()


def _tell(screen: Screen, line: LogLine) -> None:
    if screen.json:
        told = LoggedLine(time=line.time, level=line.level, message=line.event, facts=line.facts)
        screen.event("line", msgspec.to_builtins(told))
    else:
        _show(screen, line)


def _show(screen: Screen, line: LogLine) -> None:
    facts = dict(line.facts)
    trace = str(facts.pop("exception", ""))
    said = " ".join(f"{name}={value}" for name, value in facts.items())
    level = escape_line(f"{line.level:<7}")
    moment = escape_line(_write_moment(line.time))
    color = _COLORS.get(line.level)
    shown = screen.paint(level, color) if color else level
    screen.line(f"{moment}  {shown}  {escape_line(f'{line.event}  {said}'.rstrip())}", hang=4)
    for text in trace.splitlines():
        screen.line(f"    {escape_line(text)}")


def _write_moment(text: str) -> str:
    moment_s = _moment_s(text)
    try:
        local = datetime.fromtimestamp(moment_s, UTC).astimezone()
    except (ValueError, OverflowError):  # its year is none here
        return text
    return local.strftime("%Y-%m-%d %H:%M:%S") if moment_s else text


def _moment_s(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _read_file(path: Path) -> list[LogLine]:
    with _Tail(path) as whole:
        return whole.read()


class _Tail:
    """A file of the log, read bit by bit; when another one takes its place that is gone on with."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BufferedReader | None = None
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def read(self) -> list[LogLine]:
        """Return what was written since the last call, whole lines only."""
        return [line for text in self._read_texts() if (line := _parse(text)) is not None]

    def _read_texts(self) -> Iterator[bytes]:
        if self._file is None and not self._open():
            return
        yield from self._split()
        if self._is_replaced():
            yield from self._split()  # what came before it was put aside
            if self._open():
                yield from self._split()

    def _split(self) -> list[bytes]:
        assert self._file is not None  # noqa: S101 - by the caller
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return lines

    def _open(self) -> bool:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return False
        if self._file is not None:
            self._file.close()
        self._file, self._rest = file, b""
        return True

    def _is_replaced(self) -> bool:
        if self._file is None:
            return False
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)


def _parse(text: bytes) -> LogLine | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict):
        return None
    told = {name: str(line.pop(name, "")) for name in ("timestamp", "level", "event")}
    return LogLine(time=told["timestamp"], level=told["level"], event=told["event"], facts=line)
