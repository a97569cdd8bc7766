"""`block`, `unblock`: shut a peer out, and let it in again."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line, format_moment, name_peer
from backuppeer.cli.screen import GREEN
from backuppeer.control.api import PeerRequest
from backuppeer.control.blocking import BlockRequest, BlockResult

_BLOCK_HELP: Final = (
    "Take nothing new from a peer, and bring nothing new to it.\n\nIts requests are refused. What one of you keeps for "
    "the other ends with notice, stays until notice and lock are over, and can be read until then."
)
_Peer = Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The peer.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="block", help=_BLOCK_HELP)(block)


def add_unblock_to(app: typer.Typer) -> None:
    """Add the verb that takes it back."""
    app.command(name="unblock", help="Let a blocked peer ask again.")(unblock)


def block(
    ctx: typer.Context,
    peer: _Peer,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for yourself: nobody else is told.")] = "",
) -> int:
    """Block a peer."""
    context = context_of(ctx)
    request = BlockRequest(servers=context.servers(), peer=peer, reason=reason)
    result = context.client().call("block", request, BlockResult)
    screen, called = context.screen, name_peer(result.peer_id, result.alias)
    screen.line(f"{screen.paint('✓', GREEN)} blocked: {called}", hang=2)
    if result.until:
        screen.line(
            f"  what is kept under your agreement stays until {format_moment(result.until)[:10]} at least", hang=2
        )
    name = escape_line(result.alias) or escape_line(result.peer_id)
    screen.line(f"  `backup-peer unblock {name}` takes it back", hang=4)
    screen.done(result)
    return 0


def unblock(ctx: typer.Context, peer: _Peer) -> int:
    """Take a block back."""
    context = context_of(ctx)
    result = context.client().call("unblock", PeerRequest(servers=context.servers(), peer=peer), BlockResult)
    screen, called = context.screen, name_peer(result.peer_id, result.alias)
    screen.line(f"{screen.paint('✓', GREEN)} no longer blocked: {called}", hang=2)
    if result.until:
        name = escape_line(result.alias) or escape_line(result.peer_id)
        ends = format_moment(result.until)[:10]
        screen.line(f"  your agreement ends on {ends} still: `backup-peer peers renew {name}` takes that back", hang=4)
    screen.done(result)
    return 0
