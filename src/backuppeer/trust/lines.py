"""Who goes on as whom, as this home follows it (ADR 69): what was seen of an identity counts for its heirs. Pure.

Knows: old → new, at most one heir for an identity. Must not know: signatures, who may enter (`agent.repute.heirs`).
Evidence stays written under the identity of which it was seen; what is asked of a peer is asked of its whole line.
"""

from collections.abc import Callable

from backuppeer.ids import PeerId


class Lines:
    """The lines of one home, in memory. Thread-safe for readers; one writes at a time."""

    def __init__(self) -> None:
        self._heirs: dict[PeerId, PeerId] = {}
        self._olds: dict[PeerId, tuple[PeerId, ...]] = {}
        self.watchers: list[Callable[[PeerId], None]] = []
        """Called with an heir whose line has just become longer: what was worked out of it and its heirs is old."""

    def __len__(self) -> int:
        """Return how many successions are followed: none is ever taken back."""
        return len(self._heirs)

    def follow(self, old: PeerId, new: PeerId) -> None:
        """Let `new` be the heir of `old`; whoever calls has seen to it that nobody becomes his own heir."""
        if self._heirs.get(old) == new:
            return
        self._heirs[old] = new
        self._olds[new] = (*self._olds.get(new, ()), old)
        for watch in self.watchers:
            watch(new)

    def heir(self, peer: PeerId) -> PeerId | None:
        """Return who goes on for a peer; None: it is there itself."""
        return self._heirs.get(peer)

    def heirs(self, peer: PeerId) -> tuple[PeerId, ...]:
        """Return the heir of a peer, the heir of that, and so on."""
        found: list[PeerId] = []
        heir = self._heirs.get(peer)
        while heir is not None:
            found.append(heir)
            heir = self._heirs.get(heir)
        return tuple(found)

    def newest(self, peer: PeerId) -> PeerId:
        """Return who goes on for a peer now: the last of its heirs, or it itself."""
        return self.heirs(peer)[-1] if peer in self._heirs else peer

    def of(self, peer: PeerId) -> tuple[PeerId, ...]:
        """Return a peer and all whose heir it is, itself first."""
        olds = self._olds.get(peer, ())
        return (peer, *(one for old in olds for one in self.of(old)))

    def steps(self, peer: PeerId) -> int:
        """Return how many successions lead to a peer, one after the other; 0 = it is nobody's heir."""
        return max((1 + self.steps(old) for old in self._olds.get(peer, ())), default=0)
