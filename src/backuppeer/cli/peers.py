"""`peers`: everybody this peer has an agreement with, either way round, and what its person knows of them."""

from typing import Annotated, Final

import msgspec
import typer

from backuppeer.cli import ending, forgiving, locking, purging, replacing, showing, terms, undelete, verifying
from backuppeer.cli.context import context_of
from backuppeer.cli.render import (
    Column,
    count_free,
    escape_line,
    format_moment,
    format_trust,
    name_peer,
    say_later,
    shorten_id,
    write_peer,
)
from backuppeer.cli.screen import Screen
from backuppeer.cli.units import format_size, parse_size
from backuppeer.control.api import Nothing, PeerRow, PeerSetting
from backuppeer.errors import UserError
from backuppeer.trust.conduct import BLOCKED

_COLUMNS: Final = (
    Column("peer", keep=True),
    Column("name"),
    Column("role"),
    Column("used", "right", keep=True),
    Column("of", "right", keep=True),
    Column("trust", keep=True),
    Column("last seen", keep=True),
)
_ROLES: Final = {"host": "my host", "owner": "I host"}


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
    group.callback(help="Your peers, and what you know of them.")(_default)
    group.command(name="list", help="List your peers.")(list_peers)
    group.command(name="set", help="Record what you know of a peer.")(set_peer)
    group.command(name="verify", help=verifying.HELP)(verifying.verify)
    group.command(name="resize", help=terms.RESIZE_HELP)(terms.resize)
    group.command(name="renew", help=terms.RENEW_HELP)(terms.renew)
    group.command(name="lock", help=locking.HELP)(locking.lock)
    group.command(name="purge", help=purging.HELP)(purging.purge)
    group.command(name="end", help=ending.HELP)(ending.end)
    group.command(name="show", help=showing.HELP)(showing.show)
    group.command(name="forgive", help=forgiving.HELP)(forgiving.forgive)
    group.command(name="replace", help=replacing.HELP)(replacing.replace)
    group.command(name="undelete", help=undelete.HELP)(undelete.undelete)
    app.add_typer(group, name="peers")


def _default(ctx: typer.Context) -> int:
    return list_peers(ctx) if ctx.invoked_subcommand is None else 0


def list_peers(ctx: typer.Context) -> int:
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
    screen.table(_COLUMNS, [cells for row in rows for cells in _rows_of(row)])
    for row in rows:
        if row.next_free_bytes and not row.ends:
            who, free = (
                escape_line(row.alias) or shorten_id(row.peer_id),
                format_size(count_free(row.quota_bytes, row.used_bytes, row.room_bytes)),
            )
            screen.line(f"{who}: {free} free now{say_later(row.next_free_bytes, row.next_free)}", hang=2)
    for row in rows:
        _tell_end(screen, row)
        _tell_debts(screen, row)
    if any(row.verified for row in rows):
        screen.line()
        screen.line("♥ = you compared id or safety words with the person", hang=4)
    for row in rows:
        if not row.verified:
            _show_words(screen, row)
    return 0


def set_peer(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The peer: as `peers` shows it, or its id.")],
    *,
    verified: Annotated[
        bool, typer.Option("--verified", help="You compared id or safety words with the person.")
    ] = False,
    name: Annotated[str, typer.Option(metavar="bob", help="Your own name for this peer.")] = "",
    cap: Annotated[
        str, typer.Option(metavar="SIZE|none|default", help="How much of yours may lie there while it is a stranger.")
    ] = "",
) -> int:
    """Record a comparison, a name or a cap, on either side of an agreement."""
    context = context_of(ctx)
    if not verified and not name and not cap:
        raise UserError(
            "nothing to record",
            hint="for example: `backup-peer peers set alice --name 'old alice'`, or `peers verify alice`",
        )
    size = cap if cap in {"", "none", "default"} else str(parse_size(cap))
    row = context.client().call("peers/set", PeerSetting(peer=peer, verified=verified, name=name, cap=size), PeerRow)
    if cap:
        _tell_cap(context.screen, row, size)
    if name:
        context.screen.line(f"recorded: {shorten_id(row.peer_id)} is {escape_line(row.alias)}")
    if verified:
        context.screen.line(f"recorded: you compared the safety words with {name_peer(row.peer_id, row.alias)}")
    context.screen.done(row)
    return 0


