"""Keys that a server has seen lately, so that only new ones have to show work (ADR 68).

Knows: the first eight bytes of keys, and on which day each was seen last. Must not know: listings, sockets. Made to be
small: one number for each key, in the set of its day. Losing it costs every publisher a stamp.
"""

from typing import Final

from backuppeer import limits
from backuppeer.clock import Clock

_NAME_BYTES: Final = 8
"""Of a public key. To make one that begins as a known one does costs more than a stamp by far: 2^45 keys of 2^19."""
_DAY_S: Final = 86_400


class SeenKeys:
    """The keys of the last KEY_REMEMBERED_DAYS; beyond `capacity` the oldest day goes, and today's only fill up."""

    def __init__(self, capacity: int, *, clock: Clock) -> None:
        self._capacity, self._clock = capacity, clock
        self._days: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return sum(len(names) for names in self._days.values())

    def __contains__(self, peer: bytes) -> bool:
        return self._find(_name(peer)) is not None

    def add(self, peer: bytes) -> None:
        """Remember a key as seen today."""
        name, today = _name(peer), self._today()
        before = self._find(name)
        if before == today:
            return
        if before is not None:
            self._days[before].discard(name)
        elif len(self) >= self._capacity and not self._make_room(today):
            return
        self._days.setdefault(today, set()).add(name)

    def sweep(self) -> None:
        """Forget the days that are over."""
        for day in [day for day in self._days if not self._is_kept(day)]:
            del self._days[day]

    def _make_room(self, today: int) -> bool:
        self.sweep()
        oldest = min((day for day in self._days if day != today), default=None)
        if oldest is not None and len(self) >= self._capacity:
            del self._days[oldest]
        return len(self) < self._capacity

    def _find(self, name: int) -> int | None:
        return next((day for day, names in self._days.items() if name in names and self._is_kept(day)), None)

    def _is_kept(self, day: int) -> bool:
        return day > self._today() - limits.KEY_REMEMBERED_DAYS

    def _today(self) -> int:
        return int(self._clock.monotonic_s() // _DAY_S)


def _name(peer: bytes) -> int:
    return int.from_bytes(peer[:_NAME_BYTES], "big")
