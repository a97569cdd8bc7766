"""How much work new keys must show: what the operator says when idle, more while many come.

Knows: when new keys came, monotonic time. Must not know: keys. Bits rise with the logarithm of the rate: a flood of
twice as many keys has to work twice as much for each.
"""

import math
from collections import deque

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.signaling.server.caps import Caps


class Load:
    """The rate of new keys, over about a minute."""

    def __init__(self, caps: Caps, *, clock: Clock) -> None:
        self._caps, self._clock = caps, clock
        self._weight, self._then_s = 0.0, clock.monotonic_s()
        self._asked: deque[tuple[float, int]] = deque()

    def note_new_key(self) -> None:
        """Count a key that was taken for the first time."""
        self._decay()
        self._weight += 1

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
        self._decay()
        base, rate = self._caps.stamp_bits, self._weight / limits.LOAD_WINDOW_S
        if rate < self._caps.load_keys_per_s:
            return base
        more = 1 + int(math.log2(rate / self._caps.load_keys_per_s))
        return min(limits.STAMP_BITS_MOST, max(base, limits.LOAD_BITS_LEAST) + more)

    def least(self) -> int:
        """Return the bits that are enough: who was asked for fewer, and worked, is not sent to work again."""
        self._forget()
        return min((bits for _, bits in self._asked), default=self.bits())

    def _decay(self) -> None:
        now_s = self._clock.monotonic_s()
        self._weight *= math.exp((self._then_s - now_s) / limits.LOAD_WINDOW_S)
        self._then_s = now_s

    def _forget(self) -> None:
        then_s = self._clock.monotonic_s() - limits.STAMP_S
        while self._asked and self._asked[0][0] < then_s:
            self._asked.popleft()
