"""`peers`: everybody this peer has an agreement with, either way round."""

from typing import Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import Column, escape_line, format_moment, shorten_id
from backuppeer.cli.screen import Screen
from backuppeer.cli.units import format_size, write_size
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
_MINE: Final = {"host", "both"}
"""Roles of peers that keep something of mine: connecting to one again asks for nothing new."""


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
        screen.hint("`backup-peer browse` shows who offers space")
        return 0
    screen.table(_COLUMNS, [_cells(row) for row in rows])
    if any(row.verified for row in rows):
        screen.line()
        screen.line("♥ = you compared id or safety words with the person", hang=4)
    for row in rows:
        if not row.verified:
            _show_words(screen, row)
    return 0


def _show_words(screen: Screen, row: PeerRow) -> None:
    """Show what is left to compare, and how the comparison is recorded where a verb can do it."""
    name = escape_line(row.alias) or shorten_id(row.peer_id)
    screen.line()
    screen.line(f"not compared yet: {name}", hang=2)
    screen.line(f"  {escape_line(row.safety_words)}", hang=2)
    if row.role in _MINE:
        record = f"backup-peer connect {name} --storage {write_size(row.quota_bytes)} --verified"
        screen.line(f"  the other screen shows the same words? record it: {record}", hang=4)


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
