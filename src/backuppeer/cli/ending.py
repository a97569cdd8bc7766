"""`peers end`: end an agreement with notice, after showing until when all is kept."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.render import escape_line, format_moment, name_peer, write_peer
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.control.ending import EndPlan, EndRequest, EndResult
from backuppeer.errors import DeclinedError, InterruptedByUserError

HELP: Final = (
    "End an agreement, with notice.\n\nAll that is kept under it stays until notice and lock are over, counted in days "
    "on which the host runs, and can be read until then; then it is erased. `peers renew` takes it back until then."
)


def end(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The peer, as `peers` shows it.")],
    side: Annotated[
        str, typer.Option("--as", metavar="owner|host", help="owner: it keeps your data; host: you keep its.")
    ] = "",
) -> int:
    """Show the plan, ask, give notice."""
    context = context_of(ctx)
    request = EndRequest(servers=context.servers(), peer=peer, side=side)
    plan = context.client().call("peers/end/plan", request, EndPlan)
    _agree(context, plan)
    request.peer, request.side, request.confirmed = plan.peer_id, plan.side, True
    try:
        with Spinner(context.screen) as spinner:
            spinner.show(f"telling {escape_line(plan.name)} …")
            result = context.client().call("peers/end", request, EndResult)
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped; `backup-peer peers` shows whether notice was given") from None
    _tell(context.screen, result)
    tell_sets(context.screen, plan.sets, plan.name)
    context.screen.done(result)
    return 0


def _agree(context: Context, plan: EndPlan) -> None:
    screen, name, until = context.screen, escape_line(plan.name), format_moment(plan.until)[:10]
    if not screen.json:
        used = format_size(plan.used_bytes)
        if plan.side == "owner":
            screen.aside(
                f"{name} keeps {used} of your backups, until {until} at least; then they are erased there", hang=2
            )
            screen.aside("no new backups go there, and its copies count no more", hang=2)
        else:
            screen.aside(f"you keep {used} for {name}, until {until} at least; then they are erased here", hang=2)
            screen.aside(f"{name} is told; until then it can read all of it", hang=2)
    if not screen.confirm(f"end the agreement with {name}?", unanswered="ending an agreement"):
        raise DeclinedError("nothing was ended: you said no")


def tell_sets(screen: Screen, sets: list[str], name: str) -> None:
    """Tell which sets still name a host that is left, and how that is changed."""
    called = escape_line(name)
    for each in map(escape_line, sets):
        screen.line(
            f"  set {each} still names {called}: put another host in its place, or take it out, in `peers` under "
            f"[sets.{each}] in config.toml",
            hang=2,
        )


def _tell(screen: Screen, result: EndResult) -> None:
    called, until = name_peer(result.peer_id, result.alias), format_moment(result.until)[:10]
    screen.line(f"{screen.paint('✓', GREEN)} ended with {called}: all is kept until {until} at least", hang=2)
    if not result.told:
        screen.line("  it could not be reached: it is told when it is met; days count from then on", hang=2)
    typed = write_peer(result.peer_id, result.alias)
    screen.line(f"  until then `backup-peer peers renew {typed}` takes it back", hang=4)
