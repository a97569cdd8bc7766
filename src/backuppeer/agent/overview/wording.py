"""The report of a week in words: the same on a terminal and in a mail.

Knows: the report. Must not know: where it goes, colours. Pure.
"""

from collections.abc import Iterator
from typing import NamedTuple

from backuppeer.agent.notifications.message import Message, clean_line, cut_body
from backuppeer.control.reporting import Report, ReportedHost, ReportedSet
from backuppeer.sizes import format_free, format_size


class Part(NamedTuple):
    """One part of a report: its heading, and its lines; a line that begins with an arrow says what to do."""

    heading: str
    lines: list[str]


def write_parts(report: Report) -> list[Part]:
    """Return the parts of a report, those that have something to say."""
    parts = [
        Part("needs attention", list(_write_attention(report)) or ["nothing"]),
        Part("backed up", [_write_set(each) for each in report.sets]),
        Part("hosts", [_write_host(each) for each in report.hosts]),
        Part("kept for others", list(_write_hosting(report))),
        Part("free space", list(_write_space(report))),
    ]
    return [part for part in parts if part.lines]


def write_letter(report: Report) -> Message:
    """Return a report as a message."""
    text = [
        "\n".join([f"{part.heading.capitalize()}:", *(f"  {line}" for line in part.lines)])
        for part in write_parts(report)
    ]
    title = f"Backup Peer on {clean_line(report.machine)}: the week to {report.until[:10]}"
    return Message(title=title, body=cut_body([*text, "`backup-peer report` on that machine shows it as of now."]))


def _write_attention(report: Report) -> Iterator[str]:
    for each in report.attention:
        yield clean_line(each.text)
        if each.fix:
            yield f"→ {clean_line(each.fix)}"


def _write_set(row: ReportedSet) -> str:
    name = clean_line(row.set) if row.set else "paths in no set"
    if not row.last:
        return f"{name}: never yet"
    made = f"{row.made} {'snapshot' if row.made == 1 else 'snapshots'} this week" if row.made else "nothing this week"
    return f"{name}: {made}, the newest of {row.last[:10]} has {format_size(row.bytes)}"


def _write_host(row: ReportedHost) -> str:
    used = f"{format_size(row.used_bytes)} of {format_size(row.agreed_bytes)} used"
    proof = f"last proof {row.proven[:10]}" if row.proven else "no proof yet"
    return f"{clean_line(row.name)}: trust {row.trust:.2f} ({row.trust_level}), {used}, {proof}"


def _write_hosting(report: Report) -> Iterator[str]:
    if report.owners:
        used = f"{format_size(report.hosted_used_bytes)} of {format_size(report.hosted_agreed_bytes)} used"
        yield f"{report.owners} {'owner' if report.owners == 1 else 'owners'}, {used}"


def _write_space(report: Report) -> Iterator[str]:
    yield f"{format_free(report.home_free_bytes)} where the home lies"
    if report.store_free_bytes is not None:
        yield f"{format_free(report.store_free_bytes)} where what is kept for others lies"
