"""`backup`: make a snapshot of paths, or of a set of them, and bring it to hosts."""

import os
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.excluding import leave_out, read_paths
from backuppeer.cli.feeds import Feed, StandardInput, Stream, choose_feed, read_stream
from backuppeer.cli.further import ITSELF, VerbGroup, VerbItself
from backuppeer.cli.groups import takes
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.screen import GREEN, YELLOW, Screen
from backuppeer.cli.sets import Aim, add, aim_at, choose_set, list_sets, remove
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_size
from backuppeer.cli.work import View, run_feed, run_work
from backuppeer.control.saving import BackupRequest, BackupResult, LeaveOut, SnapshotRequest, StreamRequest
from backuppeer.errors import ExitCode, IncompleteError, InterruptedByUserError, NotFoundError, UserError

_HELP: Final = (
    "Back up files and folders to your hosts; without a path, what your backup set has. A link is saved as a link; "
    "`LINK/`, with a slash behind, means the folder it points to. With --stdin or --stdin-from-command a stream is "
    "backed up instead, as one file."
)
_MORE: Final = (
    "Sets: `backup add PATH` keeps a path for every backup, `backup remove PATH` drops it, `backup sets` shows all. "
    "Without a terminal `backup PATH` keeps no set, even with --yes. A folder called add, remove or sets is ./add."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(cls=VerbGroup, rich_markup_mode=None)
    group.command(name=ITSELF, cls=VerbItself, help=_HELP, epilog=_MORE)(backup)
    group.command(name="add", help="Keep paths in a backup set; a new name makes a new set.")(add)
    group.command(name="remove", help="Take paths out of a backup set, or with --set alone drop it.")(remove)
    group.command(name="sets", help="Show your backup sets.")(list_sets)
    app.add_typer(group, name="backup", help="Back up files and folders to your hosts.")


def _ask_for(
    *,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Mark the snapshot; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; send nothing.")] = False,
    level: Annotated[int, typer.Option(min=1, max=19, metavar="1-19", help="Compression: 1 fast, 19 small.")] = 2,
) -> SnapshotRequest:
    """Return what backups of files and of streams are told alike."""
    return SnapshotRequest(tags=tag or [], dry_run=dry_run, level=level)


@takes(leave_out, into="without")
@takes(aim_at, into="aim")
@takes(_ask_for, into="asked")
@takes(read_stream, into="stream")
def backup(  # noqa: PLR0913 - one per option
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH...", help="Files and folders.")] = None,
    *,
    aim: Aim,
    without: LeaveOut,
    stream: Stream,
    asked: SnapshotRequest,
    files_from: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Paths too, one on each line; `-`: standard input.")
    ] = None,
    null: Annotated[bool, typer.Option("--null", "-0", help="In such files each path ends with a zero byte.")] = False,
    priority: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Send what fits first, as in .gitignore; the first given goes before."),
    ] = None,
    one_file_system: Annotated[
        bool, typer.Option("--one-file-system", "-x", help="Leave out what is mounted below PATH.")
    ] = False,
) -> int:
    """Send absolute paths, or a stream, to the agent and show how it goes.

    Raises:
        IncompleteError: the snapshot stands, but not with as many hosts as there must be; `done` was told before.

    """
    context = context_of(ctx)
    asked.servers, asked.set, asked.to, asked.copies = context.servers(), aim.set, aim.to, aim.copies
    if stream.is_wanted:
        if files_from or one_file_system or priority or without != LeaveOut() or aim.set:
            raise UserError("a stream is one file, of no set and with nothing left out", hint="leave those options out")
        wanted = StreamRequest(**msgspec.structs.asdict(asked), name=stream.name)
        return report(context, _run_stream(context, wanted, choose_feed(stream, paths or [])), dry=asked.dry_run)
    request = BackupRequest(
        **msgspec.structs.asdict(asked),
        paths=_find([*(paths or ()), *read_paths(files_from or [], null=null)], is_list=bool(files_from)),
        one_file_system=one_file_system,
        leave_out=without,
        priority=tuple(priority or ()),
        is_watched=context.screen.is_live,
    )
    work = partial(run_work, route="backup", request=choose_set(context, request), kind=BackupResult)
    return report(context, _run(context, work, dry=asked.dry_run), dry=asked.dry_run)


