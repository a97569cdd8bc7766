"""How many sessions one peer may have with this agent at once, those that end included.

Knows: which sessions there are, in order. Must not know: what ends a session. A peer that dials again and again leaves
it to us to end what it began; each takes a while, and memory as long. So at the bound one of those that end is closed
there and then, and whoever dials comes in: a thief of the peer's identity must not keep the peer itself out. Nor should
he break off what the peer has under way: first goes one upon which nothing is, the oldest, then that which moved least.
"""

from backuppeer.agent.peers.session import Session
from backuppeer.ids import PeerId
from backuppeer.limits import SESSIONS_PER_PEER


class Crowd:
    """The sessions that have not ended."""

    def __init__(self) -> None:
        self._alive: dict[PeerId, list[Session]] = {}

    def count(self, peer: PeerId) -> int:
        """Return how many sessions with a peer have not ended."""
        return len(self._alive.get(peer, ()))

    def enter(self, newcomer: Session, current: Session | None) -> Session | None:
        """Count a session; return the one that is to be closed now, in its place; ours are as many as we dial.

        `current`: the one that the peer has so far, which is never returned: it may be the one that stays.
        Nothing is awaited here, so that a burst is counted one by one.
        """
        alive = self._alive.setdefault(newcomer.peer, [])
        is_full = not newcomer.connection.is_dialler and len(alive) >= SESSIONS_PER_PEER
        ending = [session for session in alive if session is not current] if is_full else []
        victim = min(ending, key=_worth, default=None)
        if victim is not None:
            alive.remove(victim)
        alive.append(newcomer)
        return victim

    def leave(self, session: Session) -> None:
        """Count a session no more, however often that is said."""
        alive = self._alive.get(session.peer, [])
        if session in alive:
            alive.remove(session)
        if not alive:
            self._alive.pop(session.peer, None)


def _worth(session: Session) -> tuple[bool, int]:
    """Return what would be lost with a session: whether anything is under way, and what it moved so far."""
    return session.in_flight > 0, (session.sent_bytes + session.received_bytes) * (session.in_flight > 0)
