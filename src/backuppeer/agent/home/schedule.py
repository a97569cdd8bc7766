"""When a backup set is to run, as a person writes it.

Knows: the words, the calendar. Must not know: clocks, who runs it.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from backuppeer.clock import parse_duration
from backuppeer.errors import UserError
from backuppeer.limits import SCHEDULE_LEAST_S

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_AT: Final = r"(?: ([01]?[0-9]|2[0-3]):([0-5][0-9]))?"
_DAILY: Final = re.compile(rf"daily{_AT}")
_WEEKLY: Final = re.compile(rf"weekly(?: ({'|'.join(_DAYS)})[a-z]*)?{_AT}")
_MONTHLY: Final = re.compile(rf"monthly(?: ([1-9]|1[0-9]|2[0-8]))?{_AT}")
_DAY_S: Final = 86400
_MONTH_DAYS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Every so many seconds; or at a minute of each day (local time), of a weekday (0 = Monday) or day of the month."""

    every_s: int = 0
    minute: int | None = None
    weekday: int | None = None
    day: int | None = None


def parse_schedule(text: str) -> Schedule:
    """Return what `hourly`, `every 6h`, `daily 03:00`, `weekly sun 03:00` or `monthly 1 03:00` means.

    Without a time it is midnight; without a day Monday, or the first.

    Raises:
        UserError: none of these, or more often than every 15 minutes.

    """
    words = " ".join(text.lower().split())
    if words == "hourly":
        return Schedule(every_s=3600)
    if words.startswith("every "):
        try:
            seconds = parse_duration(words.removeprefix("every "))
        except UserError as exc:
            raise _no_schedule(text) from exc
        if seconds < SCHEDULE_LEAST_S:
            raise UserError(f"the schedule is too often: {text[:40]!r}", hint="the shortest is every 15m")
        return Schedule(every_s=seconds)
    if found := _DAILY.fullmatch(words):
        return Schedule(minute=_minute(found[1], found[2]))
    if found := _WEEKLY.fullmatch(words):
        return Schedule(weekday=_DAYS.index(found[1] or "mon"), minute=_minute(found[2], found[3]))
    if found := _MONTHLY.fullmatch(words):
        return Schedule(day=int(found[1] or 1), minute=_minute(found[2], found[3]))
    raise _no_schedule(text)


def next_after_ms(schedule: Schedule, last_ms: int, zone: tzinfo | None = None) -> int:
    """Return when a set is due that ran last at `last_ms`; milliseconds since 1970 UTC.

    `zone`: in which days begin; None = the machine's. A time of day that a change of clocks leaves out is that much
    later, one that comes twice is taken once.
    """
    if schedule.minute is None:
        return last_ms + 1000 * schedule.every_s
    last = datetime.fromtimestamp(last_ms / 1000, zone)
    day = last.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    for _ in range(_MONTH_DAYS):
        if _is_day(schedule, day):
            due = (day + timedelta(minutes=schedule.minute)).replace(tzinfo=zone).timestamp()
            if due * 1000 > last_ms:
                return int(due * 1000)
        day += timedelta(days=1)
    raise AssertionError("every schedule has a day within a month")


def _is_day(schedule: Schedule, day: datetime) -> bool:
    if schedule.weekday is not None:
        return day.weekday() == schedule.weekday
    return schedule.day is None or day.day == schedule.day


def period_s(schedule: Schedule) -> int:
    """Return about how long lies between two runs."""
    if schedule.every_s:
        return schedule.every_s
    return _DAY_S * (7 if schedule.weekday is not None else 1 if schedule.day is None else 30)


def _no_schedule(text: str) -> UserError:
    return UserError(
        f"not a schedule: {text[:40]!r}",
        hint="write it like hourly, every 6h, daily 03:00, weekly sun 03:00 or monthly 1 03:00 (days 1 to 28)",
    )


def _minute(hour: str | None, minute: str | None) -> int:
    return int(hour or 0) * 60 + int(minute or 0)
