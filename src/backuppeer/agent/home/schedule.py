"""When a backup set is to run, as a person writes it.

Knows: the words. Must not know: clocks, who runs it. Nothing runs schedules yet; they are kept, checked and shown.
"""

import re
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Every so many seconds; or at a minute of the day (local time), of a weekday (0 = Monday) or day of the month."""

    every_s: int = 0
    minute: int = 0
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
        return Schedule(every_s=_DAY_S, minute=_minute(found[1], found[2]))
    if found := _WEEKLY.fullmatch(words):
        return Schedule(weekday=_DAYS.index(found[1] or "mon"), minute=_minute(found[2], found[3]))
    if found := _MONTHLY.fullmatch(words):
        return Schedule(day=int(found[1] or 1), minute=_minute(found[2], found[3]))
    raise _no_schedule(text)


def _no_schedule(text: str) -> UserError:
    return UserError(
        f"not a schedule: {text[:40]!r}",
        hint="write it like hourly, every 6h, daily 03:00, weekly sun 03:00 or monthly 1 03:00 (days 1 to 28)",
    )


def _minute(hour: str | None, minute: str | None) -> int:
    return int(hour or 0) * 60 + int(minute or 0)
