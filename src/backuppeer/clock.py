"""Time: the only place that asks the machine for it; everything else is handed a `Clock`.

Knows: wall time and monotonic time. Must not know: what anybody does with them.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What rooms need of time."""

    def now_ms(self) -> int:
        """Return wall time, milliseconds since 1970 UTC. May jump."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds since some start; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return wall time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()


def format_time(time_ms: int) -> str:
    """Return RFC 3339 UTC with seconds, e.g. `2026-11-22T21:30:00Z` (DESIGN 10)."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
