"""How many knocks are heard: so many a minute of all strangers together, and of each partner its own number.

Knows: time and peer ids. Must not know: what a knock says. Each knock heard costs writes that must be durable and a
socket for the reply, and anybody can send them by the thousand. A partner that asks where we are is heard whatever
strangers do: its number is its own.
"""

from backuppeer.clock import Clock
from backuppeer.ids import PeerId
from backuppeer.limits import PARTNER_KNOCKS_PER_MINUTE, STRANGER_KNOCKS_PER_MINUTE


class Gate:
    """Counts knocks. Bounded by the number of partners."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._strangers = _Allowance(STRANGER_KNOCKS_PER_MINUTE, clock.monotonic_s())
        self._partners: dict[PeerId, _Allowance] = {}

    def admits(self, owner: PeerId, *, is_partner: bool) -> bool:
        """Return whether a knock of `owner` is to be heard, and count it."""
        now_s = self._clock.monotonic_s()
        if not is_partner:
            return self._strangers.take(now_s)
        return self._partners.setdefault(owner, _Allowance(PARTNER_KNOCKS_PER_MINUTE, now_s)).take(now_s)


class _Allowance:
    """So many in a burst, growing back evenly within a minute."""

    def __init__(self, per_minute: int, now_s: float) -> None:
        self._most, self._left, self._since_s = float(per_minute), float(per_minute), now_s

    def take(self, now_s: float) -> bool:
        """Use one up, if one is left."""
        grown = (now_s - self._since_s) * self._most / 60
        self._left, self._since_s = min(self._most, self._left + grown), now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
