"""`jobs`: what the agent is doing, and did last; `jobs attach`: the same progress at another terminal."""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import typer

from backuppeer.cli.context import Context, context_of
from backuppeer.cli.further import ITSELF, VerbGroup, VerbItself
from backuppeer.cli.job_words import PAUSED, SCHEDULE, call_job, describe_done, name_job
from backuppeer.cli.progress import describe_shares
from backuppeer.cli.render import Column, escape_line, format_moment
from backuppeer.cli.screen import GREEN, RED, YELLOW, Screen
from backuppeer.cli.spinner import Spinner
from backuppeer.cli.units import format_duration, format_size
from backuppeer.cli.work import View, run_work
from backuppeer.control.api import JobRequest, Nothing
from backuppeer.control.codec import convert_json
from backuppeer.control.jobs import JobEnded, JobRow
from backuppeer.errors import ExitCode, InterruptedByUserError

_LIVE: Final = (
    Column("job", "right", keep=True),
    Column("what"),
    Column("state", keep=True),
    Column("done", "right", keep=True),
    Column("now", "right", keep=True),
    Column("left", "right", keep=True),
    Column("since", keep=True, spare=True),
)
_INTERRUPTED: Final = "was interrupted"
_LAST: Final = (
    Column("job", "right", keep=True),
    Column("ended", keep=True),
    Column("", keep=True),
    Column("what"),
)


def add_to(app: typer.Typer) -> None:
    """Add the verb and what may follow it."""
    group = typer.Typer(cls=VerbGroup, rich_markup_mode=None)
    about = "Show what the agent is doing, and did last."
    more = (
        "`jobs attach 3` shows one at this terminal, as its own does. "
        "`pause`, `resume` and `cancel` steer a job. A job begun at a terminal ends with Ctrl-C there, as ever."
    )
    group.command(name=ITSELF, cls=VerbItself, help=about, epilog=more)(jobs)
    group.command(name="attach", help="Follow a job to its end; Ctrl-C leaves it running.")(attach)
    app.add_typer(group, name="jobs", help=about)


def jobs(ctx: typer.Context) -> int:
    """List jobs: those under way, then those that have ended."""
    context = context_of(ctx)
    screen = context.screen
    rows = context.client().call("jobs", Nothing(), list[JobRow])
    if screen.json:
        screen.value(rows)
        return 0
    live, ended = [row for row in rows if not row.ended], [row for row in rows if row.ended]
    if live:
        screen.table(_LIVE, [_cells(row) for row in live])
    else:
        screen.line("nothing is under way" if ended else "nothing is under way, and nothing was since the agent began")
    for row in live:
        for text in _describe_further(row):
            screen.line(f"  job {row.job}: {text}", hang=4)
    if ended:
        screen.line()
        screen.table(_LAST, [_last_cells(screen, row) for row in ended])
    for row in ended:
        if row.message and row.code != ExitCode.INTERRUPTED:
            screen.line(f"  job {row.job}: {escape_line(row.message)}", hang=4)
    return 0


def attach(
    ctx: typer.Context,
    job: Annotated[
        int | None, typer.Argument(metavar="[JOB]", min=1, help="Its number, see `jobs`; none: the only one there is.")
    ] = None,
) -> int:
    """Show what a job tells, and end as it does.

    Raises:
        InterruptedByUserError: Ctrl-C; the job goes on.
        BackupPeerError: what the job ended with.

    """
    context = context_of(ctx)
    try:
        with Spinner(context.screen) as spinner:
            view = View(context.screen, spinner=spinner, leaving="Ctrl-C leaves it so")
            view.owns = False
            ended = run_work(context.client(), "jobs/attach", JobRequest(job=job), JobEnded, view=view)
    except KeyboardInterrupt:
        number = "" if job is None else f" {job}"
        raise InterruptedByUserError(
            "left; the job goes on",
            hint=f"`backup-peer jobs attach{number}` follows it again, `backup-peer cancel{number}` ends it",
        ) from None
    return _report(context, ended)


