"""What one node has seen of the slots on show, to hand out while the store that nodes share is gone.

Knows: signed listings, the hours they may still count. Must not know: the store. Bounded; viewers check every row.
"""

import random
from collections import OrderedDict

from backuppeer.clock import Clock
from backuppeer.signaling.server.engine import Slice
from backuppeer.signaling.server.walk import Walk


class Mirror:
    """At most `capacity` listings; those seen longest ago go."""

    def __init__(self, capacity: int, *, life_s: float, clock: Clock, randomness: random.Random) -> None:
        self._capacity, self._life_s, self._clock, self._random = capacity, life_s, clock, randomness
        self._rows: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    def keep(self, peer: bytes, signed: bytes) -> None:
        """Remember a row."""
        self._rows[peer] = (signed, self._clock.monotonic_s() + self._life_s)
        self._rows.move_to_end(peer)
        if len(self._rows) > self._capacity:
            self._rows.popitem(last=False)

    def drop(self, peer: bytes) -> None:
        """Forget a row."""
        self._rows.pop(peer, None)

    def sweep(self) -> None:
        """Forget what no longer counts."""
        now_s = self._clock.monotonic_s()
        for peer in [peer for peer, (_, until_s) in self._rows.items() if until_s <= now_s]:
            del self._rows[peer]

    def page(self, cursor: bytes, limit: int, *, most: int) -> Slice:
        """Walk on through what is remembered; `most`: as of the store's cursors, which count here, too.

        Raises:
            ProtocolViolation: not a cursor of ours.

        """
        self.sweep()
        rows = [signed for signed, _ in self._rows.values()]
        walk = Walk.resume(cursor, most) if cursor else Walk.begin(len(rows), self._random)
        found: list[bytes] = []
        for place in walk.look_ahead(limit):
            if len(found) == limit:
                break
            walk.done += 1
            if place < len(rows):
                found.append(rows[place])
        return Slice(found, walk.cursor(), len(rows))
