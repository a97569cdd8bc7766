"""How good a connection is, in one word and with its reason (REQUIREMENTS U1).

Knows: path, round trip, loss, silence. Must not know: sessions. Pure. The worst of what is measured decides.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from backuppeer.transport.base import PathKind


class Grade(StrEnum):
    """From good to bad."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"


class Quality(NamedTuple):
    """A grade and what decided it."""

    grade: Grade
    reason: str


_SILENT_S: Final = 12.0
"""A peer in session answers every five seconds, and is given up after fifteen."""
_RTT_MS: Final = ((400.0, Grade.POOR), (150.0, Grade.FAIR))
_LOSS: Final = ((0.05, Grade.POOR), (0.01, Grade.FAIR))


def judge_quality(kind: PathKind, *, rtt_ms: float, loss: float | None, silent_s: float) -> Quality:
    """Return how good a connection is. loss: share of packets; None = not known. silent_s: since anything came."""
    if kind is PathKind.NONE:
        return Quality(Grade.POOR, "no path leads there now")
    if silent_s >= _SILENT_S:
        return Quality(Grade.POOR, f"nothing came from it for {silent_s:.0f} s")
    found = [Quality(grade, f"{loss:.0%} of packets are lost") for least, grade in _LOSS if (loss or 0.0) >= least][:1]
    found += [Quality(grade, f"an answer takes {rtt_ms:.0f} ms") for least, grade in _RTT_MS if rtt_ms >= least][:1]
    if kind is PathKind.RELAYED:
        found.append(Quality(Grade.FAIR, "it goes by a relay"))
    order = list(Grade)
    return max(found, key=lambda each: order.index(each.grade), default=Quality(Grade.GOOD, f"direct, {rtt_ms:.0f} ms"))
