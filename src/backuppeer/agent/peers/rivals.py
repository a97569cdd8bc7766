"""Which of two sessions with one peer stays (ADR 9, 41).

Knows: when each began, who dialled it. Must not know: how the other one goes.
"""

from backuppeer.agent.peers.session import Session
from backuppeer.ids import PeerId
from backuppeer.limits import DIAL_S
from backuppeer.wire.session import is_kept_when_dialled_by


def are_at_once(newcomer: Session, rival: Session) -> bool:
    """Whether both sides dialled within one dial: else a peer that dials has lost the session that we hold."""
    is_near = newcomer.since_ms - rival.since_ms <= DIAL_S * 1000
    return is_near and newcomer.connection.is_dialler != rival.connection.is_dialler


def displaces(newcomer: Session, rival: Session, own: PeerId) -> bool:
    """Whether the newcomer replaces what seems open: both dialled at once, or the peer lost the old one."""
    if not are_at_once(newcomer, rival):
        return True
    dialler = own if newcomer.connection.is_dialler else newcomer.peer
    other = newcomer.peer if newcomer.connection.is_dialler else own
    return is_kept_when_dialled_by(dialler, other)
