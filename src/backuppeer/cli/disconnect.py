"""`disconnect`: close a session gracefully; agreements and data stay."""

from typing import Annotated

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import shorten_id
from backuppeer.control.api import PeerRequest
from backuppeer.control.stopping import DisconnectResult


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="disconnect", help="Close a session; agreements and data stay.")(disconnect)


def disconnect(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="Whose session to close.")],
) -> int:
    """Let work in flight end, then close."""
    context = context_of(ctx)
    result = context.client().call("disconnect", PeerRequest(peer=peer), DisconnectResult)
    called = shorten_id(result.peer_id)
    context.screen.line(f"disconnected from {called}" if result.closed else f"there was no session with {called}")
    context.screen.done(result)
    return 0
