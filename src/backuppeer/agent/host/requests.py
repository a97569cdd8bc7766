"""Requests of owners for space here: considered, shown to the human, accepted, turned into agreements (W3).

Knows: the accept policy, requests, what a proposal must look like. Must not know: how a knock travels. Nothing is
accepted without the human's word or the policy the human set. An owner has at most one request here that waits or is
accepted, and one to change each agreement (agent.host.revising): a new wish takes the place of the one before. A person
may offer other terms instead; who then asks for just these has them. `since_ms` of an incoming request: when its
state began.
"""

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from backuppeer.agent.home.identity_alarms import doubts_about
from backuppeer.agent.home.logbook import bookkeeping
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.host.admitting import (
    check_proposal,
    check_wish,
    name_guest,
    refuse_rejected,
    refuse_untrusted,
    take_invite,
)
from backuppeer.agent.host.invites import Invites
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.peers.choosing import OPEN, UNDECIDED, choose_request, is_listed
from backuppeer.agent.peers.names import check_alias
from backuppeer.agent.peers.offers import Offer, fit_to
from backuppeer.agent.peers.partners import later_of, meet_at
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.agent.peers.wishes import name_asked, take_up, wish_of_knock
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import Clock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import (
    DamagedStateError,
    NotFoundError,
    RefusedError,
    RejectedError,
    StoreUnavailable,
    UserError,
)
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import (
    PENDING_REQUESTS,
    REQUEST_KEPT_S,
    REQUEST_RESERVED_S,
    UNASKED_AGREEMENTS,
)
from backuppeer.proof.revisions import Wish
from backuppeer.proof.statements import Agreement, open_proposal, statement_hash
from backuppeer.signaling.knock import Knock, Verdict
from backuppeer.trust.policy import AcceptPolicy, may_auto_accept

OnRequest = Callable[[RequestRecord], None]


