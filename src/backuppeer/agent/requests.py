"""Requests of owners for space here: considered, shown to the human, accepted, turned into agreements (W3).

Knows: the accept policy, requests, what a proposal must look like. Must not know: how a knock travels. Nothing is
accepted without the human's word or the policy the human set.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from backuppeer.agent.names import check_alias
from backuppeer.agent.offers import Offer
from backuppeer.agent.partners import Whereabouts
from backuppeer.agent.premises import Premises
from backuppeer.agent.standing import Standing
from backuppeer.agent.state import Direction, RequestRecord, RequestState, State
from backuppeer.clock import Clock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import NotFoundError, ProtocolViolation, RefusedError, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import PENDING_REQUESTS, REQUEST_KEPT_S
from backuppeer.proof.statements import Agreement, add_signature, open_proposal, statement_hash
from backuppeer.signaling.knock import Knock, Verdict
from backuppeer.trust.policy import AcceptPolicy, may_auto_accept

_SKEW_MS: Final = 2 * 3600 * 1000
OnRequest = Callable[[RequestRecord], None]


class Requests:
    """Incoming requests. `on_request` tells the host's terminal, `on_accepted` dials the owner."""

    def __init__(
        self, state: State, premises: Premises, standing: Standing, clock: Clock, *, identity: SigningKey
    ) -> None:
        self._state, self._premises, self._standing, self._clock = state, premises, standing, clock
        self._identity = identity
        self.on_request: OnRequest = _ignore
        self.on_accepted: OnRequest = _ignore
        self.on_agreed: OnRequest = _ignore

    def consider_knock(self, knock: Knock, offer: Offer | None) -> Verdict:
        """Decide on a knock: partners and accepted requests pass, others by policy.

        Raises:
            RefusedError: no; the words are sent to the owner.

        """
        owner = PeerId(knock.owner)
        where = Whereabouts(knock.transport, tuple(knock.addresses), knock.issued_ms)
        is_partner = owner in self._premises.owners()
        if is_partner:
            self._state.meet(owner, self._clock.now_ms(), whereabouts=where.encode())
        if is_partner and knock.size_bytes == 0:
            return Verdict.ACCEPTED
        self._check_wish(knock, offer)
        known = self._state.find_request(Direction.IN, owner)
        if known is not None and known.state is RequestState.REJECTED:
            raise RefusedError(known.reason or "the host said no")
        if known is not None and known.state is not RequestState.AGREED and _is_same_wish(known, knock):
            self._state.put_request(replace(known, whereabouts=where.encode()))
            return Verdict.ACCEPTED if known.state is RequestState.ACCEPTED else Verdict.PENDING
        return self._consider_new(knock, where, AcceptPolicy(offer.accept) if offer else AcceptPolicy.ASK)

    def may_answer(self, peer: PeerId) -> bool:
        """Whether a session with this peer is answered: partners, and requests that were accepted (DESIGN 6)."""
        if peer in self._premises.owners():
            return True
        known = self._state.find_request(Direction.IN, peer)
        return known is not None and known.state in {RequestState.ACCEPTED, RequestState.AGREED}

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
        for lease in self._premises.leases_of(owner):
            if statement_hash(lease.signed) == statement_hash(signed):
                return lease.signed  # proposed again: the owner did not hear our answer
        known = self._state.find_request(Direction.IN, owner)
        if known is not None and known.state is RequestState.WAITING:
            return None
        if known is None or known.state is not RequestState.ACCEPTED:
            raise RefusedError("no request of yours was accepted", hint="run `backup-peer connect` again")
        self._check_proposal(proposal, known)
        lease = self._premises.agree(add_signature(signed, Agreement, self._identity))
        agreed = replace(known, state=RequestState.AGREED)
        self._state.put_request(agreed)
        self._state.meet(owner, self._clock.now_ms(), alias=known.alias, whereabouts=known.whereabouts)
        self.on_agreed(agreed)
        return lease.signed

    def decide(self, text: str, *, accept: bool, alias: str = "", reason: str = "") -> RequestRecord:
        """Accept or reject the request that `text` names (its id, the peer's id, or a prefix of either).

        Raises:
            NotFoundError: no waiting request is called so.
            UserError: several are.

        """
        known = self.find(text)
        check_alias(self._state, alias, known.peer)
        state = RequestState.ACCEPTED if accept else RequestState.REJECTED
        decided = replace(known, state=state, alias=alias or known.alias, reason=reason)
        self._state.put_request(decided)
        if accept:
            self.on_accepted(decided)
        return decided

    def find(self, text: str) -> RequestRecord:
        """Return the incoming request that waits for a decision and is named by `text`."""
        waiting = [
            r for r in self._state.requests() if r.direction is Direction.IN and r.state is not RequestState.AGREED
        ]
        found = [
            r
            for r in waiting
            if text and (r.request.startswith(text) or format_peer_id(r.peer).startswith(text) or r.alias == text)
        ]
        if len(found) > 1:
            raise UserError(
                f"{text!r} fits {len(found)} requests", hint="give more characters; see `backup-peer requests`"
            )
        if not found:
            raise NotFoundError(f"no request is called {text[:80]!r}", hint="see `backup-peer requests`")
        return found[0]

    def _check_wish(self, knock: Knock, offer: Offer | None) -> None:
        if offer is None or knock.size_bytes == 0:
            raise RefusedError("nothing is on offer here")
        if knock.term_s > offer.term_s or knock.lock_s > offer.lock_s:
            raise RefusedError("the wanted term or lock is longer than offered")

    def _consider_new(self, knock: Knock, where: Whereabouts, policy: AcceptPolicy) -> Verdict:
        owner = PeerId(knock.owner)
        now_ms = self._clock.now_ms()
        self._state.drop_requests(now_ms - REQUEST_KEPT_S * 1000)
        waiting = [r for r in self._state.requests() if r.direction is Direction.IN and r.state is RequestState.WAITING]
        if len(waiting) >= PENDING_REQUESTS:
            raise RefusedError(
                "too many requests are waiting here",
            )
        is_auto = may_auto_accept(
            policy, is_friend=self._standing.is_friend(owner), has_agreement=owner in self._premises.owners()
        )
        record = RequestRecord(
            request=secrets.token_hex(8),
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
        self._state.put_request(record)
        if not is_auto:
            self.on_request(record)
        return Verdict.ACCEPTED if is_auto else Verdict.PENDING

    def _check_room(self, record: RequestRecord) -> None:
        totals = self._premises.open().totals()
        offered = totals.offered_bytes if totals.offered_bytes is not None else totals.free_bytes
        promised = sum(
            r.size_bytes
            for r in self._state.requests()
            if r.direction is Direction.IN and r.state is RequestState.ACCEPTED and r.peer != record.peer
        )
        if record.size_bytes > offered - totals.agreed_bytes - promised:
            raise RefusedError("not that much space is left here", hint="ask for less")

    def _check_proposal(self, proposal: Agreement, known: RequestRecord) -> None:
        accepted = (known.size_bytes, known.term_s, known.lock_s)
        if (proposal.size_bytes, proposal.term_s, proposal.lock_s) != accepted or proposal.revision != 1:
            raise RefusedError(
                "the agreement has other terms than were accepted", hint="run `backup-peer connect` again"
            )
        age_ms = self._clock.now_ms() - proposal.start_ms
        if not -_SKEW_MS <= age_ms <= REQUEST_KEPT_S * 1000 + _SKEW_MS:
            raise RefusedError("the agreement starts at another time than now", hint="check the clock of your computer")


def _is_same_wish(known: RequestRecord, knock: Knock) -> bool:
    return (known.size_bytes, known.term_s, known.lock_s) == (knock.size_bytes, knock.term_s, knock.lock_s)


def _ignore(record: RequestRecord) -> None:
    del record
