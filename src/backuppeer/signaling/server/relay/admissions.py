"""Admissions: which transport keys may use relay and observer now (ADR 77).

Knows: transport keys, networks (/24, /48), until when. Must not know: identities, listings, whom a key talks
to. An admission is a token that is bound to a key: nobody but the holder of the key can use it, so it needs no secret.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass

from backuppeer import limits
from backuppeer.clock import Clock


@dataclass(frozen=True, slots=True)
class _Admission:
    until_s: float
    network: str


class Admissions:
    """The keys admitted at one server process."""

    def __init__(
        self,
        clock: Clock,
        *,
        life_s: float = limits.RELAY_LIFE_S,
        most: int = limits.RELAY_ADMISSIONS,
        per_network: int = limits.RELAY_ADMISSIONS_PER_NETWORK,
    ) -> None:
        self._clock, self.life_s, self._most, self._per_network = clock, life_s, most, per_network
        self._held: OrderedDict[bytes, _Admission] = OrderedDict()  # the next to lapse first
        self._of: Counter[str] = Counter()

    def admit(self, key: bytes, network: str) -> bool:
        """Admit a 32-byte transport key, or go on admitting it; False when its network or the server has too many."""
        self._drop_lapsed()
        before = self._held.get(key)
        # Anybody may name any key, so one that is admitted stays with the network that it was first asked from.
        network = before.network if before is not None else network
        if before is None and (len(self._held) >= self._most or self._of[network] >= self._per_network):
            return False
        self._of[network] += before is None
        self._held[key] = _Admission(self._clock.monotonic_s() + self.life_s, network)
        self._held.move_to_end(key)
        return True

    def holds(self, key: bytes) -> bool:
        """Say whether a key is admitted now."""
        found = self._held.get(key)
        return found is not None and found.until_s > self._clock.monotonic_s()

    def _drop_lapsed(self) -> None:
        now_s = self._clock.monotonic_s()
        while self._held:
            key, first = next(iter(self._held.items()))
            if first.until_s > now_s:
                return
            del self._held[key]
            self._of[first.network] -= 1
            if not self._of[first.network]:
                del self._of[first.network]
