"""`tag`: give snapshots other tags. A snapshot never changes: another one, with a new id, takes its place."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.forget import tell_left_out
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.screen import GREEN
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.work import View, run_work
from backuppeer.control.amendments import Tagged, TagRequest, TagResult
from backuppeer.errors import ExitCode, InterruptedByUserError

_HELP: Final = "Change the tags of snapshots. A snapshot gets a new id with that; the new ids are shown."


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="tag", help=_HELP)(tag)


def tag(
    ctx: typer.Context,
    snapshots: Annotated[
        list[str], typer.Argument(metavar="SNAPSHOT...", help="Ids, prefixes of 4 or more, or `latest`.")
    ],
    *,
    add: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Add this tag; may be repeated.")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Take this tag off; may be repeated.")] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TAG", help='Only this tag from now on; may be repeated; "" for none.'),
    ] = None,
) -> int:
    """Have the agent do it, and show the new ids."""
    context = context_of(ctx)
    screen = context.screen
    request = TagRequest(
        servers=context.servers(),
        snapshots=snapshots,
        replace=None if replace is None else [word for word in replace if word],
        add=add or [],
        remove=remove or [],
    )
    client = context.client()
    try:
        with Spinner(screen) as spinner:
            result = run_work(client, "tag", request, TagResult, view=View(screen, spinner=spinner))
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped; `backup-peer snapshots` shows what there is") from None
    tick = screen.paint("✓", GREEN)
    for row in result.changed:
        screen.line(f"{tick} {_describe(row)}", hang=2)
    if result.unchanged:
        screen.line(f"  {_describe_unchanged(request, result.unchanged)}", hang=2)
    tell_left_out(screen, result.left_out)
    screen.done(result)
    return ExitCode.DONE


def _describe_unchanged(request: TagRequest, count: int) -> str:
    counted = format_count(count, "snapshot")
    if not request.remove:
        return f"{counted} had these tags already"
    if not request.add:
        return f"{counted} had no such tag to remove; `backup-peer snapshots` shows the tags"
    return f"{counted} had the tags to add already, and none to remove"


def _describe(row: Tagged) -> str:
    tags = ", ".join(map(escape_line, row.tags)) or "no tags"
    return f"snapshot {escape_line(row.before[:8])} is now {escape_line(row.snapshot[:8])}: {tags}"
