"""What goes on by itself: schedules of backup sets, and the service that keeps the agent running.

Knows: what the agent tells of schedules, what the system does of the service. Must not know: how either is asked. Pure.
"""

import shlex
from collections.abc import Iterator, Sequence

from backuppeer.cli.checkup.findings import Finding, State
from backuppeer.cli.render import escape_line, format_count, format_moment
from backuppeer.control.scheduling import OverdueSet, ScheduledSet
from backuppeer.errors import ExitCode


def judge_schedules(rows: Sequence[ScheduledSet]) -> Iterator[Finding]:
    """Return of each set with a schedule whether it is kept."""
    for row in rows:
        last = f"last backed up {format_moment(row.last)}" if row.last else "never backed up yet"
        following = f"next {format_moment(row.next)}"
        again = f"`backup-peer backup --set {shlex.quote(row.set)}` shows what stands in the way"
        if row.running:
            text = f"{last}; being backed up since {format_moment(row.running)}"
            yield Finding(link="schedule", name=row.set, state=State.OK, text=text)
        elif row.idle:
            text = f"{last}; nothing new is backed up: {escape_line(row.idle)}"
            fix = "`backup-peer browse` shows who offers space"
            yield Finding(link="schedule", name=row.set, state=State.WARNING, text=text, fix=fix)
        elif row.failure:
            text = f"{last}; the try at {format_moment(row.failed)} failed: {escape_line(row.failure)}; {following}"
            code = int(ExitCode.INCOMPLETE)
            yield Finding(link="schedule", name=row.set, state=State.BROKEN, text=text, fix=again, code=code)
        elif row.waiting:
            text = f"{last}; due, and waits: {escape_line(row.waiting)}"
            yield Finding(link="schedule", name=row.set, state=State.WARNING, text=text)
        elif row.late:
            text = f"{last}, which is late; {following}"
            yield Finding(link="schedule", name=row.set, state=State.WARNING, text=text, fix=again)
        elif row.kept_why:
            text = f"{last}; {following}; old snapshots: {escape_line(row.kept_why)}"
            by_hand = f"`backup-peer forget --set {shlex.quote(row.set)}` shows what would go"
            yield Finding(link="schedule", name=row.set, state=State.WARNING, text=text, fix=by_hand)
        else:
            yield Finding(link="schedule", name=row.set, state=State.OK, text=f"{last}; {following}")


def describe_overdue(row: OverdueSet) -> str:
    """Return for how long a set was not backed up, or (no set) anything."""
    called = f"the set {row.set}" if row.set else "this machine"
    last = f"last {format_moment(row.last)}" if row.last else "never yet"
    return f"{called} was not backed up for {format_count(row.days, 'day')}: {last}"


def advise_overdue(row: OverdueSet) -> str:
    """Return what to do about it."""
    typed = f"backup --set {shlex.quote(row.set)}" if row.set else "backup PATH"
    return f"`backup-peer {typed}` shows what stands in the way"


def judge_overdue(rows: Sequence[OverdueSet]) -> Iterator[Finding]:
    """Return the alarm for each set that was not backed up for longer than `notify.after`."""
    for row in rows:
        text, code = describe_overdue(row), int(ExitCode.INCOMPLETE)
        fix = advise_overdue(row)
        yield Finding(link="backups", name=row.set, state=State.BROKEN, text=text, fix=fix, code=code)


def judge_service(*, is_installed: bool, is_running: bool, is_needed: bool) -> Finding:
    """Return whether the agent starts by itself. is_needed: there are schedules, or others' backups are kept here."""
    if is_installed and is_running:
        return Finding(link="service", state=State.OK, text="the agent starts at each login")
    if is_installed:
        text = "installed, but the agent does not run by it: it does at the next login"
        return Finding(link="service", state=State.WARNING, text=text, fix="`backup-peer service status` tells more")
    if is_needed:
        text = "none: backups by schedule and hosting end when this machine restarts"
        return Finding(link="service", state=State.WARNING, text=text, fix="`backup-peer service install`")
    return Finding(link="service", state=State.NONE, text="none: the agent starts when a command needs it")
