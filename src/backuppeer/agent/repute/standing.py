"""What this home thinks of peers, and what it saw of them: the agent's view of the trust room.

Knows: evidence and scores by peer id. Must not know: sessions; those who observe something call `saw`.
"""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from backuppeer.agent.home.identity_alarms import contested_ms, differed_ms, doubted_ms, forgive_differing
from backuppeer.agent.home.logbook import bookkeeping
from backuppeer.agent.home.state import State
from backuppeer.agent.repute.putting_off import note_put_off
from backuppeer.clock import DAY_S, Clock, format_time
from backuppeer.errors import (
    AuthenticationFault,
    BackupPeerError,
    IntegrityFault,
    NoSignaling,
    PeerFault,
    Refusal,
    RefusedError,
    StoreUnavailable,
    Unavailable,
)
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import PUT_OFF_WITHIN_DAYS
from backuppeer.trust import score
from backuppeer.trust.availability import Windows, count_days_in_vain
from backuppeer.trust.conduct import (
    DOUBTED,
    SUCCEEDED,
    TWO_HEIRS,
    Bar,
    Conduct,
    advise,
    advise_doubted,
    describe_caps,
    find_bar,
    is_doubted,
    stand,
)
from backuppeer.trust.contacts import Contact
from backuppeer.trust.evidence import DayCount, EvidenceLog, Kind, Observation
from backuppeer.trust.hearsay import Heard, add_hearsay
from backuppeer.trust.history import History, recount
from backuppeer.trust.policy import UNCOMPARED, copy_risk, is_safe_copy, risks_of
from backuppeer.trust.score import Evidence, Level, level, score_host
from backuppeer.trust.tally import is_silent
from backuppeer.trust.tenants import Deed

_log = structlog.get_logger()


