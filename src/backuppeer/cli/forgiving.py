"""`peers forgive`: give a host data again that was caught at something."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line, name_peer
from backuppeer.cli.screen import GREEN
from backuppeer.control.api import PeerRequest
from backuppeer.control.forgiving import ForgiveResult

HELP: Final = (
    "Give a host new data again that lied, lost what it kept for you, or whose safety words differed.\n\nFor when its "
    "human explained it: a disk that died, or was restored from an old copy. What it did stays in its score. If it "
    "happens again, it counts again."
)


def forgive(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The host, as `peers` shows it.")],
) -> int:
    """Forgive, and say what."""
    context = context_of(ctx)
    request = PeerRequest(servers=context.servers(), peer=peer)
    result = context.client().call("peers/forgive", request, ForgiveResult)
    screen = context.screen
    screen.line(f"{screen.paint('✓', GREEN)} forgiven: {name_peer(result.peer_id, result.alias)}", hang=2)
    for text in result.forgiven:
        screen.line(f"  {escape_line(text)}", hang=4)
    screen.line("  the next `backup-peer backup` goes there again, with all that is not there", hang=2)
    screen.done(result)
    return 0
