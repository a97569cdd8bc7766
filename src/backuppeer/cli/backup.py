"""`backup`: make a snapshot of paths and bring it to hosts."""

import os
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.excluding import leave_out, read_paths
from backuppeer.cli.groups import takes
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.screen import GREEN, YELLOW, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.api import BackupRequest, BackupResult, LeaveOut
from backuppeer.errors import ExitCode, IncompleteError, InterruptedByUserError, NotFoundError, UserError

_HELP: Final = (
    "Back up files and folders to your hosts. A link is saved as a link; `LINK/`, with a slash behind, means the "
    "folder it points to."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="backup", help=_HELP)(backup)


@takes(leave_out, into="without")
def backup(  # noqa: PLR0913 - one per option
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH...", help="Files and folders.")] = None,
    *,
    without: LeaveOut,
    files_from: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Paths too, one on each line; `-`: standard input.")
    ] = None,
    null: Annotated[bool, typer.Option("--null", "-0", help="In such files each path ends with a zero byte.")] = False,
    to: Annotated[list[str] | None, typer.Option(metavar="PEER", help="Only to this host; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Mark the snapshot; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; send nothing.")] = False,
    one_file_system: Annotated[
        bool, typer.Option("--one-file-system", "-x", help="Leave out what is mounted below PATH.")
    ] = False,
    level: Annotated[int, typer.Option(min=1, max=19, metavar="1-19", help="Compression: 1 fast, 19 small.")] = 2,
) -> int:
    """Send absolute paths to the agent and show how it goes.

    Raises:
        IncompleteError: the snapshot stands, but not with every host asked for; `done` was told before.

    """
    context = context_of(ctx)
    request = BackupRequest(
        servers=context.servers(),
        paths=_find([*(paths or ()), *read_paths(files_from or [], null=null)]),
        to=to or [],
        tags=tag or [],
        dry_run=dry_run,
        level=level,
        one_file_system=one_file_system,
        leave_out=without,
    )
    return _report(context, _run(context, request), dry=dry_run)


def _report(context: Context, result: BackupResult, *, dry: bool) -> int:
    for line in _describe(context.screen, result, dry=dry):
        context.screen.line(line, hang=2)
    context.screen.done(result)
    if not result.files:
        context.screen.note("no file was found to save")
    if result.errors:
        context.screen.note(f"not in this snapshot: {format_count(result.errors, 'entry', 'entries')}, named above")
    if result.left_out:
        raise _incomplete(result)
    return ExitCode.INCOMPLETE if result.errors else ExitCode.DONE


def _incomplete(result: BackupResult) -> IncompleteError:
    names = "; ".join(f"{host.name}: {host.reason}" for host in result.left_out)
    asked = len(result.peers) + len(result.left_out)
    return IncompleteError(
        f"snapshot {result.snapshot[:8]} is safe with {len(result.peers)} of {asked} hosts ({names})",
        hint="; ".join(dict.fromkeys(host.hint for host in result.left_out if host.hint)),
    )


def _run(context: Context, request: BackupRequest) -> BackupResult:
    """Have the agent do it.

    Raises:
        InterruptedByUserError: Ctrl-C.

    """
    client = context.client()
    try:
        with Spinner(context.screen) as spinner:
            return run_work(client, "backup", request, BackupResult, view=View(context.screen, spinner=spinner))
    except KeyboardInterrupt:
        if request.dry_run:
            raise InterruptedByUserError("stopped; nothing was sent") from None
        raise InterruptedByUserError(
            "stopped; what a host has stored is kept", hint="the same command goes on from there"
        ) from None


def _find(paths: Sequence[str]) -> list[str]:
    """Return the paths made absolute; those that are not there stay among them, for the agent to name.

    Raises:
        UserError: none was given, or one of them is empty, which would mean the current folder.
        NotFoundError: not one of them is there.

    """
    if not paths:
        raise UserError("no path was given", hint="name what is to be backed up, e.g. ~/documents")
    if "" in paths:
        raise UserError("one of the paths is empty", hint="name what is to be backed up; was a variable not set?")
    if not any(map(os.path.lexists, paths)):
        raise NotFoundError(
            f"no such file or folder: {', '.join(paths[:3])}", hint="name what is to be backed up, e.g. ~/documents"
        )
    return [_absolute(path) for path in paths]


def _absolute(path: str) -> str:
    """Return the path made absolute. A link is itself, as a person named it; with a slash behind, what it points to."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - Path would drop a trailing /. and the like silently
    if path.endswith(("/", "/.")) and os.path.islink(absolute):  # noqa: PTH114 - no object needed
        return os.path.realpath(absolute)
    return absolute


def _is_whole(result: BackupResult) -> bool:
    return bool(result.files) and not result.errors and not result.left_out


def _describe(screen: Screen, result: BackupResult, *, dry: bool) -> Sequence[str]:
    counted = f"{format_count(result.files, 'file')}, {format_size(result.bytes)}"
    if dry:
        return [f"would back up {counted}, {format_size(result.new_bytes)} of it new"]
    tick = screen.paint("✓", GREEN) if _is_whole(result) else screen.paint("!", YELLOW)
    sent = f"{format_size(result.sent_bytes)} sent to {format_count(len(result.peers), 'peer')}"
    return [
        f"{tick} snapshot {escape_line(result.snapshot[:8])}: {counted}",
        f"  {format_size(result.new_bytes)} new, {sent} in {format_duration(result.seconds)}",
    ]
