"""`id`: this peer's id, to give to others."""

import typer

from backuppeer.cli import homes
from backuppeer.cli.context import context_of


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="id", help="Print this peer's id.")(show_id)


def show_id(ctx: typer.Context) -> int:
    """Print the peer id of this home; needs no agent."""
    context = context_of(ctx)
    peer_id = homes.read_peer(context.home)
    if context.screen.json:
        context.screen.value({"peer_id": peer_id})
    else:
        context.screen.line(peer_id)
    return 0
