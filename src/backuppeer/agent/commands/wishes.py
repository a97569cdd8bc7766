"""What a request looks like beside what is agreed, and beside what is offered instead (`requests`).

Knows: requests, agreements of both directions. Must not know: HTTP, terminals.
"""

from typing import TypedDict

from backuppeer.agent.agent import Agent
from backuppeer.agent.home.records import Direction, RequestRecord
from backuppeer.agent.peers.offers import describe_promises
from backuppeer.clock import format_time
from backuppeer.control.promises import Promised
from backuppeer.errors import BackupPeerError
from backuppeer.ids import AgreementId, PeerId
from backuppeer.proof.revisions import SECOND_MS, end_ms, promises_of
from backuppeer.proof.statements import Agreement, peek_statement


class Beside(TypedDict, total=False):
    """Fields of `control.api.PendingRequest`."""

    offer_bytes: int
    offer_term_s: int
    offer_lock_s: int
    offer_until: str
    now_bytes: int
    now_until: str
    now_lock_s: int
    until: str
    promises: Promised
    offer_promises: Promised
    now_promises: Promised


def describe_beside(agent: Agent, record: RequestRecord) -> Beside:
    """Return what is offered instead of a request, and what it would change."""
    said = Beside(promises=describe_promises(record.promises))
    if record.offer is not None:
        said["offer_bytes"], said["offer_term_s"], said["offer_lock_s"], promises = record.offer
        said["offer_promises"] = describe_promises(promises)
    terms = _terms_of(agent, record) if record.revises else None
    if terms is not None:
        said["now_bytes"], said["now_until"] = terms.size_bytes, format_time(end_ms(terms))
        said["now_lock_s"] = terms.lock_s
        said["now_promises"] = describe_promises(promises_of(terms))
        said["until"] = _end(terms, record.term_s)
        if record.offer is not None:
            said["offer_until"] = _end(terms, record.offer.term_s)
    return said


class End(TypedDict, total=False):
    """Fields of `control.api.PeerRow`."""

    ends: str
    ended_by_us: bool


def describe_end(agent: Agent, peer: PeerId) -> End:
    """Return until when all is kept under an agreement that ends, where the peer is our host, or else our owner."""
    return end_at(agent, peer) or end_for(agent, peer)


def end_at(agent: Agent, peer: PeerId) -> End:
    """Return until when a host keeps all under an agreement that ends; nothing of one that goes on."""
    parts = agent.parts
    for agreement, host, _ in parts.state.agreements():
        ending = parts.state.deeds.ending(agreement) if host == peer else None
        if ending is not None:
            return End(ends=format_time(ending.until_ms), ended_by_us=ending.notice.party != peer)
    return End()


def end_for(agent: Agent, peer: PeerId) -> End:
    """Return until when we keep all of an owner under an agreement that ends; nothing of one that goes on."""
    parts = agent.parts
    for lease in agent.host.premises.leases_of(peer):
        notices = agent.host.premises.open().notices
        left_s = notices.left_s(lease.agreement)
        if left_s is not None:
            is_ours = notices.is_ended_by_host(lease.agreement)
            return End(ends=format_time(parts.clock.now_ms() + left_s * SECOND_MS), ended_by_us=is_ours)
    return End()


def terms_with(agent: Agent, peer: PeerId) -> Agreement | None:
    """Return what is agreed with a peer: as our host, else as an owner whose host we are; None: nothing is."""
    signed = next((signed for _, host, signed in agent.parts.state.agreements() if host == peer), None)
    if signed is not None:
        return peek_statement(Agreement, signed)
    return next((lease.terms for lease in agent.host.premises.leases_of(peer)), None)


def _terms_of(agent: Agent, record: RequestRecord) -> Agreement | None:
    if record.direction is Direction.OUT:
        signed = next((s for a, _, s in agent.parts.state.agreements() if a == record.revises), None)
        return peek_statement(Agreement, signed) if signed is not None else None
    try:
        lease = agent.host.premises.open().leases.find(AgreementId(record.revises))
    except BackupPeerError:
        return None  # the store is away: what is asked for can be told without
    return lease.terms if lease is not None else None


def _end(terms: Agreement, term_s: int) -> str:
    return format_time(terms.start_ms + term_s * SECOND_MS)
