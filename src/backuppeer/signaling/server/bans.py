"""Networks that break the protocol again and again are kept out for a while.

Knows: opaque addresses, as the door counts them, and monotonic time. Must not know: what they did. In memory alone and
bounded: a ban ends by itself, and with the process.
"""

from collections import OrderedDict

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.engine import Rate
from backuppeer.signaling.server.rate import Buckets


class Bans:
    """Who may not come in, until when."""

    def __init__(self, caps: Caps, *, clock: Clock) -> None:
        self._caps, self._clock = caps, clock
        self._strikes = Buckets(limits.SERVER_BUCKETS, clock=clock)
        self._until_s: OrderedDict[str, float] = OrderedDict()

    def strike(self, address: str) -> bool:
        """Count a breach; return whether it was one too many."""
        rate = Rate(self._caps.strikes_per_hour / 3600, self._caps.strikes_burst)
        if self._strikes.spend(address.encode(), rate):
            return False
        self._until_s[address] = self._clock.monotonic_s() + self._caps.ban_s
        self._until_s.move_to_end(address)
        if len(self._until_s) > limits.SERVER_BANS:
            self._until_s.popitem(last=False)
        return True

    def holds(self, address: str) -> bool:
        """Tell whether an address is kept out now."""
        until_s = self._until_s.get(address)
        if until_s is None:
            return False
        if until_s > self._clock.monotonic_s():
            return True
        del self._until_s[address]
        return False
