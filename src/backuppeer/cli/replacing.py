"""`peers replace`: have everything at another host, then end the agreement with the first."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.render import escape_line, format_count, format_moment
from backuppeer.cli.screen import GREEN
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.replacing import ReplaceRequest, ReplaceResult
from backuppeer.errors import DeclinedError, InterruptedByUserError

HELP: Final = (
    "Have all your packs at another host, then end with the first.\n\nThe new host must have agreed already. What it "
    "lacks is copied from your hosts; then it must show each pack; only then the first is given notice, as with "
    "`peers end`. Stopped anywhere, the same command goes on."
)


def replace(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="ALICE", help="The host to leave, as `peers` shows it.")],
    new: Annotated[str, typer.Argument(metavar="BOB", help="The host that is to have everything.")],
) -> int:
    """Ask, copy, verify, end."""
    context = context_of(ctx)
    screen, first, second = context.screen, escape_line(old), escape_line(new)
    question = f"copy everything to {second}, then end the agreement with {first}?"
    if not screen.confirm(question, unanswered="ending an agreement"):
        raise DeclinedError("nothing was changed: you said no")
    request = ReplaceRequest(servers=context.servers(), old=old, new=new, confirmed=True)
    try:
        with Spinner(screen) as spinner:
            view = View(screen, spinner=spinner)
            result = run_work(context.client(), "peers/replace", request, ReplaceResult, view=view)
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            "stopped; what was copied stays", hint="the same command goes on; `backup-peer peers` shows what ends"
        ) from None
    tick = screen.paint("✓", GREEN)
    packs = f"{format_count(result.packs, 'pack')} of {format_size(result.bytes)}"
    screen.line(f"{tick} {second} has everything, {packs}, and answers for it", hang=2)
    told = "" if result.told else "; it could not be reached, and is told when it is met"
    screen.line(f"  ended with {first}: it keeps all until {format_moment(result.until)[:10]} at least{told}", hang=2)
    screen.done(result)
    return 0
