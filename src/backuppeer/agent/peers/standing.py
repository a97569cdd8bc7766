"""What this home thinks of peers, and what it saw of them: the agent's view of the trust room.

Knows: evidence and scores by peer id. Must not know: sessions; those who observe something call `saw`.
"""

from collections.abc import Iterable
from dataclasses import replace

import structlog

from backuppeer.agent.home.logbook import bookkeeping
from backuppeer.agent.home.state import State
from backuppeer.clock import Clock
from backuppeer.errors import AuthenticationFault, BackupPeerError, IntegrityFault, PeerFault, RefusedError, Unavailable
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.trust.evidence import DayCount, EvidenceLog, Kind, Observation
from backuppeer.trust.policy import UNCOMPARED, copy_risk, is_safe_copy, risks_of
from backuppeer.trust.score import Level, level, score_host

_log = structlog.get_logger()


class Standing:
    """Scores of peers as hosts, from own evidence alone (receipts of others come later)."""

    def __init__(self, state: State, log: EvidenceLog, clock: Clock) -> None:
        self._state, self._evidence, self._clock = state, log, clock

    def trust(self, peer: PeerId) -> tuple[float, Level]:
        """Return T and its level."""
        evidence = self._evidence.summarise(peer, now_ms=self._clock.now_ms(), is_friend=self.is_friend(peer))
        if peer in self._state.blocks:
            evidence = replace(evidence, standing=replace(evidence.standing, blocked=True))
        value = score_host(evidence)
        return value, level(value)

    def is_friend(self, peer: PeerId) -> bool:
        """Whether the safety words with this peer were compared."""
        record = self._state.peer(peer)
        return record is not None and record.is_verified

    def risks(self, peer: PeerId, hosts: Iterable[PeerId] = ()) -> list[str]:
        """Return what a person should know before storing with this peer beside the `hosts` of today."""
        value, _ = self.trust(peer)
        risks = risks_of(
            value,
            is_friend=self.is_friend(peer),
            has_evidence=self._evidence.has_evidence(peer),
            has_failed=self.has_failed(peer),
        )
        together = copy_risk([self.is_safe(host) for host in {*hosts, peer}], is_planned=True)
        return [*risks, together] if together else risks

    def reminders(self, hosts: Iterable[PeerId], keepers: Iterable[PeerId]) -> list[tuple[PeerId | None, str]]:
        """Return what stays true of the hosts agreed with until a person acts; None = of the copies together.

        keepers: those that hold all backups; nobody where there is no backup yet.
        """
        said: list[tuple[PeerId | None, str]] = []
        for host in dict.fromkeys(hosts):
            if not self.is_friend(host):
                said.append((host, UNCOMPARED))
            if self.has_failed(host):
                said.append((host, "it has failed before: see its trust in `backup-peer peers`"))
        together = copy_risk([self.is_safe(host) for host in set(keepers)])
        return [*said, (None, together)] if together else said

    def has_failed(self, peer: PeerId) -> bool:
        """Whether the peer is known to have lost, refused or broken something, as far back as a score looks."""
        return self._evidence.summarise(peer, now_ms=self._clock.now_ms()).beta > 0

    def is_safe(self, peer: PeerId) -> bool:
        """Whether a copy with this peer counts as safe."""
        return is_safe_copy(self.trust(peer)[0], is_friend=self.is_friend(peer))

    def saw(self, peer: PeerId, kind: Kind, *, size_bytes: int = 0, detail: str = "") -> None:
        """Write down an observation, if it can be: nothing ends because it can't."""
        with bookkeeping("evidence"):
            self._evidence.record(Observation(peer, kind, self._clock.now_ms(), size_bytes, detail[:200]))

    def condense(self, *, now_ms: int, days: int) -> list[DayCount]:
        """Return what was seen of all peers in the last days, counted; as `EvidenceLog.condense`."""
        return self._evidence.condense(now_ms=now_ms, days=days)

    def take_back(self, counts: Iterable[DayCount]) -> int:
        """Write down what this identity saw in a home before; as `EvidenceLog.take_back`."""
        return self._evidence.take_back(counts)

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
