"""When a peer was there, in windows of six hours: what share of the time that is, and how long it has been away. Pure.

Knows: bit masks of windows. Must not know: where they are written down, who looked. A window is up if the peer was in
session or answered at any moment of it, down if it was tried and never answered. It is neither if nobody tried: this
machine may have been off. So how often somebody tries within a window changes nothing (ADR 61).
"""

from dataclasses import dataclass
from typing import Final

from backuppeer.limits import AVAILABILITY_DAYS, WINDOWS_KEPT

WINDOW_MS: Final = 6 * 3_600_000
WINDOWS_PER_DAY: Final = 4


@dataclass(frozen=True, slots=True)
class Windows:
    """Bit masks over the last WINDOWS_KEPT windows: bit n is the one n before that of now, so masks of two peers match.

    up: it answered; seen: it answered, or was tried in vain.
    """

    up: int = 0
    seen: int = 0


def window_of(time_ms: int) -> int:
    """Return the number of the window that a time lies in, counted from 1970."""
    return time_ms // WINDOW_MS


def find_share(windows: Windows) -> float:
    """Return in what share of the windows of the last 30 days the peer was up; 1 where it was never tried."""
    month = (1 << AVAILABILITY_DAYS * WINDOWS_PER_DAY) - 1
    seen = (windows.seen & month).bit_count()
    return (windows.up & windows.seen & month).bit_count() / seen if seen else 1.0


def count_days_in_vain(windows: Windows) -> int:
    """Return on how many days the peer was tried since it answered last, never with an answer.

    Days on which nobody tried don't count: who was away for a month learns nothing of its hosts by that.
    """
    since = (windows.up & -windows.up) - 1 if windows.up else (1 << WINDOWS_KEPT) - 1
    tried = windows.seen & since
    day = (1 << WINDOWS_PER_DAY) - 1
    return sum(1 for start in range(0, WINDOWS_KEPT, WINDOWS_PER_DAY) if tried >> start & day)
