"""Token buckets: how fast one connection may speak, and how often one network, key or inbox may be heard.

Knows: monotonic time. Must not know: what is said. A connection above its rate is not cut but read later, so that a
viewer paging fast needs no clock of its own and a flooder gains nothing from reconnecting at once.
"""

from collections import OrderedDict

from backuppeer.clock import Clock
from backuppeer.signaling.server.engine import Rate


class TokenBucket:
    """`burst` messages at once, then `per_s` a second."""

    __slots__ = ("_burst", "_clock", "_per_s", "_then_s", "_tokens")

    def __init__(self, per_s: float, burst: int, *, clock: Clock) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._clock = clock
        self._then_s = clock.monotonic_s()

    def take(self) -> float:
        """Take a token, on credit if need be; return how many seconds to wait before going on (0 within the rate)."""
        now_s = self._clock.monotonic_s()
        self._tokens = min(self._burst, self._tokens + (now_s - self._then_s) * self._per_s) - 1
        self._then_s = now_s
        return max(0.0, -self._tokens / self._per_s)

    def take_at_once(self) -> bool:
        """Take a token if there is one; who finds none takes none, and so waits no longer by asking."""
        now_s = self._clock.monotonic_s()
        self._tokens = min(self._burst, self._tokens + (now_s - self._then_s) * self._per_s)
        self._then_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Buckets:
    """A bucket for each name, at most `capacity`: the one used longest ago goes, and would be fullest."""

    def __init__(self, capacity: int, *, clock: Clock) -> None:
        self._capacity, self._clock = capacity, clock
        self._buckets: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def spend(self, name: bytes, rate: Rate) -> bool:
        """Take a token from a bucket, which is full when it is new; False when there is none."""
        bucket = self._buckets.pop(name, None) or TokenBucket(rate.per_s, rate.burst, clock=self._clock)
        self._buckets[name] = bucket
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return bucket.take_at_once()
