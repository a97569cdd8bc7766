"""Sessions that a person ended, here or there: work that was under way leaves that peer alone for a while.

Knows: which peer, why, until when. Must not know: sessions, what the work is. Without this a job would dial again
within a second, and "disconnected" would be a word. What waits tells its person why; the next command that works lifts
it, and a session that the peer begins is used all the same.
"""

from typing import Final

from backuppeer.clock import Clock
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import PeerId
from backuppeer.limits import PARTED_S

HERE: Final = "the session with it was ended here, by `disconnect`"
THERE: Final = "its person ended the session"
_HINT: Final = "what was sent is kept: the same command again goes on"


class LeftAlone(PeerUnreachable):
    """There is no session with a peer, and none is begun: a person ended it."""


class Parting:
    """The peers that are left alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[PeerId, tuple[str, float]] = {}

    def hold(self, peer: PeerId, why: str) -> None:
        """Leave a peer alone for PARTED_S; why: for a person."""
        self._held[peer] = (why, self._clock.monotonic_s() + PARTED_S)

    def hear(self, peer: PeerId) -> None:
        """Note that the peer's person ended the session."""
        self.hold(peer, THERE)

    def check(self, peer: PeerId) -> None:
        """Raise while a peer is left alone.

        Raises:
            LeftAlone: it is.

        """
        why, until_s = self._held.get(peer, ("", 0.0))
        if not why:
            return
        if self._clock.monotonic_s() >= until_s:
            del self._held[peer]
            return
        raise LeftAlone(why, hint=_HINT)

    def lift(self, peer: PeerId | None = None) -> None:
        """Leave a peer alone no more; None: nobody, as a person wants something anew."""
        if peer is None:
            self._held.clear()
        else:
            self._held.pop(peer, None)
