"""Agreements of this host's store changed: larger, smaller, longer (ADR 44, `peers resize`, `peers renew`).

Knows: the revision in force, requests to change it, what needs a person's yes. Must not know: messages but `Pending`,
sessions, how a store keeps revisions. What asks no more of this host takes effect at once; all else is asked as a
request for space is: by policy, or by the person.
"""

import threading
from collections.abc import Callable
from dataclasses import replace

from backuppeer.agent.home.records import RequestRecord, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.host.authorities import check_authority
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.requests import Requests
from backuppeer.agent.peers.offers import Offer, choose_promises, is_within
from backuppeer.clock import Clock
from backuppeer.control.promises import NO_WISH, PromiseWish
from backuppeer.crypto.identity import SIGNATURE_BYTES
from backuppeer.errors import NotFoundError, ProtocolViolation, RefusedError
from backuppeer.host.leases import Lease
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import CLOCK_SKEW_S, TERM_ROUND_S, TERMS_PAGE
from backuppeer.proof.promises import write_promises
from backuppeer.proof.revisions import (
    SECOND_MS,
    Wish,
    asks_more,
    check_named,
    check_spans,
    check_spare,
    check_successor,
    end_ms,
    other_terms,
    promises_of,
    wish_of,
)
from backuppeer.proof.statements import (
    Agreement,
    open_proposal,
    open_statement,
    statement_hash,
)
from backuppeer.proof.succession import HOST_AUTHORITY
from backuppeer.proof.waivers import check_fresh, check_lowered
from backuppeer.trust.policy import AcceptPolicy
from backuppeer.wire.messages import Pending

OnOffer = Callable[[], Offer | None]
"""The slot that is on offer now: its policy is the person's word on who may have more."""

OnLowered = Callable[[PeerId, AgreementId, int, int], None]
"""(owner, agreement, lock before and from now on in seconds); called in a thread."""


