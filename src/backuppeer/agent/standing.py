"""What this home thinks of peers, and what it saw of them: the agent's view of the trust room.

Knows: evidence and scores by peer id. Must not know: sessions; those who observe something call `saw`.
"""

import structlog

from backuppeer.agent.state import State
from backuppeer.clock import Clock
from backuppeer.errors import AuthenticationFault, BackupPeerError, IntegrityFault, PeerFault, RefusedError, Unavailable
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation
from backuppeer.trust.policy import risks_of
from backuppeer.trust.score import Level, level, score_host

_log = structlog.get_logger()


class Standing:
    """Scores of peers as hosts, from own evidence alone (receipts of others come later)."""

    def __init__(self, state: State, log: EvidenceLog, clock: Clock) -> None:
        self._state, self._evidence, self._clock = state, log, clock

    def trust(self, peer: PeerId) -> tuple[float, Level]:
        """Return T and its level."""
        evidence = self._evidence.summarise(peer, now_ms=self._clock.now_ms(), is_friend=self.is_friend(peer))
        value = score_host(evidence)
        return value, level(value)

    def is_friend(self, peer: PeerId) -> bool:
        """Whether the safety words with this peer were compared."""
        record = self._state.peer(peer)
        return record is not None and record.is_verified

    def risks(self, peer: PeerId) -> list[str]:
        """Return what a person should know before storing with this peer."""
        value, _ = self.trust(peer)
        return risks_of(value, is_friend=self.is_friend(peer), has_evidence=self._evidence.has_evidence(peer))

    def saw(self, peer: PeerId, kind: Kind, *, size_bytes: int = 0, detail: str = "") -> None:
        """Write down an observation."""
        self._evidence.record(Observation(peer, kind, self._clock.now_ms(), size_bytes, detail[:200]))

    def blame(self, peer: PeerId, error: BackupPeerError) -> None:
        """Write down an error by whose fault it is; weather is only a missed contact."""
        match error:
            case IntegrityFault():
                kind = Kind.INTEGRITY_FAULT
            case AuthenticationFault():
                kind = Kind.AUTH_FAULT
            case PeerFault():
                kind = Kind.PROTOCOL_VIOLATION
            case RefusedError():
                kind = Kind.REFUSED
            case Unavailable():
                kind = Kind.CONNECT_FAILED
            case _:
                return
        _log.warning("peer fault", peer=shorten_peer_id(peer), kind=kind.name, reason=error.message[:200])
        self.saw(peer, kind, detail=error.message)