def _report(context: Context, ended: JobEnded) -> int:
    """Tell the result as the job's own terminal does; as JSON all of it in one `done`."""
    if not context.screen.json:
        return _tell(context, ended)
    context.screen.done(ended)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - a device
        silent = Screen((sys.stdin, nowhere, nowhere), json=False, yes=False)
        return _tell(Context(context.options, silent), ended)


def _tell(context: Context, ended: JobEnded) -> int:
    reporter = _find_reporter(ended.route)
    if reporter is not None:
        return reporter(context, ended.result)
    context.screen.line(f"{context.screen.paint('✓', GREEN)} {name_job(ended.job)} has ended", hang=2)
    return 0


def _find_reporter(route: str) -> Callable[[Context, dict[str, Any]], int] | None:
    """Return what tells the result of a route; each is imported when it is needed."""
    if route in {"backup", "backup/stream"}:
        return _report_backup
    if route == "restore":
        return _report_restore
    if route == "check":
        return _report_check
    return _report_audit if route in {"audit", "audit/drill"} else None


def _report_backup(context: Context, result: dict[str, Any]) -> int:
    from backuppeer.cli.backup import report  # noqa: PLC0415 - start-up time
    from backuppeer.control.saving import BackupResult  # noqa: PLC0415

    made = convert_json(result, BackupResult)
    return report(context, made, dry=not made.snapshot)


def _report_restore(context: Context, result: dict[str, Any]) -> int:
    from backuppeer.cli.restore import report  # noqa: PLC0415 - start-up time
    from backuppeer.control.restoring import RestoreResult  # noqa: PLC0415

    return report(context, convert_json(result, RestoreResult))


def _report_check(context: Context, result: dict[str, Any]) -> int:
    from backuppeer.cli.check import report, show  # noqa: PLC0415 - start-up time
    from backuppeer.control.checking import CheckResult  # noqa: PLC0415

    found = convert_json(result, CheckResult)
    show(context.screen, found)
    return report(context, found, is_repaired=False)


def _report_audit(context: Context, result: dict[str, Any]) -> int:
    from backuppeer.cli.auditing import report  # noqa: PLC0415 - start-up time
    from backuppeer.control.auditing import AuditResult, DrillResult  # noqa: PLC0415

    is_audit = "shown" in result
    return report(context, convert_json(result, AuditResult) if is_audit else convert_json(result, DrillResult))


def _cells(row: JobRow) -> list[str]:
    return [
        str(row.job),
        call_job(row),
        row.state,
        describe_done(row) or "-",
        f"{format_size(row.bytes_per_s)}/s" if row.bytes_per_s else "-",
        "-" if row.left_s is None else format_duration(row.left_s),
        format_moment(row.since),
    ]


def _last_cells(screen: Screen, row: JobRow) -> list[str]:
    return [str(row.job), format_moment(row.ended), _mark(screen, row), f"{call_job(row)}{_say_end(row)}"]


def _mark(screen: Screen, row: JobRow) -> str:
    has_color = screen.out_is_terminal
    if row.code == ExitCode.INTERRUPTED:
        return "·"
    sign, color = ("✗", RED) if row.code else ("!", YELLOW) if row.is_partial else ("✓", GREEN)
    return screen.paint(sign, color) if has_color else sign


def _say_end(row: JobRow) -> str:
    if row.code:
        if row.code != ExitCode.INTERRUPTED:
            return f": ended with {row.code}"
        is_said = not row.message or row.message.endswith(_INTERRUPTED)
        return f": {'interrupted' if is_said else escape_line(row.message)}"
    size = f", {format_size(row.bytes)}" if row.bytes else ""
    return f"{size}{', but something was left out' if row.is_partial else ''}"


def _describe_further(row: JobRow) -> Iterator[str]:
    if row.state == PAUSED:
        left = "; its terminal is gone" if row.is_left else ""
        yield f"`backup-peer resume {row.job}` goes on, `backup-peer cancel {row.job}` ends it{left}"
    elif row.is_left:
        yield f"its terminal is gone; `backup-peer jobs attach {row.job}` shows it here"
    if row.text and row.state != PAUSED:
        yield escape_line(row.text)
    if row.by == SCHEDULE:
        yield "begun by the agent, as scheduled"
    if shares := describe_shares(row.peers):
        yield shares
