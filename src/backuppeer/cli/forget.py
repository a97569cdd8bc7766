"""`forget`: take snapshots out of the list, by name or by rules that say what to keep."""

import re
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.prune import carry_out, check_told
from backuppeer.cli.render import Column, escape_line, escape_name, format_count, format_moment
from backuppeer.cli.screen import GREEN, Screen
from backuppeer.cli.selection import GROUPS, Hosts, OfPath, OfSet, Tags, name_group, read_fields, write_path
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, read_span
from backuppeer.cli.work import View, run_work
from backuppeer.cli.zone import find_zone
from backuppeer.control.amendments import ForgetGroup, ForgetPlan, ForgetRequest, ForgetResult, PlannedRow
from backuppeer.control.pruning import SNAPSHOT_DIGITS, PruneRequest, PruneResult
from backuppeer.control.saving import LeftOut
from backuppeer.errors import DeclinedError, ExitCode, InterruptedByUserError, Unavailable, UserError

_HELP: Final = (
    "Forget snapshots: those named, or all that no rule keeps.\n\nEach rule keeps the newest snapshot of each of the "
    "last N hours, days, weeks … that have one (-1: of all); a snapshot goes when no rule keeps it. Rules are applied "
    "to each group of snapshots on its own. Without rules those of the set count (--set, or `default`). What only "
    "these snapshots held stays with the hosts until a `prune`."
)
_WITHIN: Final = "Keep what is not older than the newest by more, e.g. 1y6mo7d."
_COLUMNS: Final = (
    Column("snapshot", keep=True),
    Column("time", keep=True),
    Column("plan", keep=True),
    Column("why"),
    Column("tags"),
    Column("paths"),
)
_MINUTES: Final = re.compile(r"[0-9]+ ?m(?!o)", re.IGNORECASE)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(name="forget", help=_HELP)(forget)


def forget(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    snapshots: Annotated[
        list[str] | None, typer.Argument(metavar="[SNAPSHOT...]", help="Ids, prefixes of 4 or more, or `latest`.")
    ] = None,
    *,
    keep_last: Annotated[int | None, typer.Option(metavar="N", help="Keep the N newest.")] = None,
    keep_hourly: Annotated[int | None, typer.Option(metavar="N", help="One of each of N hours.")] = None,
    keep_daily: Annotated[int | None, typer.Option(metavar="N", help="One of each of N days.")] = None,
    keep_weekly: Annotated[int | None, typer.Option(metavar="N", help="One of each of N weeks.")] = None,
    keep_monthly: Annotated[int | None, typer.Option(metavar="N", help="One of each of N months.")] = None,
    keep_yearly: Annotated[int | None, typer.Option(metavar="N", help="One of each of N years.")] = None,
    keep_within: Annotated[str, typer.Option(metavar="DURATION", help=_WITHIN)] = "",
    keep_tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Keep these; may be repeated.")] = None,
    tag: Tags = None,
    host: Hosts = None,
    of_set: OfSet = "",
    path: OfPath = "",
    group_by: Annotated[str, typer.Option(metavar=GROUPS, help="What makes a group; empty: all are one.")] = GROUPS,
    prune: Annotated[bool, typer.Option("--prune", help="Then prune, with its usual limits.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would go; change nothing.")] = False,
) -> int:
    """Show the plan, ask, and have the agent do just that."""
    request = ForgetRequest(
        snapshots=snapshots or [],
        keep_last=_read_count("last", keep_last),
        keep_hourly=_read_count("hourly", keep_hourly),
        keep_daily=_read_count("daily", keep_daily),
        keep_weekly=_read_count("weekly", keep_weekly),
        keep_monthly=_read_count("monthly", keep_monthly),
        keep_yearly=_read_count("yearly", keep_yearly),
        keep_within_s=_read_within(context_of(ctx).screen, keep_within),
        keep_tags=keep_tag or [],
        hosts=host or [],
        tags=tag or [],
        set=of_set,
        path=write_path(path),
        group_by=read_fields(group_by),
        zone=find_zone(),
    )
    return _carry_out(context_of(ctx), request, dry_run=dry_run, is_pruning=prune)


def _read_count(rule: str, count: int | None) -> int:
    """Return how many a rule keeps, 0 when it was not given.

    Raises:
        UserError: 0 was given, which keeps nothing and so is no rule.

    """
    if count == 0:
        raise UserError(
            f"--keep-{rule} 0 keeps nothing", hint="leave it out, or name the snapshots to forget; -1 keeps all"
        )
    return count or 0


