"""How much work a flood costs: what the operator says when idle, more while many come.

Knows: how often something came, monotonic time. Must not know: keys, messages. Bits rise with the logarithm of the
rate: a flood of twice as many has to work twice as much for each.
"""

import math
from collections import deque

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.signaling.server.caps import Caps


class Tide:
    """How often something came, over about a minute."""

    __slots__ = ("_weight", "last_s")

    def __init__(self, now_s: float) -> None:
        self._weight = 0.0
        self.last_s = now_s
        """When it came last."""

    def note(self, now_s: float) -> None:
        """Count one more."""
        self._weight = self._left(now_s) + 1
        self.last_s = now_s

    def bits(self, now_s: float, *, per_s: float, base: int, most: int) -> int:
        """Return the bits that fit the rate now: `base` below `per_s`, then one more with each doubling."""
        rate = self._left(now_s) / limits.LOAD_WINDOW_S
        if rate < per_s:
            return base
        return min(most, max(base, limits.LOAD_BITS_LEAST) + 1 + int(math.log2(rate / per_s)))

    def _left(self, now_s: float) -> float:
        return self._weight * math.exp((self.last_s - now_s) / limits.LOAD_WINDOW_S)


class Load:
    """What a new key must show."""

    def __init__(self, caps: Caps, *, clock: Clock) -> None:
        self._caps, self._clock = caps, clock
        self._tide = Tide(clock.monotonic_s())
        self._asked: deque[tuple[float, int]] = deque()

    def note_new_key(self) -> None:
        """Count a key that was taken for the first time."""
        self._tide.note(self._clock.monotonic_s())

    def ask(self) -> int:
        """Return the bits that a new key is asked for now; 0 = none."""
        bits, now_s = self.bits(), self._clock.monotonic_s()
        self._forget()
        if not self._asked or self._asked[-1][1] != bits:
            self._asked.append((now_s, bits))
        else:
            self._asked[-1] = (now_s, bits)
        return bits

    def bits(self) -> int:
        """Return the bits that fit the rate now."""
        caps = self._caps
        now_s, per_s = self._clock.monotonic_s(), caps.load_keys_per_s
        return self._tide.bits(now_s, per_s=per_s, base=caps.stamp_bits, most=limits.STAMP_BITS_MOST)

    def least(self) -> int:
        """Return the bits that are enough: who was asked for fewer, and worked, is not sent to work again."""
        self._forget()
        return min((bits for _, bits in self._asked), default=self.bits())

    def _forget(self) -> None:
        then_s = self._clock.monotonic_s() - limits.STAMP_S
        while self._asked and self._asked[0][0] < then_s:
            self._asked.popleft()
