"""What was worked out of a peer's evidence, kept until something new is seen of it.

Knows: peers, values. Must not know: what they mean. A market of thousands is scored with each `browse`: of nearly all
nothing is known, which costs a look into a set; of the others hardly any changed since. Thread-safe.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from backuppeer.ids import PeerId

T = TypeVar("T")


class Recall(Generic[T]):
    """One value for each peer. `known`: the peers of which anything was ever seen; of all others `nothing`."""

    def __init__(self, known: set[PeerId], nothing: T) -> None:
        self._known, self._nothing = known, nothing
        self._kept: dict[PeerId, tuple[int, T]] = {}
        self._changes: dict[PeerId, int] = {}

    def get(self, peer: PeerId, work_out: Callable[[PeerId], T]) -> T:
        """Return the value of a peer, worked out if it is not kept."""
        if peer not in self._known:
            return self._nothing
        # Taken before the value is worked out: of what is written meanwhile it may know nothing, and is not believed.
        change = self._changes.get(peer, 0)
        kept = self._kept.get(peer)
        if kept is not None and kept[0] == change:
            return kept[1]
        value = work_out(peer)
        self._kept[peer] = (change, value)
        return value

    def forget(self, peer: PeerId) -> None:
        """Work it out anew: something was seen of the peer just now, or what is kept is too old."""
        self._known.add(peer)
        self._changes[peer] = self._changes.get(peer, 0) + 1
