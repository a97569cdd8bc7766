"""How many sessions one peer may have with this agent at once, those that end included.

Knows: counts. Must not know: what ends a session. A peer that dials again and again leaves it to us to end what it
began; each takes a while, and memory as long.
"""

from collections import Counter

from backuppeer.agent.peers.session import Session
from backuppeer.errors import StoreBusy
from backuppeer.ids import PeerId
from backuppeer.limits import SESSIONS_PER_PEER
from backuppeer.wire.codes import CloseCode


class Crowd:
    """The count."""

    def __init__(self) -> None:
        self._alive: Counter[PeerId] = Counter()

    def count(self, peer: PeerId) -> int:
        """Return how many sessions with a peer have not ended."""
        return self._alive[peer]

    async def check(self, newcomer: Session) -> None:
        """Refuse a session that the peer dialled when it has too many; ours are as many as we dial.

        Raises:
            StoreBusy: it has.

        """
        if not newcomer.connection.is_dialler and self._alive[newcomer.peer] >= SESSIONS_PER_PEER:
            await newcomer.connection.close(CloseCode.OVERLOADED, "")
            raise StoreBusy("this peer has too many sessions", hint="try again in a moment")

    def enter(self, session: Session) -> None:
        """Count a session; before anything else is awaited after `check`, so that a burst is counted one by one."""
        self._alive[session.peer] += 1

    def leave(self, session: Session) -> None:
        """Count a session no more."""
        self._alive[session.peer] -= 1
        if not self._alive[session.peer]:
            del self._alive[session.peer]
