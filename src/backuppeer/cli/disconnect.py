"""`disconnect`: end a session; agreements and data stay."""

from typing import Annotated

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line, format_count, shorten_id
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration
from backuppeer.control.sessions import DisconnectRequest, DisconnectResult

_NAME_CHARS = 40
"""What a person typed is said back to them, unless it is a whole id."""


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="disconnect", help="End a session; agreements and data stay.")(disconnect)


def disconnect(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="Whose session to end.")],
    *,
    now: Annotated[bool, typer.Option("--now", help="Break off what is under way.")] = False,
) -> int:
    """Let what is under way end, or break it off, then close; the peer is told that a person did."""
    context = context_of(ctx)
    screen, client = context.screen, context.client()
    with Spinner(screen) as spinner:
        if not now and screen.is_live:
            text = f"letting what is under way with {escape_line(peer)} end …"
            spinner.show(text, tail="(Ctrl-C leaves that to the agent)", timed=True)
        result = client.call("disconnect", DisconnectRequest(peer=peer, now=now), DisconnectResult)
    called = escape_line(peer) if len(peer) <= _NAME_CHARS else shorten_id(result.peer_id)
    if result.closed:
        screen.line(f"disconnected from {called}")
    else:
        screen.line(f"{called} was being looked for, and is no more")
    if result.cut:
        broken = format_count(result.cut, "request")
        screen.line(f"{broken} under way broken off: what was sent is kept, and the same command goes on there", hang=2)
    if result.rest_s:
        rest = format_duration(result.rest_s)
        screen.line(f"work under way leaves it alone for {rest}; the next command that needs it goes there", hang=2)
    screen.done(result)
    return 0
