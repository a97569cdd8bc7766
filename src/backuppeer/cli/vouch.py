"""`vouch`: a person's word for a friend, which partners hear of."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import format_moment, name_peer, write_peer
from backuppeer.cli.screen import GREEN
from backuppeer.control.vouching import VouchRequest, VouchResult

_HELP: Final = (
    "Vouch for a friend as a host.\n\nFor a person whose safety words you compared, and whom you trust to keep what "
    "others give them. Peers who know you both hear of it and believe that host a little more; the word ends after a "
    "year, or with --withdraw."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="vouch", help=_HELP)(vouch)


def vouch(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The friend, as `peers` shows it.")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take your word back.")] = False,  # noqa: FBT002 - a switch
) -> int:
    """Vouch, or take it back."""
    context = context_of(ctx)
    request = VouchRequest(servers=context.servers(), peer=peer, withdraw=withdraw)
    result = context.client().call("vouch", request, VouchResult)
    screen, called = context.screen, name_peer(result.peer_id, result.alias)
    tick, typed = screen.paint("✓", GREEN), write_peer(result.peer_id, result.alias)
    if result.vouched:
        screen.line(f"{tick} you vouch for {called} until {format_moment(result.until)[:10]}", hang=2)
        screen.line("  peers who know you both hear of it within a day of meeting you", hang=2)
        screen.line(f"  `backup-peer vouch {typed} --withdraw` takes it back", hang=4)
    else:
        screen.line(f"{tick} you no longer vouch for {called}", hang=2)
        screen.line("  who heard of it hears of this when it meets you next", hang=2)
    screen.done(result)
    return 0
