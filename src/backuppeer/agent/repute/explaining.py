"""Why a peer's score is what it is: evidence, hearsay and caps of one peer, joined for `trust.explain`.

Knows: peers by id, when a cap ends. Must not know: names, sessions, how a term is computed (`trust.explain`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

from backuppeer.agent.home.state import State
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import DAY_S, Clock
from backuppeer.ids import PeerId
from backuppeer.limits import EVIDENCE_DAYS
from backuppeer.trust import score
from backuppeer.trust.conduct import Conduct, describe_caps, has_lost_much, lie_ends_ms
from backuppeer.trust.evidence import EvidenceLog
from backuppeer.trust.explain import Ground, Limit, Parts, Raise, find_end, find_raises, say_reason, take_apart
from backuppeer.trust.hearsay import Heard
from backuppeer.trust.score import Evidence
from backuppeer.trust.tally import SILENT_DAYS

CLAIM: Final = "claim"


class HeardPath(Protocol):
    """A way by which word of a host came.

    peers: from this home to the host, both included. kind: what the last owner on it says; amount: of alpha, or of beta
    where that is a CLAIM.
    """

    @property
    def peers(self) -> tuple[PeerId, ...]:
        """Everybody on the way."""
        ...

    @property
    def kind(self) -> str:
        """What is said."""
        ...

    @property
    def amount(self) -> float:
        """How much of it arrives."""
        ...


@dataclass(frozen=True, slots=True)
class Cap:
    """A cap in force. said: why, a clause about the peer. Times in ms; since_ms 0: not known; ends_ms 0: by an act."""

    limit: Limit
    said: str
    since_ms: int = 0
    ends_ms: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score with all that it is made of. paths: of what was heard; conduct: what stands against the peer."""

    parts: Parts
    caps: tuple[Cap, ...]
    raises: tuple[Raise, ...]
    paths: tuple[HeardPath, ...]
    conduct: Conduct
    reason: str


class Regard(NamedTuple):
    """What people are shown of a peer wherever they choose: T by `round_down`, its level, what holds it down, why."""

    trust: float
    level: str
    capped: list[str]
    reason: str


class Explaining:
    """Scores of peers with their reasons."""

    def __init__(self, state: State, standing: Standing, log: EvidenceLog, clock: Clock) -> None:
        self._state, self._standing, self._log, self._clock = state, standing, log, clock
        self.paths: Callable[[PeerId], Sequence[HeardPath]] = lambda _: ()
        """By whom word of a host came. Set by who keeps receipts."""

    def known(self) -> list[PeerId]:
        """Return everybody dealt with or seen, oldest acquaintance first."""
        seen = {count.peer: None for count in self._log.condense(now_ms=self._clock.now_ms(), days=EVIDENCE_DAYS)}
        # Of whom another goes on for, that one is asked.
        found = [*(record.peer for record in self._state.peers()), *seen]
        return list(dict.fromkeys(map(self._standing.newest, found)))

    def is_known(self, peer: PeerId) -> bool:
        """Return whether anything was seen of a peer as a host, or heard of it."""
        return bool(self._log.days(peer, now_ms=self._clock.now_ms())) or self._standing.heard(peer) != Heard()

    def regard(self, peer: PeerId) -> Regard:
        """Return what is shown of a peer. capped: as `Standing.caps`; reason: as `reason`."""
        # Once for all: a market has thousands, and most of them nobody ever saw.
        evidence = self._standing.evidence(peer)
        trust, capped = score.score_host(evidence), self._standing.caps(peer, evidence.standing)
        days = self._log.days(peer, now_ms=self._clock.now_ms())
        ground = Ground(tuple(days), self._standing.heard(peer), evidence)
        return Regard(score.round_down(trust), score.level(trust).value, capped, self._say_reason(peer, ground, capped))

    def reason(self, peer: PeerId) -> str:
        """Return the strongest reason of a score, a clause about the peer."""
        days = self._log.days(peer, now_ms=self._clock.now_ms())
        ground = Ground(tuple(days), self._standing.heard(peer), Evidence(is_friend=self._standing.is_friend(peer)))
        return self._say_reason(peer, ground, self._standing.caps(peer))

    def explain(self, peer: PeerId) -> Explanation:
        """Return every term of the score of a peer."""
        ground, conduct = self._ground(peer), self._standing.conduct(peer)
        parts = take_apart(ground)
        return Explanation(
            parts=parts,
            caps=tuple(self._describe(peer, limit, conduct, ground.evidence.standing) for limit in parts.limits),
            raises=tuple(find_raises(ground)),
            paths=tuple(self.paths(peer)),
            conduct=conduct,
            reason=self._say_reason(peer, ground, self._standing.caps(peer)),
        )

    def find_backers(self, peer: PeerId) -> set[PeerId]:
        """Return the owners whose good word of a host reaches this home."""
        return {path.peers[-2] for path in self.paths(peer) if path.kind != CLAIM and path.amount > 0}

    def _ground(self, peer: PeerId) -> Ground:
        days = self._log.days(peer, now_ms=self._clock.now_ms())
        return Ground(tuple(days), self._standing.heard(peer), self._standing.evidence(peer))

    def _say_reason(self, peer: PeerId, ground: Ground, caps: Sequence[str]) -> str:
        backers = len(self.find_backers(peer)) if ground.heard.alpha else 0
        return say_reason(ground, caps=caps, backers=backers)

    def _describe(self, peer: PeerId, limit: Limit, conduct: Conduct, standing: score.Standing) -> Cap:
        now_ms = self._clock.now_ms()
        alone = replace(score.Standing(), **{limit.name: getattr(standing, limit.name)})
        match limit.name:
            case "misbehaviour":
                ends_ms = lie_ends_ms(conduct)
                return Cap(limit, describe_caps(conduct, alone)[0], since_ms=conduct.lied_ms, ends_ms=ends_ms)
            case "relapsed":
                days = find_end(lambda days: self._log.conduct(peer, now_ms=_later(now_ms, days)).relapsed)
                ends_ms = _later(now_ms, days) if days else 0
                return Cap(limit, describe_caps(conduct, alone)[0], ends_ms=ends_ms)
            case "silent_beyond_grace":
                return Cap(limit, f"it has not answered for more than {SILENT_DAYS} days")
            case "unresolved_loss" if has_lost_much(standing):
                return Cap(limit, "what it lost is not made good yet", since_ms=conduct.failed_ms)
            case "unresolved_loss" | "verified_loss_share" | "reported_loss_share":
                lost = replace(alone, unresolved_loss=True)
                return Cap(limit, describe_caps(conduct, lost)[0], since_ms=conduct.failed_ms)
            case _:
                return Cap(limit, "you blocked it")


def _later(now_ms: int, days: int) -> int:
    return now_ms + days * DAY_S * 1000
