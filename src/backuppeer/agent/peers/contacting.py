"""Contacts written down: each session as it ends, each dial that came to nothing (`trust.contacts`).

Knows: sessions, addresses that were dialled. Must not know: what a score makes of it. A dial that this machine could
not even have sent is no news of the peer: then it is this machine that is away.
"""

from collections.abc import Sequence

from backuppeer.agent.peers.session import Session
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError
from backuppeer.ids import PeerId
from backuppeer.limits import CONTACT_AGAIN_S
from backuppeer.transport.routes import has_route
from backuppeer.trust.contacts import Contact


class Contacting:
    """Writes down contacts of one home."""

    def __init__(self, standing: Standing, clock: Clock) -> None:
        self._standing, self._clock = standing, clock
        self._missed: dict[PeerId, tuple[str, float]] = {}

    def missed(self, peer: PeerId, addresses: Sequence[str], error: BackupPeerError) -> None:
        """Note a dial that came to nothing; the same again within ten minutes is no further row."""
        is_ours = not has_route(addresses) if addresses else False
        why = "no network here leads to it" if is_ours else f"{type(error).__name__}: {error.message}"
        now_s = self._clock.monotonic_s()
        before, since_s = self._missed.get(peer, ("", now_s))
        is_known = why == before and now_s - since_s < CONTACT_AGAIN_S
        if is_known:
            if not is_ours:
                self._standing.touch(peer, is_up=False)
            return
        self._missed[peer] = (why, now_s)
        contact = Contact(peer, self._clock.now_ms(), is_made=False, is_ours=True, result=why)
        self._standing.contact(contact, counts=not is_ours)

    def ended(self, session: Session) -> None:
        """Note a session that is over, or that this agent ends."""
        self._missed.pop(session.peer, None)
        self._standing.contact(_describe(session, session.course.outcome or "the agent stopped"))


def describe_running(session: Session) -> Contact:
    """Return what can be told of a session that is not over yet."""
    session.course.note_path(session.connection.path())
    return _describe(session, "under way")


def _describe(session: Session, result: str) -> Contact:
    course = session.course
    has_lanes = session.lanes.sent_bytes + session.lanes.received_bytes > 0
    return Contact(
        session.peer,
        session.since_ms,
        is_made=True,
        is_ours=session.connection.is_dialler,
        path=f"{course.path} + lanes" if has_lanes else course.path,
        rtt_ms=course.rtt_ms,
        sent_bytes=session.sent_bytes,
        received_bytes=session.received_bytes,
        length_ms=course.length_ms,
        busy_ms=course.busy_ms,
        result=result,
    )
