"""What room there is at a host, in words: free now, and what becomes free when (DESIGN 5).

Knows: numbers of `wire.messages.Usage`, the clock of this machine. Must not know: who asks. What was deleted is erased
after so much of the host's uptime: a date is the soonest, and both sides say so.
"""

from typing import Final

from backuppeer.clock import format_time
from backuppeer.limits import LISTING_TERM_S
from backuppeer.sizes import format_free
from backuppeer.wire.messages import Usage

_DAY_S: Final = 86400


def say_date(now_ms: int, left_s: int) -> str:
    """Return the UTC day that lies so far ahead; within two days the minute, too."""
    # A century at most, as of all terms: a host may name any number.
    text = format_time(now_ms + min(left_s, LISTING_TERM_S) * 1000)
    return text[:10] if left_s >= 2 * _DAY_S else f"{text[:10]} {text[11:16]} UTC"


def say_span(seconds: int) -> str:
    """Return a length of time in its largest unit that leaves no rest: "30 d", "36 h", "90 s"."""
    for unit, length in (("d", _DAY_S), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def say_later(size_bytes: int, left_s: int, now_ms: int) -> str:
    """Return what follows "x free now": "" when nothing that was deleted waits for its end."""
    if not size_bytes:
        return ""
    return f", {format_free(size_bytes)} more on {say_date(now_ms, left_s)} at the soonest"


def say_room(usage: Usage, now_ms: int) -> str:
    """Return "x free now, y more on DATE at the soonest"."""
    later = say_later(usage.next_free_bytes, usage.next_free_s, now_ms)
    return f"{format_free(usage.free_bytes)} free now{later}"
