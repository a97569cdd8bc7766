"""`block`, `unblock`: shut a peer out, and let it in again."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line, format_moment, name_peer, write_peer
from backuppeer.cli.screen import GREEN
from backuppeer.cli.units import format_size
from backuppeer.control.api import PeerRequest
from backuppeer.control.blocking import BlockPlan, BlockRequest, BlockResult, EndingSide
from backuppeer.errors import DeclinedError

_BLOCK_HELP: Final = (
    "Take nothing new from a peer, and bring nothing new to it.\n\nIts requests are refused. What one of you keeps for "
    "the other ends with notice, stays until notice and lock are over, and can be read until then; it asks "
    "where that is so."
)
_UNBLOCK_HELP: Final = (
    "Let a blocked peer ask again.\n\nAgreements that ended by the block end all the same, until `peers renew` takes "
    "that back; requests that were turned down come back when the peer asks again."
)
_Peer = Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The peer.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="block", help=_BLOCK_HELP)(block)


def add_unblock_to(app: typer.Typer) -> None:
    """Add the verb that takes it back."""
    app.command(name="unblock", help=_UNBLOCK_HELP)(unblock)


def block(
    ctx: typer.Context,
    peer: _Peer,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for yourself: nobody else is told.")] = "",
) -> int:
    """Block a peer."""
    context = context_of(ctx)
    context.screen.done(shut_out(context, peer, reason))
    return 0


def shut_out(context: Context, peer: str, reason: str) -> BlockResult:
    """Block a peer, after a question where that ends an agreement, and say what it means.

    Raises:
        DeclinedError: the person says no.
        UserError: nobody is there to ask.

    """
    request = BlockRequest(servers=context.servers(), peer=peer, reason=reason)
    plan = context.client().call("block/plan", request, BlockPlan)
    if plan.ends:
        _agree(context, plan)
        request.peer, request.confirmed = plan.peer_id, True
    result = context.client().call("block", request, BlockResult)
    screen, called = context.screen, name_peer(result.peer_id, result.alias)
    why = f", because: {escape_line(result.reason)}" if result.reason else ""
    screen.line(f"{screen.paint('✓', GREEN)} blocked: {called}{why}", hang=2)
    if result.until:
        screen.line(
            f"  what is kept under your agreement stays until {format_moment(result.until)[:10]} at least", hang=2
        )
    typed = write_peer(result.peer_id, result.alias)
    for left in result.left:
        what = "its agreement to keep your data" if left.side == "owner" else "your agreement to keep its data"
        as_what = f"--as {left.side}"
        again = f"`backup-peer peers end {typed} {as_what}`"
        screen.line(f"  {what} could not be ended: {escape_line(left.why)}; to try again: {again}", hang=4)
    screen.line(f"  `backup-peer unblock {typed}` lets it ask again", hang=4)
    return result


def _agree(context: Context, plan: BlockPlan) -> None:
    """Show which agreements end by it, and ask.

    Raises:
        DeclinedError: the person says no.
        UserError: nobody is there to ask.

    """
    screen, name = context.screen, escape_line(plan.name)
    for end in () if screen.json else plan.ends:
        used, until = format_size(end.used_bytes), format_moment(end.until)[:10]
        keeps = f"{name} keeps {used} of your backups" if end.side == "owner" else f"you keep {used} for {name}"
        screen.aside(f"{keeps}: this gives notice; it is erased on {until} at the soonest", hang=2)
    back = f"`backup-peer peers renew {write_peer(plan.peer_id, plan.name)}`"
    screen.aside(f"until then it can be read, and {back} can take the notice back", hang=2)
    if not screen.confirm(f"block {name}, and end the agreement?", unanswered="blocking ends an agreement"):
        raise DeclinedError("nobody was blocked, and nothing was ended: you said no")


def unblock(ctx: typer.Context, peer: _Peer) -> int:
    """Take a block back."""
    context = context_of(ctx)
    result = context.client().call("unblock", PeerRequest(servers=context.servers(), peer=peer), BlockResult)
    screen, called = context.screen, name_peer(result.peer_id, result.alias)
    why = f"; it was, because: {escape_line(result.reason)}" if result.reason else ""
    screen.line(f"{screen.paint('✓', GREEN)} no longer blocked: {called}{why}", hang=2)
    for end in result.ends:
        screen.line(f"  {_say_end(result, end)}", hang=4)
    screen.done(result)
    return 0


def _say_end(result: BlockResult, end: EndingSide) -> str:
    """Return what letting a peer in again does not bring back."""
    until = format_moment(end.until)[:10]
    what = "its agreement to keep your data" if end.side == "owner" else "your agreement to keep its data"
    if not end.ended_by_us:
        return f"{what} ends all the same, on {until} at the soonest: it gave notice itself"
    as_what = f" --as {end.side}" if len(result.ends) > 1 else ""
    back = f"`backup-peer peers renew {write_peer(result.peer_id, result.alias)}{as_what}`"
    return f"{what} ends on {until} still: {back} takes that back"