def report(context: Context, result: BackupResult, *, dry: bool) -> int:
    """Tell what came of it, and return the exit code.

    Raises:
        IncompleteError: the snapshot stands, but not as it should.

    """
    for line in _describe(context.screen, result, dry=dry):
        context.screen.line(line, hang=2)
    context.screen.done(result)
    if not result.files:
        context.screen.note("no file was found to save")
    if result.errors:
        context.screen.note(f"not in this snapshot: {format_count(result.errors, 'entry', 'entries')}, named above")
    # A host that is full for now is no weather: it stays so until somebody does something, or audits come.
    if not dry and (_count_safe(result) < result.copies or any(host.capped for host in result.left_out)):
        raise _incomplete(result)
    for host in result.left_out:
        context.screen.note(f"{host.name} has not got it: {host.reason}" + (f"; {host.hint}" if host.hint else ""))
    if result.hook_problem:
        raise IncompleteError(
            f"snapshot {result.snapshot[:8]} stands, but {result.hook_problem}",
            hint="hooks stand in config.toml of the home: run that command by hand to see why",
        )
    return ExitCode.INCOMPLETE if result.errors else ExitCode.DONE


def _incomplete(result: BackupResult) -> IncompleteError:
    lacking = [*result.ending, *result.together, *result.left_out]
    reasons = (host.reason if host.name in host.reason else f"{host.name}: {host.reason}" for host in lacking)
    names = "; ".join(reasons) or _explain_few(result)
    hints = [host.hint for host in lacking if host.hint]
    if result.to and not lacking:
        hints.append(_name_more(result))
    elif not result.together and len(result.peers) + len(result.left_out) < result.copies:
        hints.append("`backup-peer browse` shows who offers space")
    count = _count_safe(result)
    has = f"has {count} of {result.copies} copies"
    if count >= result.copies:
        has = f"stands with {format_count(count, 'copy', 'copies')}, but not with all of your hosts"
    return IncompleteError(
        f"snapshot {result.snapshot[:8]} {has} ({names})",
        hint="; ".join(dict.fromkeys(hints)),
    )


def _explain_few(result: BackupResult) -> str:
    if not result.to:
        return "no more hosts have agreed"
    named = ", ".join(result.to)
    return f"set {result.set} names only: {named}" if result.set else f"--to names only: {named}"


def _name_more(result: BackupResult) -> str:
    if not result.set:
        return "name more hosts with --to, or none for all that have agreed"
    return (
        f"name more hosts as `peers` under [sets.{result.set}] in config.toml; "
        "without that line it goes to all your hosts"
    )


def _count_safe(result: BackupResult) -> int:
    """Return how many copies count: those of hosts that stay, one of each that may be one machine."""
    return len(result.peers) - len(result.ending) - len(result.together)


def _run_stream(context: Context, request: StreamRequest, feed: Feed) -> BackupResult:
    if context.screen.can_ask and isinstance(feed, StandardInput):
        context.screen.note("reading from this terminal; Ctrl-D ends the input")
    with feed:
        work = partial(run_feed, route="backup/stream", request=request, kind=BackupResult, take=feed.take)
        result = _run(context, work, dry=request.dry_run)
    if not result.bytes:
        context.screen.note("nothing came: the saved file is empty")
    return result


def _run(context: Context, work: Callable[..., BackupResult], *, dry: bool) -> BackupResult:
    """Have the agent do it.

    Raises:
        InterruptedByUserError: Ctrl-C.

    """
    client = context.client()
    try:
        with Spinner(context.screen) as spinner:
            view = View(context.screen, spinner=spinner, leaving="Ctrl-C keeps what was sent")
            return _leave_out_told(work(client, view=view), view.noted)
    except KeyboardInterrupt:
        if dry:
            raise InterruptedByUserError("stopped; nothing was sent") from None
        raise InterruptedByUserError(
            "stopped; what a host has stored is kept", hint="the same command goes on from there"
        ) from None


def _leave_out_told(result: BackupResult, noted: AbstractSet[str]) -> BackupResult:
    """Return a result without reasons that were told on the way: said twice, they seem to be two things."""
    for host in result.left_out:
        if f"{host.name}: {host.reason}" in noted:
            host.reason = "see above"
    return result


def _find(paths: Sequence[str], *, is_list: bool) -> list[str]:
    """Return the paths made absolute; those that are not there stay among them, for the agent to name.

    `is_list`: a list of paths was given, be it empty.

    Raises:
        UserError: the list is empty, or one of the paths is, which would mean the current folder.
        NotFoundError: not one of them is there.

    """
    if not paths:
        if is_list:
            raise UserError("no path was given", hint="name what is to be backed up, e.g. ~/documents")
        return []
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
    is_safe = _count_safe(result) >= result.copies and not result.left_out
    return bool(result.files) and not result.errors and is_safe and not result.hook_problem


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
