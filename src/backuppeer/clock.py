"""Time: the only place that asks the machine for it; everything else is handed a `Clock`.

Knows: wall time and monotonic time, how times and durations are written. Must not know: what anybody does with them.
"""

import re
import time
from datetime import UTC, datetime
from typing import Final, Protocol

from backuppeer.errors import UserError

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86400
_DURATIONS: Final = {
    "s": 1,
    "m": MINUTE_S,
    "h": HOUR_S,
    "d": DAY_S,
    "w": 7 * DAY_S,
    "mo": 30 * DAY_S,
    "y": 365 * DAY_S,
}
_UNIT: Final = (
    "months?|mo|minutes?|mins?|m|seconds?|secs?|s|hours?|hrs?|h|days?|d|weeks?|w|years?|y"  # longer ones first
)
DURATION: Final = re.compile(rf"(?:[0-9]{{1,10}} ?(?:{_UNIT})(?![a-z]),? ?)+")
"""What a duration looks like, in lower case: `1h 30m`, or in words, `30 days`."""
_DURATION_PART: Final = re.compile(rf"([0-9]+) ?({_UNIT})(?![a-z])")
MAX_DURATION_S: Final = 100 * 365 * DAY_S
_FIRST_MS: Final = -62_135_510_400_000
_LAST_MS: Final = 253_402_214_399_000
"""What calendars have, without a day at either end: it is read again in any time zone."""


class Clock(Protocol):
    """What rooms need of time."""

    def now_ms(self) -> int:
        """Return wall time, milliseconds since 1970 UTC. May jump."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds since some start; never goes back."""
        ...


def tell_hour(time_ms: int, now_ms: int) -> str:
    """Return when something was, as people here say it: `14:02` of the last day, else `2026-11-28 14:02`."""
    said = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()
    return said.strftime("%H:%M" if 0 <= now_ms - time_ms < DAY_S * 1000 else "%Y-%m-%d %H:%M")


def slept_s() -> float:
    """Return for how many seconds this machine has slept since it was started; 0 where the system does not tell.

    What runs on in sleep less what stands still: the names differ from system to system.
    """
    for running, standing in (("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"), ("CLOCK_MONOTONIC", "CLOCK_UPTIME_RAW")):
        if hasattr(time, running) and hasattr(time, standing):
            gap_s = time.clock_gettime(getattr(time, running)) - time.clock_gettime(getattr(time, standing))
            return max(0.0, gap_s)  # read one after the other
    return 0.0


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return wall time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()


def format_time(time_ms: int) -> str:
    """Return RFC 3339 UTC with seconds, e.g. `2026-11-22T21:30:00Z` (DESIGN 10).

    Never raises: what is beyond the calendar, as peers may say, is written as its first or last day.
    """
    written_ms = min(max(time_ms, _FIRST_MS), _LAST_MS)
    return f"{datetime.fromtimestamp(written_ms / 1000, UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def parse_duration(text: str) -> int:
    """Return the seconds that `2h`, `30d`, `1y`, `1h 30m` or `30 days` stands for.

    Raises:
        UserError: not a duration, no unit, or more than 100 years.

    """
    cleaned = text.strip().lower()
    if not DURATION.fullmatch(cleaned):
        raise UserError(
            f"not a duration: {text[:40]!r}", hint="write it like 90s, 15m, 2h, 30d, 2w, 6mo or 1y (m = minutes)"
        )
    seconds = sum(int(number) * _measure_unit(unit) for number, unit in _DURATION_PART.findall(cleaned))
    if seconds > MAX_DURATION_S:
        raise UserError(f"too long a duration: {text[:40]!r}", hint="the longest is 100y")
    return seconds


def _measure_unit(unit: str) -> int:
    """Return the seconds of a unit, by its letter or in words; of months two letters tell them from minutes."""
    return _DURATIONS["mo" if unit.startswith("mo") else unit[0]]
