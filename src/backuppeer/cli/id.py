"""`id`: this peer's id, to give to others; with --where, also where it can be dialled."""

from typing import Annotated

import typer

from backuppeer.cli import homes
from backuppeer.cli.context import Context, context_of


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="id", help="Print this peer's id.")(show_id)


def show_id(
    ctx: typer.Context,
    where: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--where", help="Also where it is, for `recover --peer` of somebody you host.")
    ] = False,
) -> int:
    """Print the peer id of this home; needs no agent."""
    context = context_of(ctx)
    if where:
        return _show_place(context)
    peer_id = homes.read_peer(context.home)
    if context.screen.json:
        context.screen.value({"peer_id": peer_id})
    else:
        context.screen.line(peer_id)
    return 0


def _show_place(context: Context) -> int:
    from backuppeer.cli.contacts import format_contact  # noqa: PLC0415 - the plain verb needs none of this
    from backuppeer.control.api import Nothing  # noqa: PLC0415
    from backuppeer.control.recovering import Place  # noqa: PLC0415
    from backuppeer.errors import PeerUnreachable  # noqa: PLC0415

    place = context.client().call("where", Nothing(), Place)
    if not place.addresses:
        raise PeerUnreachable("this machine has no address that others could dial", hint="is it online?")
    contact = format_contact(place)
    if context.screen.json:
        context.screen.value({"peer_id": place.peer_id, "where": contact})
    else:
        context.screen.line(contact)
    return 0
