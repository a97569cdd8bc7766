"""Peers that are being dialled: how far each is, for whoever looks (REQUIREMENTS U1, U3).

Knows: who is dialled, since when, and whether it answers yet. Must not know: how a peer is dialled.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from backuppeer.ids import PeerId

CONNECTING = "connecting"
VERIFYING = "verifying"


@dataclass(slots=True)
class Attempt:
    """One dial. state: connecting until something answers, then verifying until it has proven who it is."""

    since_ms: int
    state: str = CONNECTING


class Attempts:
    """The dials under way; of several to one peer the first is shown."""

    def __init__(self) -> None:
        self._under_way: dict[PeerId, list[Attempt]] = {}

    @contextmanager
    def begin(self, peer: PeerId, now_ms: int) -> Iterator[Attempt]:
        """Count a dial as under way while the block runs."""
        attempt = Attempt(now_ms)
        self._under_way.setdefault(peer, []).append(attempt)
        try:
            yield attempt
        finally:
            mine = [each for each in self._under_way[peer] if each is not attempt]
            self._under_way[peer] = mine
            if not mine:
                del self._under_way[peer]

    def all(self) -> dict[PeerId, Attempt]:
        """Return who is dialled."""
        return {peer: attempts[0] for peer, attempts in self._under_way.items()}