def _tell_cap(screen: Screen, row: PeerRow, cap: str) -> None:
    called = name_peer(row.peer_id, row.alias)
    if cap == "none":
        screen.line(f"recorded: as much of yours may lie with {called} as is agreed on", hang=2)
    elif cap == "default":
        screen.line(f"recorded: {called} is capped as every stranger", hang=2)
    else:
        screen.line(
            f"recorded: up to {format_size(int(cap))} of yours may lie with {called}, or more once proven", hang=2
        )


def _tell_end(screen: Screen, row: PeerRow) -> None:
    """Show that an agreement ends, why a score is capped, and that a peer is blocked."""
    name, until = escape_line(row.alias) or shorten_id(row.peer_id), format_moment(row.ends)[:10]
    if row.ends and row.ended_by_us:
        back = f"`backup-peer peers renew {write_peer(row.peer_id, row.alias)}` takes it back"
        screen.line(f"{name}: you ended the agreement; all is kept until {until} at least; {back}", hang=2)
    elif row.ends:
        screen.line(f"{name}: it ends the agreement; all is kept until {until} at least", hang=2)
    if row.trial and not row.ends:
        stays = f"`backup-peer peers renew {write_peer(row.peer_id, row.alias)}` makes it stay"
        screen.line(f"{name}: on trial until {format_moment(row.until)[:10]}; {stays}", hang=2)
    for text in row.lineage:
        screen.line(f"{name}: {escape_line(text)}", hang=2)
    for text in row.capped:
        if not row.blocked or text != BLOCKED:
            screen.line(f"{name}: {escape_line(text)}", hang=2)
    if row.blocked:
        why = f": {escape_line(row.reason)}" if row.reason else ""
        screen.line(f"{name}: blocked{why}", hang=2)


def _tell_debts(screen: Screen, row: PeerRow) -> None:
    """Show what was promised in return and is not kept yet, either way round."""
    name = escape_line(row.alias) or shorten_id(row.peer_id)
    more = f"`backup-peer peers show {write_peer(row.peer_id, row.alias)}` says more"
    if row.owed_to_us_bytes:
        screen.line(f"{name}: owes you {format_size(row.owed_to_us_bytes)} in return; {more}", hang=2)
    if row.owed_by_us_bytes:
        screen.line(f"{name}: you owe it {format_size(row.owed_by_us_bytes)} in return; {more}", hang=2)


def _show_words(screen: Screen, row: PeerRow) -> None:
    """Show what is left to compare, and how the comparison is recorded where a verb can do it."""
    name = escape_line(row.alias) or shorten_id(row.peer_id)
    screen.line()
    screen.line(_say_compared(row, name), hang=2)
    screen.line(f"  {escape_line(row.safety_words)}", hang=2)
    compare = f"`backup-peer peers verify {write_peer(row.peer_id, row.alias)}`"
    screen.line(f"  does the other screen show the same words? {compare}", hang=4)


def _say_compared(row: PeerRow, name: str) -> str:
    if not row.differs:
        return f"not compared yet: {name}"
    if row.differed_as:
        return f"the words differed as {shorten_id(row.differed_as)}; compare these: {name}"
    return f"the words differed: {name}"


def _rows_of(row: PeerRow) -> list[list[str]]:
    """Return the row of a peer, or of one that is host and owner the rows of both directions."""
    if row.role != "both":
        return [_cells(row)]
    here = ["", "", _ROLES["owner"], format_size(row.hosted_used_bytes), format_size(row.hosted_bytes), "", ""]
    return [_cells(msgspec.structs.replace(row, role="host")), here]


def _cells(row: PeerRow) -> list[str]:
    # In front: a long name is cut at its end.
    friend = "♥ " if row.verified else ""
    return [
        shorten_id(row.peer_id),
        friend + (escape_line(row.alias) or "-"),
        _ROLES.get(row.role, escape_line(row.role)),
        format_size(row.used_bytes),
        format_size(row.quota_bytes),
        format_trust(row.trust, row.trust_level, row.capped),
        format_moment(row.last_seen) or "never",
    ]
