"""`peers undelete`: see what a host holds as deleted, and have snapshots back as long as it does."""

import shlex
from typing import Annotated, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.forget import tell_left_out
from backuppeer.cli.render import Column, escape_line, escape_name, format_count, format_moment
from backuppeer.cli.screen import GREEN
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.undeleting import DeletedSnapshot, UndeletePlan, UndeleteRequest, UndeleteResult
from backuppeer.errors import ExitCode, IncompleteError, InterruptedByUserError, UserError

HELP: Final = (
    "Have back what a host was told to delete.\n\nHosts keep what was deleted for the lock of their agreement, and "
    "twice as long when it was much at once. Until then snapshots that were forgotten and pruned, be it by somebody "
    "who had your keys, can be put back into the list. Without ids it shows which there are."
)
_COLUMNS: Final = (
    Column("snapshot", keep=True),
    Column("time", keep=True),
    Column("files", "right"),
    Column("size", "right", keep=True),
    Column("host"),
    Column("paths"),
)


def undelete(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="ID|PREFIX|ALIAS", help="The host, as `peers` shows it.")],
    snapshots: Annotated[
        list[str] | None, typer.Argument(metavar="[SNAPSHOT]...", help="Ids, or prefixes of 4 characters or more.")
    ] = None,
    *,
    show: Annotated[bool, typer.Option("--list", help="Only show what could be had back.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Have all of them back.")] = False,
) -> int:
    """Show, or have the agent bring back."""
    context = context_of(ctx)
    request = UndeleteRequest(servers=context.servers(), peer=peer, snapshots=snapshots or [], all=everything)
    if request.snapshots and everything:
        raise UserError("--all means every one", hint="leave it out, or the snapshots beside it")
    if show or not (request.snapshots or everything):
        if show and (request.snapshots or everything):
            raise UserError("--list only shows", hint="leave it out to have snapshots back")
        return _show(context, request)
    return _bring_back(context, request)


def _show(context: Context, request: UndeleteRequest) -> int:
    screen = context.screen
    try:
        with Spinner(screen) as spinner:
            found = run_work(
                context.client(), "peers/deleted", request, UndeletePlan, view=View(screen, spinner=spinner)
            )
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped; nothing was changed") from None
    if not screen.json:
        _describe(context, found)
    screen.done(found)
    return ExitCode.DONE


def _describe(context: Context, found: UndeletePlan) -> None:
    screen, name = context.screen, escape_line(found.name)
    if found.packs:
        first, last = format_moment(found.first), format_moment(found.last)
        until = f"until {first}" if first == last else f"the first until {first}, the last until {last}"
        what = f"{format_count(found.packs, 'deleted pack')} of {format_size(found.bytes)}"
        screen.line(f"{name} keeps {what}, {until} at the soonest", hang=2)
    else:
        screen.line(f"{name} keeps nothing that was deleted")
    if found.unreadable:
        screen.note(f"{format_count(found.unreadable, 'pack')} of it can't be read: what only they hold is not shown")
    if not found.snapshots:
        screen.line("no snapshot can be had back: all that can be read are listed, see `backup-peer snapshots`", hang=2)
        return
    screen.line()
    screen.table(_COLUMNS, [_cells(row) for row in found.snapshots])
    called = escape_line(shlex.quote(found.name))
    screen.hint(f"`backup-peer peers undelete {called} SNAPSHOT` puts one back into the list, --all every one")


def _cells(row: DeletedSnapshot) -> list[str]:
    return [
        escape_line(row.snapshot[:8]),
        format_moment(row.time),
        f"{row.files:,}",
        format_size(row.bytes),
        escape_line(row.host),
        " ".join(map(escape_name, row.paths)),
    ]


def _bring_back(context: Context, request: UndeleteRequest) -> int:
    screen = context.screen
    try:
        with Spinner(screen) as spinner:
            result = run_work(
                context.client(), "peers/undelete", request, UndeleteResult, view=View(screen, spinner=spinner)
            )
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped; `backup-peer snapshots` shows what is listed") from None
    tick = screen.paint("✓", GREEN)
    back = f"{format_count(len(result.snapshots), 'snapshot')} back in the list, which has {result.kept:,} now"
    screen.line(f"{tick} {back}", hang=2)
    if result.packs:
        screen.line(f"  {format_size(result.bytes)} that were deleted are kept as before", hang=2)
    screen.line("  was it not you who deleted? who has your keys can do it again: find out before you go on", hang=2)
    tell_left_out(screen, result.left_out)
    screen.done(result)
    if result.incomplete:
        names = ", ".join(name[:8] for name in result.incomplete)
        raise IncompleteError(
            f"not to be had back, as a part is erased already: {names}", hint="the others are listed again"
        )
    return ExitCode.DONE
