"""Requests of owners for space here: considered, shown to the human, accepted, turned into agreements (W3).

Knows: the accept policy, requests, what a proposal must look like. Must not know: how a knock travels. Nothing is
accepted without the human's word or the policy the human set. An owner has at most one request here that waits or is
accepted: a new wish takes the place of the one before. `since_ms` of an incoming request: when its state began.
"""

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from backuppeer.agent.home.logbook import bookkeeping
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.peers.choosing import OPEN, choose_request, is_listed
from backuppeer.agent.peers.names import check_alias
from backuppeer.agent.peers.offers import Offer
from backuppeer.agent.peers.partners import Whereabouts, later_of, meet_at
from backuppeer.agent.peers.standing import Standing
from backuppeer.agent.peers.wishes import name_asked
from backuppeer.clock import Clock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import (
    DamagedStateError,
    NotFoundError,
    ProtocolViolation,
    RefusedError,
    RejectedError,
    StoreUnavailable,
    UserError,
)
from backuppeer.ids import PeerId
from backuppeer.limits import (
    PENDING_REQUESTS,
    REJECTED_WISHES_PER_DAY,
    REQUEST_KEPT_S,
    REQUEST_RESERVED_S,
    UNASKED_AGREEMENTS,
)
from backuppeer.proof.statements import Agreement, add_signature, open_proposal, statement_hash
from backuppeer.signaling.knock import Knock, Verdict
from backuppeer.trust.policy import AcceptPolicy, may_auto_accept

_SKEW_MS: Final = 2 * 3600 * 1000
_DAY_MS: Final = 86400 * 1000
OnRequest = Callable[[RequestRecord], None]


