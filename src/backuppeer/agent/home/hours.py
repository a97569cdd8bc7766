"""Hours of each day, as a person writes them: `22:00-07:00`.

Knows: wall time of the machine, also over midnight and when clocks change. Must not know: what the hours are for.
A beginning or end that a change of clocks leaves out is that much later; one that comes twice is the first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from backuppeer.errors import UserError

_TIME: Final = r"([01]?[0-9]|2[0-4]):([0-5][0-9])"
_HOURS: Final = re.compile(rf"{_TIME} ?(?:-|to) ?{_TIME}")
_DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """From one minute of the day to another, that one left out; over midnight where it is not later."""

    begin: int
    end: int


def parse_hours(text: str) -> Hours:
    """Return what `22:00-07:00` means.

    Raises:
        UserError: no such hours, or none at all.

    """
    found = _HOURS.fullmatch(" ".join(text.lower().split()))
    begin, end = (int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])) if found else (-1, -1)
    if max(begin, end) > _DAY_MINUTES or found is None:
        raise UserError(f"not hours of a day: {text[:40]!r}", hint="write them like 22:00-07:00, in local time")
    if begin % _DAY_MINUTES == end % _DAY_MINUTES:
        raise UserError(f"these hours are no part of a day: {text[:40]!r}", hint="write them like 22:00-07:00")
    return Hours(begin % _DAY_MINUTES, end % _DAY_MINUTES or _DAY_MINUTES)


def find_end_ms(hours: Hours, now_ms: int, zone: tzinfo | None = None) -> int:
    """Return when the hours end in which `now_ms` lies, 0 if it lies in none; milliseconds since 1970 UTC."""
    return next((end for begin, end in _spans(hours, now_ms, zone) if begin <= now_ms < end), 0)


def find_begin_ms(hours: Hours, from_ms: int, zone: tzinfo | None = None) -> int:
    """Return when they begin next, `from_ms` itself if that is a beginning."""
    return next(begin for begin, _ in _spans(hours, from_ms, zone) if begin >= from_ms)


def fit_ms(hours: Hours, due_ms: int, zone: tzinfo | None = None) -> int:
    """Return `due_ms` if it lies within the hours, else when they begin next."""
    return due_ms if find_end_ms(hours, due_ms, zone) else find_begin_ms(hours, due_ms, zone)


def _spans(hours: Hours, around_ms: int, zone: tzinfo | None) -> Iterator[tuple[int, int]]:
    """Yield beginning and end of the day before, this one, and those that come."""
    local = datetime.fromtimestamp(around_ms / 1000, zone)
    today = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    length = (hours.end - hours.begin) % _DAY_MINUTES
    for day in range(-1, 4):
        begin = today + timedelta(days=day, minutes=hours.begin)
        begin_ms, end_ms = _stamp_ms(begin, zone), _stamp_ms(begin + timedelta(minutes=length), zone)
        # Only the beginning may have been left out by the clocks: then it would lie behind the end.
        yield begin_ms, end_ms if end_ms > begin_ms else begin_ms + 60_000 * length


def _stamp_ms(local: datetime, zone: tzinfo | None) -> int:
    return int(local.replace(tzinfo=zone).timestamp() * 1000)