class Standing:
    """Scores of peers as hosts, from what this home saw and what reaches it by way of others."""

    def __init__(self, state: State, log: EvidenceLog, clock: Clock) -> None:
        self._state, self._evidence, self._clock = state, log, clock
        self.held_bytes: Callable[[PeerId], int] = lambda _: 0
        """How much a host is known to keep for this home; 0 makes any loss a large one. Set by who has the ledger."""
        self.heard: Callable[[PeerId], Heard] = lambda _: Heard()
        """What others say of a host, bounded by flow. Set by who keeps receipts."""
        self.promised: Callable[[PeerId], float] = lambda _: 0.0
        """The availability that a host promised this home, in 0..1. Set by who knows agreements."""

    def line(self, peer: PeerId) -> tuple[PeerId, ...]:
        """Return a peer and all whose heir it is, itself first: what is asked of it is asked of all of them."""
        return self._evidence.lines.of(peer)

    def newest(self, peer: PeerId) -> PeerId:
        """Return who goes on for a peer now; itself if nobody does."""
        return self._evidence.lines.newest(peer)

    def promise(self, peer: PeerId) -> float:
        """Return the availability that a host promised, under its own name or one whose heir it is; 0 = none."""
        return next((promised for one in self.line(peer) if (promised := self.promised(one))), 0.0)

    def measure_held(self, peer: PeerId) -> int:
        """Return how many bytes a host keeps for this home, under its own name and those whose heir it is."""
        return sum(map(self.held_bytes, self.line(peer)))

    def trust(self, peer: PeerId) -> tuple[float, Level]:
        """Return T and its level."""
        value = score_host(self.evidence(peer))
        return value, level(value)

    def evidence(self, peer: PeerId) -> Evidence:
        """Return all that the score of a peer is made of."""
        # Who was never tried was away in no window, whatever it promised: a market of thousands asks no agreements.
        now_ms, promised = self._clock.now_ms(), self.promise(peer) if self.windows(peer).seen else 0.0
        seen = self._evidence.summarise(peer, now_ms=now_ms, promised=promised, is_friend=self.is_friend(peer))
        return replace(add_hearsay(seen, self.heard(peer)), standing=self._weigh(peer, self.conduct(peer)))

    def windows(self, peer: PeerId) -> Windows:
        """Return in which windows of six hours a peer was tried, and was there: bit 0 is now, 60 days in all."""
        return self._evidence.windows(peer, now_ms=self._clock.now_ms())

    def conduct(self, peer: PeerId) -> Conduct:
        """Return what stands against a peer."""
        return self._evidence.conduct(peer, now_ms=self._clock.now_ms())

    def caps(self, peer: PeerId, weighed: score.Standing | None = None) -> list[str]:
        """Return why a peer is in doubt or its score is capped, each reason a clause about it; [] = it is not.

        weighed: as of `evidence`, where it is known.
        """
        conduct = self.conduct(peer)
        return [*self._describe_doubt(peer), *describe_caps(conduct, weighed or self._weigh(peer, conduct))]

    def bar(self, peer: PeerId) -> Bar | None:
        """Return why a host gets no new data; None: it may get some."""
        bar = find_bar(self._weigh(peer, self.conduct(peer)))
        # What a loss allows, to be sent again what it had, doubt does not.
        if bar is not Bar.LIED and any(doubted_ms(self._state, peer)):
            return Bar.DOUBTED
        return Bar.SUCCEEDED if bar is not Bar.LIED and self.newest(peer) != peer else bar

    def differs(self, peer: PeerId) -> bool:
        """Whether a person found its safety words to differ, and neither compared them again nor forgave it."""
        return differed_ms(self._state, peer) > 0

    def advice(self, peer: PeerId, name: str) -> str:
        """Return the way out for what stands against a peer that is called `name`; "" = nothing does."""
        conduct = self.conduct(peer)
        if contested_ms(self._state, peer):
            return "`backup-peer status` says how that is had out"
        if self.bar(peer) is Bar.DOUBTED:
            return advise_doubted(name)
        if self.bar(peer) is Bar.SUCCEEDED:
            record = self._state.peer(self.newest(peer))
            typed = shlex.quote(record.alias) if record and record.alias else shorten_peer_id(self.newest(peer))
            return f"agree with it under its new id: `backup-peer connect {typed}`; what lies here is read as before"
        return advise(name, conduct, self._weigh(peer, conduct))

    def forgive(self, peer: PeerId) -> list[str]:
        """Let nothing that a peer did stand against it any more; return what did. It stays evidence.

        Raises:
            LocalError: it can't be written down.

        """
        conduct = self.conduct(peer)
        # A block is taken back by other words, and silence ends by an answer alone.
        standing = replace(self._weigh(peer, conduct), blocked=False, silent_beyond_grace=False)
        found = describe_caps(conduct, standing)
        if found:
            self._evidence.record(Observation(peer, Kind.FORGIVEN, self._clock.now_ms()))
        doubt = [text for text in self._describe_doubt(peer) if text.startswith(DOUBTED)]
        forgive_differing(self._state, peer)
        return [*doubt, *found]

    def is_doubted(self, peer: PeerId) -> bool:
        """Whether other copies are read before those of this host."""
        return is_doubted(self._weigh(peer, self.conduct(peer)))

    def _describe_doubt(self, peer: PeerId) -> list[str]:
        said, newest = [], self.newest(peer)
        for time_ms, why in zip(doubted_ms(self._state, peer), (TWO_HEIRS, DOUBTED), strict=True):
            if time_ms:
                said.append(f"{why} on {format_time(time_ms)[:10]}, so no new data goes there")
        if newest != peer:
            said.append(f"{SUCCEEDED} {shorten_peer_id(newest)}, so nothing new goes to this id")
        return said

    def _weigh(self, peer: PeerId, conduct: Conduct) -> score.Standing:
        # The ledger is asked only where something is known to be lost: of a market of thousands nobody is.
        held_bytes = self.measure_held(peer) if conduct.lost_bytes or conduct.told_bytes else 0
        silent = is_silent(count_days_in_vain(self.windows(peer)))
        return stand(conduct, held_bytes=held_bytes, blocked=peer in self._state.blocks, silent=silent)

    def is_friend(self, peer: PeerId) -> bool:
        """Whether the safety words with this peer were compared; once it goes on as another that says nothing."""
        record = self._state.peer(peer)
        return record is not None and record.is_verified and self.newest(peer) == peer

    def risks(self, peer: PeerId, hosts: Iterable[PeerId] = ()) -> list[str]:
        """Return what a person should know before storing with this peer beside the `hosts` of today."""
        value, _ = self.trust(peer)
        risks = risks_of(
            value,
            is_friend=self.is_friend(peer),
            has_evidence=self._evidence.has_evidence(peer),
            has_failed=self.has_failed(peer),
            is_unresolved=self.is_unresolved(peer),
        )
        together = copy_risk([self.is_safe(host) for host in {*hosts, peer}], is_planned=True)
        return [*risks, together] if together else risks

    def reminders(
        self, hosts: Iterable[PeerId], keepers: Iterable[PeerId], call: Callable[[PeerId], str] = shorten_peer_id
    ) -> list[tuple[PeerId | None, str]]:
        """Return what stays true of the hosts agreed with until a person acts; None = of the copies together.

        keepers: those that hold all backups; nobody where there is no backup yet. call: what a host is called.
        """
        said: list[tuple[PeerId | None, str]] = []
        for host in dict.fromkeys(hosts):
            if not self.is_friend(host) and not self.differs(host):
                said.append((host, UNCOMPARED))
            for cap in self.caps(host)[:1]:
                advice = self.advice(host, call(host))
                said.append((host, f"{cap}: {advice}" if advice else cap))
        together = copy_risk([self.is_safe(host) for host in set(keepers)])
        return [*said, (None, together)] if together else said

    def has_failed(self, peer: PeerId) -> bool:
        """Whether the peer is known to have lost, refused or broken something, as far back as a score looks."""
        return self._evidence.summarise(peer, now_ms=self._clock.now_ms()).beta > 0

    def is_unresolved(self, peer: PeerId) -> bool:
        """Whether something that the peer lost or returned wrong is not made good yet."""
        return self._weigh(peer, self.conduct(peer)).unresolved_loss

    def is_safe(self, peer: PeerId) -> bool:
        """Whether a copy with this peer counts as safe."""
        is_capped = bool(self.caps(peer))
        return is_safe_copy(self.trust(peer)[0], is_friend=self.is_friend(peer), is_capped=is_capped)

    def saw(self, peer: PeerId, kind: Kind, *, size_bytes: int = 0, detail: str = "") -> None:
        """Write down an observation, if it can be: nothing ends because it can't."""
        with bookkeeping("evidence"):
            self._evidence.record(Observation(peer, kind, self._clock.now_ms(), size_bytes, detail[:200]))

    def history(self, peer: PeerId, *, limit: int) -> History:
        """Return what is on record of a peer, with at most `limit` contacts.

        Raises:
            LocalError: it can't be read.

        """
        return recount(self._evidence, peer, now_ms=self._clock.now_ms(), limit=limit)

    def latest(self, peer: PeerId, *, limit: int = 100) -> list[Observation]:
        """Return what was seen of a peer last, newest first."""
        return self._evidence.latest(peer, limit=limit)

    def note_deed(self, owner: PeerId, deed: Deed) -> None:
        """Write down what an owner did here, if it can be; no score follows."""
        with bookkeeping("owners"):
            self._evidence.tenants.note(owner, deed, self._clock.now_ms())

    def tenancy(self, owner: PeerId) -> dict[Deed, int]:
        """Return on how many days an owner did what.

        Raises:
            LocalError: it can't be read.

        """
        return self._evidence.tenants.count(owner)

    def contact(self, contact: Contact, *, counts: bool = True) -> None:
        """Write down a contact, if it can be; `counts`: it says whether the peer was there."""
        with bookkeeping("contacts"):
            self._evidence.contacts.record(contact, counts=counts)

    def touch(self, peer: PeerId, *, is_up: bool) -> None:
        """Write down that a peer is there now, or was tried in vain."""
        with bookkeeping("contacts"):
            self._evidence.contacts.touch(peer, self._clock.now_ms(), is_up=is_up)

    def compact(self) -> None:
        """Condense what is old, and work out scores ahead; it may take seconds, so call it in a thread."""
        with bookkeeping("compaction"):
            self._evidence.warm(now_ms=self._clock.now_ms())
            observations, contacts = self._evidence.compact(now_ms=self._clock.now_ms())
            if observations or contacts:
                _log.info("evidence condensed", observations=observations, contacts=contacts)

    def condense(self, *, now_ms: int, days: int) -> list[DayCount]:
        """Return what was seen of all peers in the last days, counted; as `EvidenceLog.condense`."""
        return self._evidence.condense(now_ms=now_ms, days=days)

    def take_back(self, counts: Iterable[DayCount]) -> int:
        """Write down what this identity saw in a home before; as `EvidenceLog.take_back`."""
        return self._evidence.take_back(counts)

    def blame(self, peer: PeerId, error: BackupPeerError) -> None:
        """Write down an error by whose fault it is; weather is only a missed contact.

        What this home refused itself is nobody's fault, nor is it when no server can be reached. A host whose disk is
        away, or that is busy, is there, and says so; who gives nothing back for days, and passes audits, is late.
        """
        match error:
            case IntegrityFault():
                kind = Kind.INTEGRITY_FAULT
            case AuthenticationFault():
                kind = Kind.AUTH_FAULT
            case PeerFault():
                kind = Kind.PROTOCOL_VIOLATION
            case RefusedError(refusal=Refusal.FAULT):
                kind = Kind.REFUSED
            case RefusedError(refusal=Refusal.ALLOWED) | StoreUnavailable():
                kind = Kind.DECLINED
            case RefusedError() | NoSignaling():
                return
            case Unavailable():
                kind = Kind.CONNECT_FAILED
            case _:
                return
        tell = _log.warning if isinstance(error, PeerFault) or kind is Kind.REFUSED else _log.info
        tell("seen of a peer", peer=shorten_peer_id(peer), kind=kind.name, reason=error.message[:200])
        self.saw(peer, kind, detail=error.message)
        if isinstance(error, IntegrityFault) and error.lost_bytes:
            self.saw(peer, Kind.LOST, size_bytes=error.lost_bytes, detail=error.message)
        if isinstance(error, StoreUnavailable) and error.is_outlasted:
            self._put_off(peer, error)

    def _put_off(self, peer: PeerId, error: StoreUnavailable) -> None:
        with bookkeeping("evidence"):
            now_ms = self._clock.now_ms()
            seen = self._evidence.condense(now_ms=now_ms, days=PUT_OFF_WITHIN_DAYS)
            line = self.line(peer)
            audited = [count.day for count in seen if count.peer in line and count.kind is Kind.AUDITED]
            if note_put_off(self._state, line[-1], today=now_ms // (1000 * DAY_S), audited=audited):
                self.saw(peer, Kind.LATE, detail=error.message)