def _read_within(screen: Screen, text: str) -> int:
    seconds = read_span(text, "--keep-within") or 0
    if _MINUTES.search(text):
        # Other programs mean months by it.
        screen.note(f"--keep-within {text} is {format_duration(seconds)}: m is minutes here, mo is months")
    return seconds


def _carry_out(context: Context, request: ForgetRequest, *, dry_run: bool, is_pruning: bool) -> int:
    screen, client = context.screen, context.client()
    request.servers = context.servers()
    plan = client.call("forget/plan", request, ForgetPlan)
    screen.event("plan", msgspec.to_builtins(plan))
    _show_plan(screen, plan)
    if dry_run or not plan.forgotten:
        going = [row.snapshot for group in plan.groups for row in group.snapshots if not row.kept]
        screen.line(f"would forget {_describe(plan)}" if plan.forgotten else "nothing to forget")
        result = ForgetResult(forgotten=going, kept=plan.kept)
        if is_pruning and going:
            result.pruned = _plan_prune(context, request, going)
        elif is_pruning:
            screen.line("so nothing is pruned; `backup-peer prune` takes what was forgotten before", hang=2)
        screen.done(result)
        return ExitCode.DONE
    if not screen.confirm(
        f"forget {_describe(plan)}{' and prune' if is_pruning else ''}?",
        unanswered=f"{format_count(plan.forgotten, 'snapshot')} would be forgotten",
    ):
        raise DeclinedError("nothing was forgotten: you said no")
    request.agreed = plan.digest
    try:
        with Spinner(screen) as spinner:
            result = run_work(client, "forget", request, ForgetResult, view=View(screen, spinner=spinner))
    except KeyboardInterrupt:
        raise InterruptedByUserError("stopped; `backup-peer snapshots` shows what there is") from None
    tick = screen.paint("✓", GREEN)
    screen.line(f"{tick} forgot {format_count(len(result.forgotten), 'snapshot')}, {result.kept:,} left", hang=2)
    if not is_pruning:
        screen.line("  what only they held stays with the hosts until `backup-peer prune`", hang=2)
    tell_left_out(screen, result.left_out)
    if is_pruning:
        wish = PruneRequest(servers=request.servers)
        result.pruned = carry_out(context, wish, is_agreed=True, event="prune-plan")
    screen.done(result)
    if result.pruned is not None:
        check_told(result.pruned)
    return ExitCode.DONE


def _plan_prune(context: Context, request: ForgetRequest, going: Sequence[str]) -> PruneResult | None:
    """Say what a prune would free once these snapshots are forgotten; a host that is away keeps that unknown."""
    wish = PruneRequest(servers=request.servers, without=[snapshot[:SNAPSHOT_DIGITS] for snapshot in going])
    context.screen.line()
    try:
        planned = carry_out(context, wish, dry_run=True, event="prune-plan")
    except Unavailable as exc:
        context.screen.note(f"what a prune would then free is not known: {exc.message}")
        return None
    # The list of snapshots of now is needed until there is another one: its pack can't be counted beforehand.
    context.screen.line("  that is about: the pack with the list of snapshots of now goes with it", hang=2)
    return planned


def tell_left_out(screen: Screen, left_out: Sequence[LeftOut]) -> None:
    """Tell which hosts still have the old list: the change stands, and reaches them later."""
    for host in left_out:
        screen.note(f"{host.name} still has the old list" + (f": {host.hint}" if host.hint else ""))


def _describe(plan: ForgetPlan) -> str:
    return f"{format_count(plan.forgotten, 'snapshot')}, keep {plan.kept:,}"


def _show_plan(screen: Screen, plan: ForgetPlan) -> None:
    if screen.json:
        return
    for group in plan.groups:
        screen.line(name_group(group.set, group.host, group.paths))
        columns = _COLUMNS[: _count_columns(group)]
        screen.table(columns, [_cells(row)[: len(columns)] for row in group.snapshots])
        screen.line()


def _count_columns(group: ForgetGroup) -> int:
    """Leave out at the end what says nothing: paths that the heading names, tags that nobody has."""
    if not group.paths:
        return len(_COLUMNS)
    return len(_COLUMNS) - (1 if any(row.tags for row in group.snapshots) else 2)


def _cells(row: PlannedRow) -> list[str]:
    return [
        escape_line(row.snapshot[:8]),
        format_moment(row.time) if row.time else "missing",
        "keep" if row.kept else "forget",
        ", ".join(map(escape_line, row.reasons)),
        ", ".join(map(escape_line, row.tags)),
        " ".join(map(escape_name, row.paths)),
    ]