class Requests:
    """Incoming requests. `on_request` tells the host's terminal, `on_accepted` dials the owner."""

    def __init__(
        self, state: State, premises: Premises, standing: Standing, clock: Clock, *, identity: SigningKey
    ) -> None:
        self._state, self._premises, self._standing, self._clock = state, premises, standing, clock
        self.invites = Invites(state, PeerId(identity.public), clock)
        self._agreeing = threading.Lock()
        self.on_request: OnRequest = _ignore
        self.on_accepted: OnRequest = _ignore
        self.on_agreed: OnRequest = _ignore
        self.is_owed: Callable[[RequestRecord], bool] = lambda _: False
        """Whether a wish is for space that was promised in return: our person agreed to it then."""

    def consider_knock(self, knock: Knock, offer: Offer | None) -> Verdict:
        """Decide on a knock: partners and accepted requests pass, others by policy.

        Raises:
            RejectedError: a person here said no to this wish, and may still change their mind.
            RefusedError: no, to somebody without an agreement; the words are sent to the owner.

        """
        owner = PeerId(knock.owner)
        where = Whereabouts(knock.transport, tuple(knock.addresses), knock.issued_ms)
        is_partner = self.is_partner(owner)
        if is_partner and where.addresses:  # none: a home that only tries its words, not to be looked for there
            with bookkeeping("whereabouts"):
                meet_at(self._state, owner, where.encode(), self._clock.now_ms())
        is_blocked = owner in self._state.blocks
        if is_blocked and not is_partner:
            raise RefusedError("nothing is on offer here")  # as to anybody: a block is nobody's business
        if (is_partner and is_blocked) or (knock.size_bytes == 0 and self.may_answer(owner)):
            return Verdict.ACCEPTED
        try:
            return self._consider_wish(knock, offer, where)
        except RefusedError as exc:
            if not is_partner or isinstance(exc, RejectedError):
                raise
            # Let in, not granted: an owner that lost its state asks like a stranger, and our Hello helps it.
            return Verdict.ACCEPTED

    def _consider_wish(self, knock: Knock, offer: Offer | None, where: Whereabouts) -> Verdict:
        owner, wish = PeerId(knock.owner), wish_of_knock(knock)
        known = self.open_request(owner)
        if known is not None and self.take_offer(known, wish):
            return Verdict.ACCEPTED
        check_wish(knock, offer)
        invite = take_invite(self.invites, knock, offer, is_partner=self.is_partner(owner))
        if known is not None and known.wish == wish and (invite is None or known.state is RequestState.ACCEPTED):
            latest = later_of(known.whereabouts, where.encode(), self._clock.now_ms())
            self._state.put_request(replace(known, whereabouts=latest))
            return Verdict.ACCEPTED if known.state is RequestState.ACCEPTED else Verdict.PENDING
        record = replace(self.make_record(owner, wish, where.encode()), request=self._name(knock))
        if invite is not None:
            with self.invites.spending(invite, owner, is_first=known is None):
                self.enter(replace(record, alias=name_guest(self._state, invite, owner)), AcceptPolicy.ASK)
            return Verdict.ACCEPTED
        self.check_rejections(owner, wish)
        if offer is not None and not self.trusts(owner, offer) and not self.is_owed(record):
            raise refuse_untrusted()
        policy = AcceptPolicy(offer.accept) if offer else AcceptPolicy.ASK
        is_accepted = self.enter(record, policy, fit_to(wish, offer))
        return Verdict.ACCEPTED if is_accepted else Verdict.PENDING

    def offer_to(self, knock: Knock) -> Wish | None:
        """Return what the person here offers instead of what a knock wants; None where nothing is."""
        known = self.open_request(PeerId(knock.owner))
        is_offered = known is not None and known.state is RequestState.OFFERED and known.wish == wish_of_knock(knock)
        return known.offer if known is not None and is_offered else None

    def take_offer(self, known: RequestRecord, wish: Wish) -> bool:
        """Accept a wish that is what the person here offered instead of the one before; False if it is not.

        Raises:
            RefusedError: it does not fit any more.

        """
        if known.state is not RequestState.OFFERED or known.offer != wish:
            return False
        taken = replace(known, state=RequestState.ACCEPTED, since_ms=self._clock.now_ms(), offer=None, **wish._asdict())
        self._check_room(taken)
        self._state.put_request(taken)
        return True

    def is_partner(self, peer: PeerId) -> bool:
        """Whether a peer has an agreement here, also while the store is away."""
        return peer in self._premises.owners()

    def prepare(self) -> None:
        """Open the store if it is to be opened: reading a large one takes seconds, so call it in a thread."""
        with suppress(StoreUnavailable, NotFoundError, DamagedStateError):  # whoever needs it is told then
            self._premises.open()

    def may_answer(self, peer: PeerId) -> bool:
        """Whether a session with this peer is answered: partners, and requests that were accepted (DESIGN 6)."""
        if self.is_partner(peer) or peer in self._premises.former:
            return True
        known = self.open_request(peer)
        return known is not None and known.state is RequestState.ACCEPTED

    def consider_proposal(self, owner: PeerId, signed: bytes) -> bytes | None:
        """Co-sign an agreement that matches an accepted request; None while the human has not decided.

        Raises:
            RefusedError: no such request, or other terms than were accepted.
            PeerFault: malformed or not signed by the owner.
            StoreUnavailable: the store is away.

        """
        proposal = open_proposal(Agreement, signed, owner)
        self._premises.names.check(PeerId(proposal.host))
        with self._agreeing:  # two proposals at once must not both be covered by one acceptance
            return self._agree(owner, proposal, signed)

    def _agree(self, owner: PeerId, proposal: Agreement, signed: bytes) -> bytes | None:
        for lease in self._premises.leases_of(owner):
            if statement_hash(lease.signed) == statement_hash(signed):
                return lease.signed  # proposed again: the owner did not hear our answer
        known = self.open_request(owner)
        if known is None:
            raise RefusedError(
                "no request of yours was accepted", hint="ask again: `backup-peer connect PEER --storage 10GB`"
            )
        if known.state is not RequestState.ACCEPTED:
            return None
        check_proposal(proposal, known, self._clock.now_ms())
        self._check_room(known)  # again: a late owner's space may have been given to others
        self.invites.settle(owner)
        lease = self._premises.cosign(signed)
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
        decided = replace(known, state=state, alias=alias or known.alias, reason=reason, since_ms=now_ms, offer=None)
        self._state.put_request(decided)
        if accept:
            self.on_accepted(decided)
        return decided

    def turn_down(self, record: RequestRecord, reason: str) -> None:
        """Reject a request, also one that was accepted and is not agreed on yet."""
        rejected = replace(record, state=RequestState.REJECTED, reason=reason, offer=None)
        self._state.put_request(replace(rejected, since_ms=self._clock.now_ms()))

    def offer(self, text: str, wish: Wish) -> RequestRecord:
        """Offer other terms to the owner whose waiting request `text` names; it is told when it asks again.

        Raises:
            as `decide` to accept; UserError: they are what it asks for.

        """
        known = self.find(text)
        self._check_latest(known)
        if wish == known.wish:
            raise UserError(
                "that is what is asked for", hint=f"give it: `backup-peer requests accept {known.request[:8]}`"
            )
        offered = replace(known, state=RequestState.OFFERED, offer=wish, since_ms=self._clock.now_ms())
        self._check_room(replace(known, **wish._asdict()), hint="offer less")
        self._state.put_request(offered)
        return offered

    def find(self, text: str, *, accept: bool = False) -> RequestRecord:
        """Return the incoming request that `text` names and that can be decided, as agent.choosing says."""
        return choose_request(self._state, text, now_ms=self._clock.now_ms(), accept=accept)

    def _check_latest(self, record: RequestRecord) -> None:
        """Refuse to come back to a wish beside another of the same owner that is open: one at a time counts."""
        now = self.open_request(record.peer, record.revises)
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

    def open_request(self, owner: PeerId, revises: bytes = b"") -> RequestRecord | None:
        """Return the request of an owner that waits or is accepted and not yet agreed.

        `revises`: the agreement that it would change; empty: it is for a new one.
        """
        now_ms = self._clock.now_ms()
        found = [r for r in self._incoming(owner) if r.revises == revises and r.state in OPEN and is_listed(r, now_ms)]
        return found[-1] if found else None

    def trusts(self, owner: PeerId, offer: Offer) -> bool:
        """Return whether an owner is known as a good enough host for the slot on offer (`--min-trust`)."""
        return not offer.min_trust or self._standing.trust(owner)[0] >= offer.min_trust

    def check_rejections(self, owner: PeerId, wish: Wish, revises: bytes = b"") -> None:
        """Refuse a wish that a person turned down, and any other after too many such in a day.

        Raises:
            RejectedError: it is; in the words of the person.

        """
        refuse_rejected(self._incoming(owner), wish, revises, self._clock.now_ms())

    def make_record(self, owner: PeerId, wish: Wish, whereabouts: bytes, revises: bytes = b"") -> RequestRecord:
        """Return a new request of an owner, which waits."""
        return RequestRecord(
            request=secrets.token_hex(8),  # never that of one before: a person's yes is for the wish shown
            direction=Direction.IN,
            peer=owner,
            **wish._asdict(),
            state=RequestState.WAITING,
            since_ms=self._clock.now_ms(),
            whereabouts=whereabouts,
            revises=revises,
        )

    def enter(self, record: RequestRecord, policy: AcceptPolicy, fitting: Wish | None = None) -> bool:
        """Take up a new request in place of the one before; return whether the policy accepts it at once.

        `fitting`: the terms for which it does; where others are wanted, it offers these instead.

        Raises:
            RefusedError: there is no room for it, or too many wait.
            StoreUnavailable: the store is away.

        """
        owner = record.peer
        if owner in self._state.blocks:
            raise RefusedError("no more space is given here")
        self._state.drop_requests(record.since_ms - REQUEST_KEPT_S * 1000)
        is_doubted, is_friend = bool(doubts_about(self._state, owner)), self._standing.is_friend(owner)
        is_auto = not is_doubted and may_auto_accept(policy, is_friend=is_friend, has_agreement=self.is_partner(owner))
        is_auto = is_auto and self._count_agreed(owner) < UNASKED_AGREEMENTS
        with self._agreeing:  # two wishes at once must not both be for the same space that is owed
            is_invited = not record.revises and self.invites.gives(owner, record.size_bytes)
            is_given = not is_doubted and (self.is_owed(record) or is_invited)
            record = take_up(record, is_auto=is_auto, is_owed=is_given, fitting=fitting)
            is_auto = record.state is RequestState.ACCEPTED
            self._check_room(record)
            if not is_auto:
                self._make_place(owner)
            for older in self._incoming(owner):
                if older.state in OPEN and older.revises == record.revises:
                    self._forget(older)
            self._state.put_request(record)
        if record.state is RequestState.WAITING:
            self.on_request(record)
        return is_auto

    def _name(self, knock: Knock) -> str:
        """Return what a wish is called; never as another one here: a person's yes is for the wish shown."""
        name = name_asked(knock)
        is_taken = any(record.request == name for record in self._state.requests())
        return secrets.token_hex(16) if is_taken or not name else name

    def _count_agreed(self, owner: PeerId) -> int:
        """Return the agreements there are and those promised to others than `owner`."""
        accepted = (r for r in self._incoming() if r.state is RequestState.ACCEPTED and not r.revises)
        promised = sum(r.peer != owner for r in accepted)
        return self._premises.count_agreements() + promised

    def _make_place(self, owner: PeerId) -> None:
        """Drop the oldest waiting request of a stranger when the list is full: a flood must not shut others out.

        Raises:
            RefusedError: full of requests of peers with agreements.

        """
        waiting = [r for r in self._incoming() if r.state in UNDECIDED and r.peer != owner]
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
            self._growth_of(r)
            for r in self._incoming()
            if r.state is RequestState.ACCEPTED and r.peer != record.peer and r.since_ms > since_ms
        )
        if self._growth_of(record) > min(offered - totals.agreed_bytes, totals.free_bytes) - promised:
            raise RefusedError("not that much space is left here", hint=hint)

    def _growth_of(self, record: RequestRecord) -> int:
        """Return by how much a request would raise what is agreed."""
        lease = self._premises.open().leases.find(AgreementId(record.revises)) if record.revises else None
        return max(0, record.size_bytes - (lease.terms.size_bytes if lease is not None else 0))


def _ignore(record: RequestRecord) -> None:
    del record
