"""`sessions`: which peers are connected, over which path, how well, and what is under way."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final

import typer

from backuppeer.cli.caps import describe_caps
from backuppeer.cli.context import context_of
from backuppeer.cli.render import Column, draw_table, escape_line, format_moment, shorten_id, wrap_line
from backuppeer.cli.screen import Screen
from backuppeer.cli.units import format_duration, format_size
from backuppeer.control.api import Nothing
from backuppeer.control.client import Client
from backuppeer.control.sessions import SessionRow

WATCH_S: Final = 1.0
_RELAYED: Final = "relayed"
_NONE: Final = "none"
_GOOD: Final = "good"
_RECONNECTING: Final = "reconnecting"
_MOVES_BYTES_PER_S: Final = 1000
"""Below that it is the signs of life alone."""
_COLUMNS: Final = (
    Column("peer"),
    Column("state", keep=True),
    Column("rtt", "right", keep=True),
    Column("now", "right", keep=True),
    Column("quality", keep=True),
    Column("path", spare=True),
    Column("for", "right", keep=True, spare=True),
    Column("sent", "right", keep=True, spare=True),
    Column("received", "right", keep=True, spare=True),
    Column("since", keep=True, spare=True),
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="sessions", help="List sessions: path, speed, quality, work under way.")(sessions)


def sessions(
    ctx: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Keep the list up to date until Ctrl-C.")] = False,
) -> int:
    """Show all sessions, and peers that are being dialled."""
    context = context_of(ctx)
    screen, client = context.screen, context.client()
    if watch:
        _watch(screen, client)
    rows = _ask(client)
    if screen.json:
        screen.value(rows)
    else:
        for line in _draw(screen, rows):
            screen.line(line)
    return 0


def _ask(client: Client) -> list[SessionRow]:
    return client.call("sessions", Nothing(), list[SessionRow])


def _watch(screen: Screen, client: Client) -> None:
    """Show the list each second where it can be redrawn; elsewhere a line for each change. Ends by Ctrl-C alone."""
    is_redrawn = screen.is_live and screen.out_is_terminal
    before: dict[str, tuple[object, ...]] | None = None
    while True:
        rows = _ask(client)
        now = {row.peer_id: _mark(row) for row in rows}
        if is_redrawn:
            screen.redraw([*_draw(screen, rows), "Ctrl-C ends"])
        elif now != before and screen.json:
            screen.value(rows)
        elif now != before:
            for line in _tell_changes(rows, now, before):
                screen.line(line)
        before = now
        time.sleep(WATCH_S)


def _mark(row: SessionRow) -> tuple[object, ...]:
    """Return what makes a row another one: counts and times grow all the time."""
    return (_call(row), row.state, row.path, row.quality, row.reason, tuple(row.work))


def _tell_changes(
    rows: Sequence[SessionRow], now: dict[str, tuple[object, ...]], before: dict[str, tuple[object, ...]] | None
) -> Iterator[str]:
    moment = time.strftime("%Y-%m-%d %H:%M:%S")
    for row in rows:
        if before is None or before.get(row.peer_id) != now[row.peer_id]:
            yield f"{moment}  {_call(row)}  {'; '.join(_describe(row))}"
    for peer_id, mark in (before or {}).items():
        if peer_id not in now:
            yield f"{moment}  {mark[0]}  no session"
    if before is None and not rows:
        yield f"{moment}  no open sessions"


def _describe(row: SessionRow) -> Iterator[str]:
    """Yield what there is to say of a session in one line."""
    yield escape_line(row.state)
    if row.path != _NONE:
        yield f"{escape_line(row.path)}, {row.rtt_ms:.0f} ms, {escape_line(row.quality)}"
    yield from map(escape_line, row.work)
    if row.reason:
        yield escape_line(row.reason)


def _draw(screen: Screen, rows: Sequence[SessionRow]) -> list[str]:
    """Return the list as lines that fit the terminal."""
    if not rows:
        return ["no open sessions"]
    width = screen.columns if screen.out_is_terminal else 4096
    color = screen.has_color and screen.out_is_terminal
    now_s = time.time()
    drawn = draw_table(_COLUMNS, [_cells(row, now_s) for row in rows], width=width, color=color).splitlines()
    for row in rows:
        for text in _describe_further(row, now_s):
            line = f"{_call(row)}: {text}"
            drawn += wrap_line(line, width, indent="  ").splitlines() if screen.out_is_terminal else [line]
    return drawn


def _describe_further(row: SessionRow, now_s: float) -> Iterator[str]:
    """Yield what is to be said of a session beside its row."""
    if row.state == _RECONNECTING:
        when = f"next try in {format_duration(_until(row.next_try, now_s))}" if row.next_try else "trying now"
        yield f"lost since {format_moment(row.since)}, {escape_line(row.reason)}; {when}"
    if row.work:
        mean = f"; {format_size(row.bytes_per_s)}/s on average" if row.bytes_per_s else ""
        caps = f"; {describe_caps(row.caps)}" if row.caps else ""
        yield f"{escape_line(', '.join(row.work))}{mean}{caps}"
    is_relay_all = row.path == _RELAYED and row.quality_reason == "it goes by a relay"
    if row.quality and row.quality != _GOOD and not is_relay_all:
        yield f"{escape_line(row.quality)}, as {escape_line(row.quality_reason)}"
    if row.path == _RELAYED:
        speed = f" at {format_size(row.bytes_per_s)}/s" if row.bytes_per_s else ""
        why = f" because {row.path_reason}" if row.path_reason else ""
        yield f"relayed{speed}{escape_line(why)}"


def _call(row: SessionRow) -> str:
    return escape_line(row.alias) or shorten_id(row.peer_id)


def _until(moment: str, now_s: float) -> float:
    return max(0.0, datetime.fromisoformat(moment).timestamp() - now_s)


def _cells(row: SessionRow, now_s: float) -> list[str]:
    is_open = row.path != _NONE
    return [
        _call(row),
        escape_line(row.state),
        f"{row.rtt_ms:.0f} ms" if is_open else "-",
        f"{format_size(row.now_bytes_per_s)}/s" if row.now_bytes_per_s >= _MOVES_BYTES_PER_S else "-",
        escape_line(row.quality) or "-",
        escape_line(row.path) if is_open else "-",
        format_duration(max(0.0, now_s - datetime.fromisoformat(row.since).timestamp())),
        format_size(row.sent_bytes),
        format_size(row.received_bytes),
        format_moment(row.since),
    ]