class Revising:
    """Revisions of this home's agreements as host."""

    def __init__(
        self,
        state: State,
        premises: Premises,
        requests: Requests,
        clock: Clock,
        *,
        authority: bytes = b"",
    ) -> None:
        self._state, self._premises, self._requests, self._clock = state, premises, requests, clock
        self._authority = authority
        self._revising = threading.Lock()
        self.on_offer: OnOffer = _nothing
        self.on_lowered: OnLowered = _ignore

    def consider(self, owner: PeerId, signed: bytes, device_sig: bytes = b"") -> bytes | Pending | None:
        """Co-sign a proposal, for a new agreement or the next revision of one; else say that a person must decide.

        `device_sig`: of the writing device over the same statement, asked for since a take-over (ADR 51).

        Raises:
            RefusedError: no, by a person, by policy, or as there is no room; another machine writes by now; or the
                owner is known by another authority.
            NotFoundError: there is no such agreement with this owner.
            PeerFault: malformed, not signed by the owner, or no successor of what is in force.
            StoreUnavailable: the store is away.

        """
        proposal = open_proposal(Agreement, signed, owner)
        check_named(proposal, self._authority)
        check_spare(proposal)
        if proposal.revision == 1:
            self._check_owner(owner, signed, device_sig)
            check_authority(self._state, self._premises, owner, proposal.authority)
            return self._requests.consider_proposal(owner, signed)
        with self._revising:  # one revision after the other: each must find its predecessor in force
            lease = self._find(owner, AgreementId(proposal.agreement))
            if statement_hash(lease.signed) == statement_hash(signed):
                return lease.signed  # proposed again: the owner did not hear our answer
            check_successor(lease.signed, proposal)
            self._premises.open().countersigning.check(lease, Agreement, signed, device_sig)
            waiver = check_lowered(lease.signed, lease.terms, proposal)
            if waiver is not None:
                # Here only: where a chain is caught up on, the word in it may be years old.
                check_fresh(waiver, self._clock.now_ms())
            answer = self._weigh(lease, proposal, signed)
            if waiver is not None and isinstance(answer, bytes):
                self.on_lowered(owner, lease.agreement, lease.terms.lock_s, proposal.lock_s)
            return answer

    def offer(
        self,
        text: str,
        *,
        size_bytes: int | None,
        term_s: int | None,
        lock_s: int | None,
        promises: PromiseWish = NO_WISH,
    ) -> RequestRecord:
        """Offer other terms than the waiting request `text` asks for; what is not given is as asked for.

        The term counts from now on, in a request for a new agreement from when that is made.

        Raises:
            as `Requests.offer`.

        """
        record = self._requests.find(text)
        wish = record.wish
        if record.revises and term_s is not None:
            lease = self._find(record.peer, AgreementId(record.revises))
            passed_s = max(0, self._clock.now_ms() - lease.terms.start_ms) // SECOND_MS
            term_s = -(-(passed_s + term_s) // TERM_ROUND_S) * TERM_ROUND_S
        offered = Wish(
            wish.size_bytes if size_bytes is None else size_bytes,
            wish.term_s if term_s is None else term_s,
            wish.lock_s if lock_s is None else lock_s,
            choose_promises(promises, wish.promises),
        )
        check_spans(offered)
        if record.revises:
            self._check_offer(record, offered)
        return self._requests.offer(record.request, offered)

    def _check_offer(self, record: RequestRecord, offered: Wish) -> None:
        lease = self._find(record.peer, AgreementId(record.revises))
        if offered.lock_s < lease.terms.lock_s:
            raise RefusedError("a revision may not lower the lock", hint="offer the same lock, or a longer one")

    def list_terms(self, owner: PeerId, agreement: AgreementId, after: int) -> tuple[list[bytes], bool]:
        """Return a page of the revisions above a number, and whether there are more.

        Raises:
            NotFoundError: there is no such agreement with this owner.
            StoreUnavailable: the store is away.

        """
        lease = self._find(owner, agreement)
        if lease.terms.revision <= after:
            return [], False
        page = self._premises.open().leases.history(agreement)[after : after + TERMS_PAGE]
        return page, after + len(page) < lease.terms.revision

    def take(self, owner: PeerId, agreement: AgreementId, signed: bytes) -> int:
        """Put a revision into force that this host had co-signed and lost since; return the number in force.

        Under a name of before whoever robbed this host may have co-signed it: what asks more then is asked for anew.

        Raises:
            NotFoundError: there is no such agreement with this owner.
            RefusedError: a person must agree first, or did not; it binds for longer than anybody may ask for, or names
                another authority than this host's.
            PeerFault: not signed by both, or no successor of what is in force.
            StoreUnavailable: the store is away.

        """
        with self._revising:
            lease = self._find(owner, agreement)
            offered = open_statement(Agreement, signed, owner, lease.host)
            if offered.agreement != agreement:
                raise ProtocolViolation("a revision is of another agreement than it was sent for")
            if offered.revision <= lease.terms.revision:
                return lease.terms.revision
            if HOST_AUTHORITY not in lease.terms.ext:  # else it stands for good
                check_named(offered, self._authority)
            check_spans(wish_of(offered), offered.notice_s)
            if lease.host in self._premises.names.former and asks_more(lease.terms, offered):
                return self._ask_anew(lease, offered, signed[:-SIGNATURE_BYTES])
            return self._premises.agree(signed).terms.revision

    def _ask_anew(self, lease: Lease, offered: Agreement, proposal: bytes) -> int:
        """Weigh what the key of before co-signed as if it were only proposed."""
        check_successor(lease.signed, offered)
        answer = self._weigh(lease, offered, proposal)
        if not isinstance(answer, bytes):
            raise RefusedError(
                "these terms ask more of this host, and were signed as who it was before: its person is asked",
                hint="it takes effect, and the agreement goes on with the new identity, when its person has agreed",
            )
        return offered.revision

    def _check_owner(self, owner: PeerId, signed: bytes, device_sig: bytes) -> None:
        """Refuse a further agreement to a machine of an owner that another one took over from."""
        if self._premises.leases_of(owner):
            self._premises.open().countersigning.check_owner(owner, Agreement, signed, device_sig)

    def _find(self, owner: PeerId, agreement: AgreementId) -> Lease:
        lease = self._premises.open().leases.find(agreement)
        if lease is None or lease.owner != owner:
            raise NotFoundError("no such agreement with you")
        return lease

    def _weigh(self, lease: Lease, proposal: Agreement, signed: bytes) -> bytes | Pending | None:
        wish = wish_of(proposal)
        known = self._requests.open_request(lease.owner, lease.agreement)
        if not asks_more(lease.terms, proposal):
            return self._agree(known, signed)
        check_spans(wish, proposal.notice_s)
        if self._premises.open().notices.left_s(lease.agreement) is not None:
            raise RefusedError(
                "the agreement ends: notice was given", hint="who gave it takes it back with `backup-peer peers renew`"
            )
        if _unchanged(proposal) != _unchanged(lease.terms):
            raise RefusedError("this version changes only space, term, lock and promises of an agreement")
        if known is not None and known.wish == wish:
            return self._answer(known, signed)
        if known is not None and self._requests.take_offer(known, wish):
            return self._agree(known, signed)
        self._requests.check_rejections(lease.owner, wish, lease.agreement)
        record = self._requests.make_record(lease.owner, wish, self._whereabouts(lease.owner), lease.agreement)
        return self._agree(record, signed) if self._requests.enter(record, self._policy(proposal)) else None

    def _answer(self, known: RequestRecord, signed: bytes) -> bytes | Pending | None:
        """Return the answer to what is known already."""
        if known.state is RequestState.ACCEPTED:
            return self._agree(known, signed)
        return _offer_of(known.offer) if known.offer is not None else None

    def _agree(self, known: RequestRecord | None, signed: bytes) -> bytes:
        """Co-sign, durably; a request for it is settled by that, or made good if the owner wants less by now."""
        lease = self._premises.cosign(signed)
        if known is not None:
            now_ms = self._clock.now_ms()
            agreed = replace(
                known, state=RequestState.AGREED, since_ms=now_ms, offer=None, **wish_of(lease.terms)._asdict()
            )
            self._state.put_request(agreed)
            self._requests.on_agreed(agreed)
        return lease.signed

    def _policy(self, proposal: Agreement) -> AcceptPolicy:
        """Return the policy of the slot on offer, where it offers such terms; else a person is asked."""
        offer, now_ms = self.on_offer(), self._clock.now_ms()
        # The owner counted by its own clock, and in whole days.
        most_ms = now_ms + (CLOCK_SKEW_S + TERM_ROUND_S + (offer.term_s if offer else 0)) * SECOND_MS
        is_beyond = offer is None or not is_within(promises_of(proposal), offer)
        if offer is None or is_beyond or end_ms(proposal) > most_ms or proposal.lock_s > offer.lock_s:
            return AcceptPolicy.ASK
        # More for whom it would not be given to now is a person's to give.
        is_wanted = self._requests.trusts(PeerId(proposal.owner), offer)
        return AcceptPolicy(offer.accept) if is_wanted else AcceptPolicy.ASK

    def _whereabouts(self, owner: PeerId) -> bytes:
        record = self._state.peer(owner)
        return record.whereabouts if record is not None else b""


def _offer_of(wish: Wish) -> Pending:
    return Pending(
        size_bytes=wish.size_bytes, term_s=wish.term_s, lock_s=wish.lock_s, ext=write_promises(wish.promises)
    )


def _unchanged(terms: Agreement) -> tuple[object, ...]:
    """Return what no revision changes that asks more of this host: it is in nobody's wish, so no person sees it."""
    return other_terms(terms), terms.notice_s


def _nothing() -> Offer | None:
    return None


def _ignore(owner: PeerId, agreement: AgreementId, before_s: int, after_s: int) -> None:
    del owner, agreement, before_s, after_s
