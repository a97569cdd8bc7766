"""What is on record of a peer, as `peers show` prints it: figures in two lines, contacts in a table."""

import time
from contextlib import suppress
from datetime import datetime
from typing import Final

from backuppeer.cli.render import Column, escape_line, format_count, format_moment
from backuppeer.cli.screen import Screen
from backuppeer.cli.units import format_duration, format_share, format_size
from backuppeer.clock import DAY_S
from backuppeer.control.history import ContactRow, Record, Tenancy
from backuppeer.control.showing import Lacking, ReceiptsHeld
from backuppeer.limits import AVAILABILITY_DAYS

_LABEL: Final = 10
_LACKING: Final = 6
"""Stretches of months without a receipt that are printed: older ones can't be mended, and --json has all."""
_COLUMNS: Final = (
    Column("begun", keep=True),
    Column("dialled by", keep=True),
    Column("how it went"),
    Column("sent", "right", keep=True),
    Column("received", "right", keep=True),
    Column("lasted", "right", keep=True),
    Column("path", keep=True, spare=True),
    Column("rtt", "right", keep=True, spare=True),
)


def show_record(screen: Screen, record: Record) -> None:
    """Print what was seen of a peer as a host."""
    met = f"met on {format_moment(record.first_met)[:10]}" if record.first_met else "never met"
    screen.line(f"record    {met}, {_say_evidence(record)}", hang=_LABEL)
    screen.line(f"{'':{_LABEL}}{_say_presence(record)}", hang=_LABEL)
    if failed := _say_failures(record):
        screen.line(f"{'':{_LABEL}}{failed}", hang=_LABEL)


def show_contacts(screen: Screen, record: Record) -> None:
    """Print the last contacts, and how to see more."""
    if not record.sessions + record.missed:
        screen.line("contacts  none yet", hang=_LABEL)
        return
    total = f"{format_count(record.sessions, 'session')}, {format_count(record.missed, 'try', 'tries')} in vain"
    shown = len(record.contacts)
    more = f"; the last {shown}, `--history N` shows N of them" if shown < record.sessions + record.missed else ""
    screen.line(f"contacts  {total}{more}:" if shown else f"contacts  {total}", hang=_LABEL)
    if shown:
        screen.table(_COLUMNS, [_cells(row) for row in record.contacts])


def show_receipts(screen: Screen, held: ReceiptsHeld | None, *, is_ours: bool) -> None:
    """Print the months of an agreement: signed by both, and each that lacks with why. is_ours: this home's data."""
    if held is None:
        return
    if not held.months:
        screen.line(f"  receipts: none yet, the first month is over on {format_moment(held.next_over)[:10]}", hang=4)
        return
    screen.line(
        f"  receipts: {held.signed} of {format_count(held.months, 'month')} signed by both{_say_newest(held)}", hang=4
    )
    if held.signed:
        screen.line(f"    {_say_theirs(held)}; {_say_told(held, is_ours=is_ours)}", hang=6)
    for lacking in held.lacking[-_LACKING:]:
        screen.line(f"    {_say_lacking(lacking)}", hang=6)
    if len(held.lacking) > _LACKING:
        screen.line(f"    earlier ones lack, too: `--json` lists all {len(held.lacking)} gaps", hang=6)


def show_tenancy(screen: Screen, tenancy: Tenancy | None) -> None:
    """Print how a peer behaved as one whose data is kept here; nothing where it never was."""
    if tenancy is None:
        return
    rows = (
        (tenancy.agreed, "made agreements"),
        (tenancy.noticed, "gave notice"),
        (tenancy.overdrawn, "sent more than was agreed"),
        (tenancy.owing, "was refused for what it owes in return"),
        (tenancy.deleted, "deleted"),
        (tenancy.mass_deleted, "deleted much at once"),
    )
    said = [f"{what} on {format_count(days, 'day')}" for days, what in rows if days]
    screen.line(f"as owner  it {', '.join(said)}" if said else "as owner  nothing of note", hang=_LABEL)


def _say_newest(held: ReceiptsHeld) -> str:
    if not held.newest:
        return ""
    ends, since = format_moment(held.newest_ends)[:10], format_moment(held.since)[:10]
    return (
        f"; the newest, of month {held.newest} until {ends}, says {format_size(held.newest_bytes)} kept since {since}"
    )


def _say_theirs(held: ReceiptsHeld) -> str:
    if held.theirs == held.newest:
        return "it holds them, too"
    return (
        f"it holds those up to month {held.theirs}, of later ones is not known"
        if held.theirs
        else "it is not known to hold them, too"
    )


def _say_told(held: ReceiptsHeld, *, is_ours: bool) -> str:
    if held.is_told:
        return "partners who know you both are told of them"
    return "you tell nobody of them (`trust.share_receipts`)" if is_ours else "its owner wants nobody told of them"


def _say_lacking(lacking: Lacking) -> str:
    """Return why months have no receipt, and what to do."""
    span = f"month {lacking.first}" if lacking.first == lacking.last else f"months {lacking.first} to {lacking.last}"
    days = f"{format_moment(lacking.begins)[:10]} to {format_moment(lacking.ends)[:10]}"
    said = f"{span} ({days}): {escape_line(lacking.reason)}"
    return f"{said}; {escape_line(lacking.todo)}" if lacking.todo else said


def _say_evidence(record: Record) -> str:
    if not record.days:
        return "no evidence yet"
    shown = [
        format_count(count, noun) for count, noun in ((record.audits, "audit"), (record.restores, "restore")) if count
    ]
    passed = f", {' and '.join(shown)} passed" if shown else ""
    return f"evidence of {format_count(record.days, 'day')}{passed}"


def _say_presence(record: Record) -> str:
    if record.availability is None:
        return "not looked at within 30 days"
    promised = f" ({format_share(record.promised)} promised)" if record.promised else ""
    there = f"there {format_share(record.availability)} of the time {_say_since(record.first_met)}{promised}"
    rtt = f", {record.rtt_ms:.3g} ms away" if record.rtt_ms else ""
    rate = f", {format_size(round(record.bytes_per_second))} a second" if record.bytes_per_second else ""
    return there + rtt + rate


def _say_since(first_met: str) -> str:
    """Return over which time a peer was looked at: 30 days, or since it was met."""
    with suppress(ValueError):
        if 0 <= time.time() - datetime.fromisoformat(first_met).timestamp() < AVAILABILITY_DAYS * DAY_S:
            return f"since {format_moment(first_met)[:10]}"
    return f"in {AVAILABILITY_DAYS} days"


def _say_failures(record: Record) -> str:
    rows = (
        (record.lost_days, "lost or wrong"),
        (record.refused_days, "not given back"),
        (record.reported_days, "lost, and said so"),
        (record.late_days, "late"),
    )
    failed = [f"{what} on {format_count(days, 'day')}" for days, what in rows if days]
    return f"failed: {', '.join(failed)}" if failed else ""


def _say_result(text: str) -> str:
    """Return it without the class of the error, which is for programs: they read it in JSON."""
    kind, separator, message = text.partition(": ")
    return message if separator and kind.isidentifier() else text


def _cells(row: ContactRow) -> tuple[str, ...]:
    moved = (format_size(row.sent_bytes), format_size(row.received_bytes)) if row.made else ("", "")
    return (
        format_moment(row.time),
        "you" if row.ours else "it",
        ("" if row.made else "in vain: ") + escape_line(_say_result(row.result)),
        *moved,
        format_duration(row.seconds) if row.made else "",
        escape_line(row.path),
        f"{row.rtt_ms:.3g} ms" if row.rtt_ms else "",
    )
