"""Owners whose agreements have all ended: answered for a while longer, as they may not have heard (ADR 52).

Knows: who and since when, as this home's state keeps it. Must not know: the store, sessions. Whose last answer was lost
would find nobody here otherwise, and could not tell an end from a host that is away. There is nothing left for them
to ask for but that.
"""

import threading
from typing import Final

from backuppeer.agent.home.rows import KeptRows
from backuppeer.agent.home.state import State
from backuppeer.clock import Clock
from backuppeer.ids import PEER_ID_BYTES, PeerId
from backuppeer.limits import FORMER_OWNER_S, FORMER_OWNERS

_FORMER: Final = "store.former"
_TIME_BYTES: Final = 8
_ROW_BYTES: Final = PEER_ID_BYTES + _TIME_BYTES


class FormerOwners:
    """The owners let go of last, FORMER_OWNERS at most. Thread-safe."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state, self._clock, self._lock = state, clock, threading.Lock()
        self._rows = KeptRows(state, _FORMER, _ROW_BYTES)
        read = ((PeerId(row[:PEER_ID_BYTES]), row[PEER_ID_BYTES:]) for row in self._rows.read())
        self._since_ms = {peer: int.from_bytes(since, "big") for peer, since in read}

    def add(self, owner: PeerId) -> None:
        """Note that the last agreement with an owner has ended now, durably.

        Raises:
            LocalError: a disk that refuses.

        """
        with self._lock:
            known = {**self._since_ms, owner: self._clock.now_ms()}
            latest = sorted(known, key=lambda peer: known[peer])[-FORMER_OWNERS:]
            self._since_ms = {peer: known[peer] for peer in latest if self._is_recent(known[peer])}
            self._rows.write(peer + since_ms.to_bytes(_TIME_BYTES, "big") for peer, since_ms in self._since_ms.items())

    def __contains__(self, peer: PeerId) -> bool:
        since_ms = self._since_ms.get(peer)
        return since_ms is not None and self._is_recent(since_ms) and peer not in self._state.blocks

    def _is_recent(self, since_ms: int) -> bool:
        return 0 <= self._clock.now_ms() - since_ms < FORMER_OWNER_S * 1000
