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
from backuppeer.limits import AVAILABILITY_DAYS

_LABEL: Final = 10
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
