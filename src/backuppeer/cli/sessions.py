"""`sessions`: which peers are connected, over which path, and how well."""

from typing import Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import Column, escape_line, format_moment, shorten_id
from backuppeer.cli.units import format_size
from backuppeer.control.api import Nothing
from backuppeer.control.sessions import SessionRow

_RELAYED: Final = "relayed"
_COLUMNS: Final = (
    Column("peer", keep=True),
    Column("name"),
    Column("state"),
    Column("path"),
    Column("rtt", "right", keep=True),
    Column("sent", "right", keep=True),
    Column("received", "right", keep=True),
    Column("since", keep=True),
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="sessions", help="List open sessions.")(sessions)


def sessions(ctx: typer.Context) -> int:
    """Show all sessions."""
    context = context_of(ctx)
    rows = context.client().call("sessions", Nothing(), list[SessionRow])
    if context.screen.json:
        context.screen.value(rows)
    elif not rows:
        context.screen.line("no open sessions")
    else:
        context.screen.table(_COLUMNS, [_cells(row) for row in rows])
        for row in rows:
            if row.path == _RELAYED:
                context.screen.line(_describe_relayed(row), hang=2)
    return 0


def _describe_relayed(row: SessionRow) -> str:
    """Return what a person should know of a session that is slower than it might be."""
    speed = f" at {format_size(row.bytes_per_s)}/s" if row.bytes_per_s else ""
    why = f" because {row.path_reason}" if row.path_reason else ""
    return f"{escape_line(row.alias) or shorten_id(row.peer_id)}: relayed{speed}{escape_line(why)}"


def _cells(row: SessionRow) -> list[str]:
    return [
        shorten_id(row.peer_id),
        escape_line(row.alias) or "-",
        escape_line(row.state),
        escape_line(row.path),
        f"{row.rtt_ms:.0f} ms" if row.path != "none" else "-",
        format_size(row.sent_bytes),
        format_size(row.received_bytes),
        format_moment(row.since),
    ]
