"""A job in words.

Knows: rows of jobs. Must not know: the screen, how they are asked for.
"""

from typing import Final

from backuppeer.cli.progress import is_all_read
from backuppeer.cli.render import escape_line, format_count
from backuppeer.cli.units import format_duration, format_size
from backuppeer.control.jobs import JobRow

PAUSED: Final = "paused"
SCHEDULE: Final = "schedule"


def name_job(row: JobRow) -> str:
    """Return what a job is called: `job 3 (backup of set photos)`."""
    return f"job {row.job} ({call_job(row)})"


def describe_done(row: JobRow) -> str:
    """Return how much of a job is done: a share, else what was counted; empty where nothing was."""
    if is_all_read(row):
        return f"{format_size(row.sent_bytes)} sent"
    if not row.counting and row.bytes_total and row.bytes <= row.bytes_total:
        return f"{100 * row.bytes // row.bytes_total} %"
    if row.files_total and not row.bytes_total and not row.counting:
        return f"{row.files} of {format_count(row.files_total, row.unit)}"
    if row.bytes:
        return format_size(row.bytes)
    return format_count(row.files, row.unit) if row.files else ""


def describe_live(row: JobRow) -> str:
    """Return a job under way in one line: what it is, how far, how fast."""
    left = f"{format_duration(row.left_s)} left" if row.left_s is not None else ""
    rate = f"{format_size(row.bytes_per_s)}/s" if row.bytes_per_s else ""
    text = escape_line(row.text) if row.state != PAUSED else f"`backup-peer resume {row.job}` goes on"
    return ", ".join(filter(None, (f"{call_job(row)}: {row.state}", describe_done(row), rate, left, text)))


def call_job(row: JobRow) -> str:
    """Return what a job is: `backup of set photos`."""
    return escape_line(f"{row.kind} of {row.of}" if row.of else row.kind)
