"""Token bucket: how fast one connection may speak, and one network leave notes.

Knows: monotonic time. Must not know: what is said. A connection above its rate is not cut but read later, so that a
viewer paging fast needs no clock of its own and a flooder gains nothing from reconnecting at once.
"""

from backuppeer.clock import Clock


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
