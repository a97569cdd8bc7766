"""`peers`: everybody this peer has an agreement with, either way round."""

from typing import Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import Column, escape_line, format_moment, shorten_id
from backuppeer.cli.units import format_size
from backuppeer.control.api import Nothing, PeerRow

_COLUMNS: Final = (
    Column("peer", keep=True),
    Column("name"),
    Column("role"),
    Column("used", "right"),
    Column("of", "right"),
    Column("trust"),
    Column("last seen"),
)
_ROLES: Final = {"host": "my host", "owner": "I host", "both": "both"}


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="peers", help="List your peers.")(peers)


def peers(ctx: typer.Context) -> int:
    """Show all peers, and the safety words of those not compared yet."""
    context = context_of(ctx)
    screen = context.screen
    rows = context.client().call("peers", Nothing(), list[PeerRow])
    if screen.json:
        screen.value(rows)
        return 0
    if not rows:
        screen.line("no peers yet")
        screen.aside("hint: backup-peer browse")
        return 0
    screen.table(_COLUMNS, [_cells(row) for row in rows])
    for row in rows:
        if not row.verified:
            screen.line()
            screen.line(f"not compared yet: {escape_line(row.alias) or shorten_id(row.peer_id)}")
            screen.line(f"  {escape_line(row.safety_words)}")
    return 0


def _cells(row: PeerRow) -> list[str]:
    friend = " ♥" if row.verified else ""
    return [
        shorten_id(row.peer_id),
        (escape_line(row.alias) or "-") + friend,
        _ROLES.get(row.role, escape_line(row.role)),
        format_size(row.used_bytes),
        format_size(row.quota_bytes),
        f"{row.trust:.2f} {escape_line(row.trust_level)}",
        format_moment(row.last_seen) or "never",
    ]