class Requests:
    """Incoming requests. `on_request` tells the host's terminal, `on_accepted` dials the owner."""

    def __init__(
        self, state: State, premises: Premises, standing: Standing, clock: Clock, *, identity: SigningKey
    ) -> None:
        self._state, self._premises, self._standing, self._clock = state, premises, standing, clock
        self._identity = identity
        self._agreeing = threading.Lock()
        self.on_request: OnRequest = _ignore
        self.on_accepted: OnRequest = _ignore
        self.on_agreed: OnRequest = _ignore

    def consider_knock(self, knock: Knock, offer: Offer | None) -> Verdict:
        """Decide on a knock: partners and accepted requests pass, others by policy.

        Raises:
            RejectedError: a person here said no to this wish, and may still change their mind.
            RefusedError: no, to somebody without an agreement; the words are sent to the owner.

        """
        owner = PeerId(knock.owner)
        where = Whereabouts(knock.transport, tuple(knock.addresses), knock.issued_ms)
        is_partner = self.is_partner(owner)
        if is_partner:
            with bookkeeping("whereabouts"):
                meet_at(self._state, owner, where.encode(), self._clock.now_ms())
        if is_partner and knock.size_bytes == 0:
            return Verdict.ACCEPTED
        try:
            return self._consider_wish(knock, offer, where)
        except RefusedError as exc:
            if not is_partner or isinstance(exc, RejectedError):
                raise
            # Let in, not granted: an owner that lost its state asks like a stranger, and our Hello helps it.
            return Verdict.ACCEPTED

    def _consider_wish(self, knock: Knock, offer: Offer | None, where: Whereabouts) -> Verdict:
        owner = PeerId(knock.owner)
        self._check_wish(knock, offer)
        known = self._open_request(owner)
        if known is not None and _is_same_wish(known, knock):
            latest = later_of(known.whereabouts, where.encode(), self._clock.now_ms())
            self._state.put_request(replace(known, whereabouts=latest))
            return Verdict.ACCEPTED if known.state is RequestState.ACCEPTED else Verdict.PENDING
        self._check_rejections(knock)
        return self._consider_new(knock, where, AcceptPolicy(offer.accept) if offer else AcceptPolicy.ASK)

    def is_partner(self, peer: PeerId) -> bool:
        """Whether a peer has an agreement here, also while the store is away."""
        return peer in self._premises.owners()

    def prepare(self) -> None:
        """Open the store if it is to be opened: reading a large one takes seconds, so call it in a thread."""
        with suppress(StoreUnavailable, NotFoundError, DamagedStateError):  # whoever needs it is told then
            self._premises.open()

    def may_answer(self, peer: PeerId) -> bool:
        """Whether a session with this peer is answered: partners, and requests that were accepted (DESIGN 6)."""
        if self.is_partner(peer):
            return True
        known = self._open_request(peer)
        return known is not None and known.state is RequestState.ACCEPTED

    def consider_proposal(self, owner: PeerId, signed: bytes) -> bytes | None:
        """Co-sign an agreement that matches an accepted request; None while the human has not decided.

        Raises:
            RefusedError: no such request, or other terms than were accepted.
            PeerFault: malformed or not signed by the owner.
            StoreUnavailable: the store is away.

        """
        proposal = open_proposal(Agreement, signed, owner)
        if proposal.host != self._identity.public:
            raise ProtocolViolation("the agreement is with another host")
        with self._agreeing:  # two proposals at once must not both be covered by one acceptance
            return self._agree(owner, proposal, signed)

    def _agree(self, owner: PeerId, proposal: Agreement, signed: bytes) -> bytes | None:
        for lease in self._premises.leases_of(owner):
            if statement_hash(lease.signed) == statement_hash(signed):
                return lease.signed  # proposed again: the owner did not hear our answer
        known = self._open_request(owner)
        if known is None:
            raise RefusedError(
                "no request of yours was accepted", hint="ask again: `backup-peer connect PEER --storage 10GB`"
            )
        if known.state is RequestState.WAITING:
            return None
        self._check_proposal(proposal, known)
        self._check_room(known)  # again: a late owner's space may have been given to others
        lease = self._premises.agree(add_signature(signed, Agreement, self._identity))
        agreed = replace(known, state=RequestState.AGREED, since_ms=self._clock.now_ms())
        self._state.put_request(agreed)
        meet_at(self._state, owner, known.whereabouts, self._clock.now_ms(), alias=known.alias)
        self.on_agreed(agreed)
        return lease.signed

    def decide(self, text: str, *, accept: bool, alias: str = "", reason: str = "") -> RequestRecord:
        """Accept or reject the waiting request that `text` names, or accept one that was rejected.

        Raises:
            NotFoundError: no such request is called so.
            UserError: several are, or `text` is too short, or the alias can't be given, or the peer asks anew since.
            RefusedError: accepting would promise more space than there is.
            StoreUnavailable: accepting, and the store is away.

        """
        known = self.find(text, accept=accept)
        self._check_latest(known)
        check_alias(self._state, alias, known.peer)
        if accept:
            self._check_room(known, hint="reject it, or offer more space: `backup-peer host --storage SIZE`")
        state = RequestState.ACCEPTED if accept else RequestState.REJECTED
        now_ms = self._clock.now_ms()
        decided = replace(known, state=state, alias=alias or known.alias, reason=reason, since_ms=now_ms)
        self._state.put_request(decided)
        if accept:
            self.on_accepted(decided)
        return decided

    def find(self, text: str, *, accept: bool = False) -> RequestRecord:
        """Return the incoming request that `text` names and that can be decided, as agent.choosing says."""
        return choose_request(self._state, text, now_ms=self._clock.now_ms(), accept=accept)

    def _check_latest(self, record: RequestRecord) -> None:
        """Refuse to come back to a wish beside another of the same owner that is open: one at a time counts."""
        now = self._open_request(record.peer)
        if now is not None and now.request != record.request:
            raise UserError(
                f"this peer asks for something else by now, which is {now.state.value}",
                hint=f"decide on that: `backup-peer requests accept {now.request[:8]}`",
            )

    def _incoming(self, owner: PeerId | None = None) -> list[RequestRecord]:
        """Return the requests of an owner, or of everybody, oldest first."""
        if owner is not None:
            return self._state.requests_of(Direction.IN, owner)
        return [r for r in self._state.requests() if r.direction is Direction.IN]

    def _open_request(self, owner: PeerId) -> RequestRecord | None:
        """Return the request of an owner that waits or is accepted and not yet agreed."""
        now_ms = self._clock.now_ms()
        found = [r for r in self._incoming(owner) if r.state in OPEN and is_listed(r, now_ms)]
        return found[-1] if found else None

    def _check_wish(self, knock: Knock, offer: Offer | None) -> None:
        if offer is None or knock.size_bytes == 0:
            raise RefusedError("nothing is on offer here")
        if knock.term_s > offer.term_s or knock.lock_s > offer.lock_s:
            raise RefusedError("the wanted term or lock is longer than offered")

    def _check_rejections(self, knock: Knock) -> None:
        """Refuse a wish that a person turned down, and any other after too many such in a day.

        Raises:
            RejectedError: it is; in the words of the person.

        """
        now_ms = self._clock.now_ms()
        incoming = self._incoming(PeerId(knock.owner))
        rejected = [r for r in incoming if r.state is RequestState.REJECTED and is_listed(r, now_ms)]
        same = [r for r in rejected if _is_same_wish(r, knock)]
        recent = [r for r in rejected if r.since_ms > now_ms - _DAY_MS]
        if same or len(recent) >= REJECTED_WISHES_PER_DAY:
            raise RejectedError((same or recent)[-1].reason or "the host said no")

    def _consider_new(self, knock: Knock, where: Whereabouts, policy: AcceptPolicy) -> Verdict:
        owner = PeerId(knock.owner)
        now_ms = self._clock.now_ms()
        self._state.drop_requests(now_ms - REQUEST_KEPT_S * 1000)
        is_auto = may_auto_accept(
            policy, is_friend=self._standing.is_friend(owner), has_agreement=self.is_partner(owner)
        )
        is_auto = is_auto and self._count_agreed(owner) < UNASKED_AGREEMENTS
        record = RequestRecord(
            request=self._name(knock),
            direction=Direction.IN,
            peer=owner,
            size_bytes=knock.size_bytes,
            term_s=knock.term_s,
            lock_s=knock.lock_s,
            state=RequestState.ACCEPTED if is_auto else RequestState.WAITING,
            since_ms=now_ms,
            whereabouts=where.encode(),
        )
        self._check_room(record)
        if not is_auto:
            self._make_place(owner)
        for older in self._incoming(owner):
            if older.state in OPEN:
                self._forget(older)
        self._state.put_request(record)
        if not is_auto:
            self.on_request(record)
        return Verdict.ACCEPTED if is_auto else Verdict.PENDING

    def _name(self, knock: Knock) -> str:
        """Return what a wish is called; never as another one here: a person's yes is for the wish shown."""
        name = name_asked(knock)
        is_taken = any(record.request == name for record in self._state.requests())
        return secrets.token_hex(16) if is_taken or not name else name

    def _count_agreed(self, owner: PeerId) -> int:
        """Return the agreements there are and those promised to others than `owner`."""
        promised = sum(r.state is RequestState.ACCEPTED and r.peer != owner for r in self._incoming())
        return self._premises.count_agreements() + promised

    def _make_place(self, owner: PeerId) -> None:
        """Drop the oldest waiting request of a stranger when the list is full: a flood must not shut others out.

        Raises:
            RefusedError: full of requests of peers with agreements.

        """
        waiting = [r for r in self._incoming() if r.state is RequestState.WAITING and r.peer != owner]
        if len(waiting) < PENDING_REQUESTS:
            return
        partners = self._premises.owners()
        oldest = next((r for r in waiting if r.peer not in partners), None)
        if oldest is None:
            raise RefusedError("too many requests are waiting here")
        self._forget(oldest)

    def _forget(self, record: RequestRecord) -> None:
        # Dated back to before everything, so that dropping what is older than that takes exactly this one.
        self._state.put_request(replace(record, state=RequestState.EXPIRED, since_ms=0))
        self._state.drop_requests(1)

    def _check_room(self, record: RequestRecord, *, hint: str = "ask for less") -> None:
        """Refuse what would not fit beside what is agreed and promised, by the offer and by the disk.

        Raises:
            RefusedError: it would not.
            StoreUnavailable: the store is away.

        """
        totals = self._premises.open().totals()
        offered = totals.offered_bytes if totals.offered_bytes is not None else totals.free_bytes
        since_ms = self._clock.now_ms() - REQUEST_RESERVED_S * 1000
        promised = sum(
            r.size_bytes
            for r in self._incoming()
            if r.state is RequestState.ACCEPTED and r.peer != record.peer and r.since_ms > since_ms
        )
        if record.size_bytes > min(offered - totals.agreed_bytes, totals.free_bytes) - promised:
            raise RefusedError("not that much space is left here", hint=hint)

    def _check_proposal(self, proposal: Agreement, known: RequestRecord) -> None:
        accepted = (known.size_bytes, known.term_s, known.lock_s)
        if (proposal.size_bytes, proposal.term_s, proposal.lock_s) != accepted or proposal.revision != 1:
            raise RefusedError(
                "the agreement has other terms than were accepted",
                hint="ask again: `backup-peer connect PEER --storage 10GB`",
            )
        age_ms = self._clock.now_ms() - proposal.start_ms
        if not -_SKEW_MS <= age_ms <= REQUEST_KEPT_S * 1000 + _SKEW_MS:
            raise RefusedError("the agreement starts at another time than now", hint="check the clock of your computer")


def _is_same_wish(known: RequestRecord, knock: Knock) -> bool:
    return (known.size_bytes, known.term_s, known.lock_s) == (knock.size_bytes, knock.term_s, knock.lock_s)


def _ignore(record: RequestRecord) -> None:
    del record
