"""`restore`: bring files of a snapshot back into a folder."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, TypeVar

import msgspec
import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.groups import takes
from backuppeer.cli.ls import split_place
from backuppeer.cli.patience import Wait, waiting_time
from backuppeer.cli.render import escape_line, escape_name, format_count, format_moment
from backuppeer.cli.screen import GREEN, YELLOW, Screen
from backuppeer.cli.selection import LatestOf
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_size
from backuppeer.cli.work import View, read_rows, run_work
from backuppeer.control.events import Event, EventName
from backuppeer.control.restoring import Conflict, Overwriting, RemovalRow, RestorePlan, RestoreRequest, RestoreResult
from backuppeer.errors import DeclinedError, ExitCode, InterruptedByUserError, UserError
from backuppeer.limits import CONFLICTS_LISTED

T = TypeVar("T")
_Mode = Literal["if-changed", "if-newer", "never", "always"]
"""What may be wished; what is refused without a wish is asked."""
_HELP: Final = (
    "Bring files back from your hosts. `latest` is the newest snapshot, whatever it is of; with --path the newest "
    "that was given that path, all of it. A part of a snapshot is `latest:/path`."
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="restore", help=_HELP)(restore)


class _Choice(NamedTuple):
    """What of the snapshot, and what becomes of what stands there. `overwrite`: None = ask. `set`, `host`: of which."""

    overwrite: Overwriting | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    delete: bool
    dry_run: bool
    verify: bool
    wait: str
    set: str
    host: str


def _choose(  # noqa: PLR0913 - one per option
    *,
    of_set: LatestOf = "",
    host: Annotated[str, typer.Option(metavar="NAME", help="With `latest`: the newest of this machine.")] = "",
    overwrite: Annotated[
        _Mode | None,
        typer.Option(metavar="MODE", help="What differs there: if-changed, if-newer, never or always replace. [ask]"),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option("--include", "-i", metavar="PATTERN", help="Only what fits, as in .gitignore.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", "-e", metavar="PATTERN", help="Leave out what fits.")
    ] = None,
    delete: Annotated[
        bool,
        typer.Option(
            "--delete",
            help="Remove from restored folders what the snapshot does not have. With --include and --exclude only what "
            "they are about; never outside of the paths that are restored, nor what is mounted below them. [asks]",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; write nothing.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read everything again afterwards, and compare with the snapshot.")
    ] = False,
    wait: Wait = "",
) -> _Choice:
    return _Choice(overwrite, tuple(include or ()), tuple(exclude or ()), delete, dry_run, verify, wait, of_set, host)


@takes(_choose, into="choice")
def restore(
    ctx: typer.Context,
    snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT[:PATH]", help="Id, prefix of 4 or more, or `latest`.")],
    *,
    choice: _Choice,
    target: Annotated[str, typer.Option(metavar="DIR", help="Folder to restore into; the full path is kept below it.")],
    of_path: Annotated[
        str, typer.Option("--path", metavar="DIR", help="With `latest`: the newest backup that was given this path.")
    ] = "",
    tag: Annotated[str, typer.Option(metavar="TAG", help="With `latest`: the newest with this tag.")] = "",
) -> int:
    """Restore, and name what is missing."""
    context = context_of(ctx)
    name, path = split_place(snapshot)
    folder = Path(os.path.abspath(target))  # noqa: PTH100 - links in the target are the person's own
    # A yes to the question replaces what differs.
    mode: Overwriting = choice.overwrite or ("if-changed" if context.screen.yes else "refuse")
    request = RestoreRequest(
        servers=context.servers(),
        snapshot=name,
        path=path,
        target=os.fspath(folder),
        tag=tag,
        set=choice.set,
        host=choice.host,
        backed_up=os.path.abspath(of_path) if of_path else "",  # noqa: PTH100 - as `backup` writes it down
        overwrite=mode,
        include=choice.include,
        exclude=choice.exclude,
        delete=choice.delete,
        verify=choice.verify,
        wait_s=waiting_time(context.screen, choice.wait),
    )
    if choice.delete and mode == "never":
        raise UserError("--delete and --overwrite never are two wishes", hint="leave one of them out")
    if choice.dry_run:
        return _show_plan(context, request)
    is_asked = mode == "refuse" or (choice.delete and not context.screen.yes)
    if is_asked and _has_entries(folder):
        request = _ask(context, request)
    return report(context, _run(context, "restore", request, RestoreResult))


def _show_plan(context: Context, request: RestoreRequest) -> int:
    screen = context.screen
    removals: list[RemovalRow] = []
    plan = _run(context, "restore/plan", request, RestorePlan, on_event=partial(_take_removals, removals))
    screen.line(f"would restore {format_count(plan.files, 'file')}, {format_size(plan.bytes)}{_describe_left(plan)}")
    for line in list_first(plan.first, plan.files):
        screen.line(f"  {line}", hang=4)
    _show_differing(screen, plan)
    if plan.conflicts_total:
        does = "would stop at" if request.overwrite == "refuse" else "would replace"
        screen.line(f"{does} {format_count(plan.conflicts_total, 'entry', 'entries')}:")
        for line in _conflicts(plan):
            screen.line(f"  {line}", hang=4)
    if removals:
        screen.line(f"would remove {_name_removals(plan)}:")
    for row in removals:
        screen.event("removal", msgspec.to_builtins(row))
        screen.line(f"  {_describe_removal(row)}", hang=4)
    screen.done(plan)
    return ExitCode.DONE


def report(context: Context, result: RestoreResult) -> int:
    """Tell what came of it, and return the exit code."""
    screen = context.screen
    tick = screen.paint("!", YELLOW) if result.errors else screen.paint("✓", GREEN)
    kept = _describe_left(result)
    kept += f"; {format_count(result.removed, 'entry', 'entries')} removed" if result.removed else ""
    screen.line(
        f"{tick} restored {format_count(result.files, 'file')}, {format_size(result.bytes)} "
        f"to {escape_name(result.target)} in {format_duration(result.seconds)}{kept}",
        hang=2,
    )
    named = ", ".join(map(escape_name, result.paths))
    screen.line(f"  from snapshot {escape_line(result.snapshot[:8])} of {format_moment(result.time)}: {named}", hang=2)
    _show_differing(screen, result)
    if result.verified is not None:
        same = "those named above differ" if result.errors else "all are the same"
        read = format_count(result.verified, "file")
        screen.line(f"  verified: {read} read again and compared with the snapshot, {same}", hang=2)
    screen.done(result)
    if result.errors:
        screen.note(f"{format_count(result.errors, 'entry', 'entries')} could not be restored")
    return ExitCode.INCOMPLETE if result.errors else ExitCode.DONE


def _describe_left(told: RestorePlan | RestoreResult) -> str:
    """Return how many files are left as they are, and what of all that is left differs."""
    same, differing = max(0, told.kept - told.differing), told.differing
    parts = [f"; {format_count(same, 'file')} there already"] if same else []
    if differing:
        parts.append(f"; {format_count(differing, 'entry', 'entries')} that {_differ(differing)} left alone")
    return "".join(parts)


def _show_differing(screen: Screen, told: RestorePlan | RestoreResult) -> None:
    for line in list_first(told.differing_first, told.differing):
        screen.line(f"  left alone, though it differs: {line}" if not line.startswith("…") else f"  {line}", hang=4)


def _differ(count: int) -> str:
    return "differs" if count == 1 else "differ"


def list_first(paths: Sequence[str], total: int) -> list[str]:
    """Return the first few of `total` paths for a person, then how many there are beside them."""
    more = (total - len(paths)) * bool(paths)
    return [*map(escape_name, paths), *([f"… and {more:,} more"] if more > 0 else ())]


def _run(
    context: Context,
    route: str,
    request: RestoreRequest,
    kind: type[T],
    *,
    on_event: Callable[[Event], None] | None = None,
) -> T:
    """Have the agent do it.

    Raises:
        InterruptedByUserError: Ctrl-C.

    """
    client = context.client()
    try:
        with Spinner(context.screen) as spinner:
            return run_work(
                client,
                route,
                request,
                kind,
                view=View(context.screen, on_event, spinner=spinner, leaving="Ctrl-C stops, restored files stay"),
            )
    except KeyboardInterrupt:
        raise InterruptedByUserError(
            f"stopped; finished files stay in {request.target}",
            hint="run the same command again: what is finished is not fetched twice",
        ) from None


def _has_entries(folder: Path) -> bool:
    """Say whether something may stand in the way.

    Raises:
        UserError: the target is no folder.

    """
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise UserError(f"can't restore into {folder}: {exc.strerror}", hint="name a folder with --target DIR") from exc


def _ask(context: Context, request: RestoreRequest) -> RestoreRequest:
    """Show what would be replaced and ask; return the request for the snapshot that was shown.

    Raises:
        DeclinedError: the person said no.
        UserError: nobody is there to ask, or something is in the way that is never replaced.

    """
    screen = context.screen
    removals: list[RemovalRow] = []
    plan = _run(context, "restore/plan", request, RestorePlan, on_event=partial(_take_removals, removals))
    chosen = msgspec.structs.replace(request, snapshot=plan.snapshot, tag="", backed_up="", set="", host="")
    replaces = request.overwrite == "refuse" and plan.conflicts_total
    if not (replaces or plan.removals_total):
        return chosen
    lines = [*(_conflicts(plan) if replaces else ()), *_first_removals(removals, plan)]
    if screen.can_ask:
        for line in lines:
            screen.aside(f"  {line}", hang=4)
    place, snapshot = escape_name(request.target), f"snapshot {escape_line(plan.snapshot[:8])}"
    total = plan.conflicts_total
    differing = f"{format_count(total, 'entry', 'entries')} that {_differ(total)} in {place}"
    surplus = f"{_name_removals(plan)} that {snapshot} does not have"
    deeds = [f"replace {differing} by what {snapshot} has"] * bool(replaces)
    deeds += [f"remove {surplus} from {place}"] * bool(plan.removals_total)
    done = [f"{differing} would be replaced"] * bool(replaces) + [f"{surplus} would be removed"] * (len(removals) > 0)
    if not screen.confirm(f"{' and '.join(deeds)}?", unanswered=f"{' and '.join(done)} ({', '.join(lines)})"):
        raise DeclinedError("nothing was restored: you said no", hint="name an empty folder with --target DIR")
    return msgspec.structs.replace(chosen, overwrite="if-changed") if replaces else chosen


def _take_removals(into: list[RemovalRow], event: Event) -> None:
    if event.event == EventName.ROWS:
        into += read_rows(event, RemovalRow)


def _name_removals(plan: RestorePlan) -> str:
    return format_count(plan.removals_total, "entry", "entries")


def _first_removals(removals: list[RemovalRow], plan: RestorePlan) -> list[str]:
    lines = [f"remove {_describe_removal(row)}" for row in removals[:CONFLICTS_LISTED]]
    if more := plan.removals_total - len(lines):
        lines.append(f"… and {more:,} more to remove")
    return lines


def _describe_removal(row: RemovalRow) -> str:
    return f"{'folder' if row.kind == 'dir' else 'file'} {escape_name(row.path)}"


def _conflicts(plan: RestorePlan) -> list[str]:
    lines = [_describe(conflict) for conflict in plan.conflicts]
    if more := plan.conflicts_total - len(lines):
        lines.append(f"… and {more:,} more")
    return lines


def _describe(conflict: Conflict) -> str:
    path = f"{escape_line(conflict.kind)} {escape_name(conflict.path)}"
    if conflict.kind == "folder":
        return f"{path} (stays as it is)"
    return f"{path} -> {escape_name(conflict.target)}" if conflict.target else path
