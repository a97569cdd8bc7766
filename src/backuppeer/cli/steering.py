"""`pause`, `resume`, `cancel`: jobs of the agent, steered from any terminal."""

from typing import Annotated, Final

import typer

from backuppeer.cli.context import context_of
from backuppeer.cli.job_words import PAUSED, SCHEDULE, describe_done, name_job
from backuppeer.cli.spinner import Spinner
from backuppeer.control.api import JobRequest
from backuppeer.control.jobs import JobRow

_SENDING: Final = {"backup", "repair", "peers replace"}
"""Kinds of jobs that send something."""
Number = Annotated[
    int | None, typer.Argument(metavar="[JOB]", min=1, help="Its number, see `jobs`; none: the only one there is.")
]


def pause(ctx: typer.Context, job: Number = None) -> int:
    """Pause a job, wait until nothing of it moves, and say how it goes on."""
    context = context_of(ctx)
    screen = context.screen
    with Spinner(screen) as spinner:
        if screen.is_live:
            spinner.show("letting what is under way end …", timed=True)
        row = context.client().call("jobs/pause", JobRequest(job=job), JobRow)
    if row.state != PAUSED:
        # Resumed, or at its end, before all was still.
        screen.line(f"{name_job(row)} goes on: it was not paused for long, or has ended")
    else:
        done = describe_done(row)
        screen.line(f"paused {name_job(row)}{f' at {done}' if done else ''}: it reads and sends nothing", hang=2)
        kept = "what was sent is kept" if row.kind in _SENDING else "what is done stays"
        screen.line(f"  `backup-peer resume {row.job}` goes on where it is; {kept}", hang=2)
        if row.by == SCHEDULE:
            screen.line("  an agent that is started anew begins it again when it is due", hang=2)
        else:
            screen.line("  it stays paused when its terminal is closed, and ends with the agent", hang=2)
    screen.done(row)
    return 0


def resume(ctx: typer.Context, job: Number = None) -> int:
    """Let a job go on, and say how to see it."""
    context = context_of(ctx)
    row = context.client().call("jobs/resume", JobRequest(job=job), JobRow)
    context.screen.line(f"{name_job(row)} goes on", hang=2)
    if row.is_left:
        context.screen.line(f"  its terminal is gone: `backup-peer jobs attach {row.job}` shows it here", hang=2)
    context.screen.done(row)
    return 0


def cancel(ctx: typer.Context, job: Number = None) -> int:
    """End a job, and say what is kept."""
    context = context_of(ctx)
    screen = context.screen
    with Spinner(screen) as spinner:
        if screen.is_live:
            spinner.show("ending it …", timed=True)
        row = context.client().call("jobs/cancel", JobRequest(job=job), JobRow)
    ended_well = row.code == 0
    screen.line(f"{name_job(row)} had just ended by itself" if ended_well else f"cancelled {name_job(row)}", hang=2)
    if row.hint and not ended_well:
        screen.line(f"  {row.hint}", hang=2)
    screen.done(row)
    return 0
