"""Simulated machines: when they are up, when their disks die. Pure, from a seed.

Knows: kinds of machines and their habits. Must not know: trust. A day has four windows of six hours, as bits: 1 = the
night, 2 = the morning, 4 = the afternoon, 8 = the evening.
"""

import random
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

WINDOWS: Final = 4
WORKING: Final = 0b0110
CRASHES_A_YEAR: Final = 0.03
ROT_A_YEAR: Final = 0.05
"""Disks that die with all they hold, and those that lose less than a hundredth."""
OUTAGE_A_DAY: Final = 0.01


class Kind(Enum):
    """What stands there. Values: the share of time that its human promises."""

    BOX = 0.95
    OFFICE = 0.33
    LAPTOP = 0.38


_MIX: Final = (Kind.BOX,) * 4 + (Kind.OFFICE,) * 3 + (Kind.LAPTOP,) * 3


@dataclass(slots=True)
class Peer:
    """A machine's year. up: a mask of windows for each day; promised: share of time; wants: GiB to store."""

    kind: Kind
    promised: float
    wants: float
    up: list[int]
    crashes: set[int] = field(default_factory=set)
    rots: set[int] = field(default_factory=set)


def make_peer(chance: random.Random, days: int) -> Peer:
    """Return an honest peer of a random kind; a third each want 1, 10 and 100 GiB."""
    kind = chance.choice(_MIX)
    peer = Peer(kind, kind.value, chance.choice((1.0, 10.0, 100.0)), make_presence(chance, kind, days))
    peer.crashes = {day for day in range(days) if chance.random() < CRASHES_A_YEAR / 365}
    peer.rots = {day for day in range(days) if chance.random() < ROT_A_YEAR / 365}
    return peer


def make_presence(chance: random.Random, kind: Kind, days: int, share: float = 0.4) -> list[int]:
    """Return a mask for each day. share: of the windows, for a laptop without holidays."""
    if kind is Kind.BOX:
        return _make_box(chance, days)
    away = _make_holidays(chance, days)
    return [0 if day in away else _make_day(chance, kind, day, share) for day in range(days)]


def _make_day(chance: random.Random, kind: Kind, day: int, share: float) -> int:
    if kind is Kind.OFFICE:
        return WORKING if day % 7 < 5 and chance.random() < 0.97 else 0
    return sum(1 << window for window in range(WINDOWS) if chance.random() < share)


def _make_box(chance: random.Random, days: int) -> list[int]:
    """Always on but for an outage of some hours every few months, each window by itself."""
    up = [(1 << WINDOWS) - 1] * days
    left = 0
    for window in range(days * WINDOWS):
        if not left and chance.random() < OUTAGE_A_DAY / WINDOWS:
            left = chance.randint(1, 8)
        if left:
            left -= 1
            up[window // WINDOWS] &= ~(1 << window % WINDOWS)
    return up


def _make_holidays(chance: random.Random, days: int) -> set[int]:
    """Two a year, of 7 to 14 days."""
    away: set[int] = set()
    for _ in range(max(1, round(2 * days / 365))):
        start = chance.randrange(days)
        away.update(range(start, start + chance.randint(7, 14)))
    return away
