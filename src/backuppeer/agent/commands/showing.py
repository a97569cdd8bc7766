"""The account of this home with one peer: peers/show (control.api routes).

Knows: agreements of both directions, rooms, notices. Must not know: HTTP, terminals.
"""

import asyncio

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.months import describe_receipts
from backuppeer.agent.commands.records import record_of, tenancy_of
from backuppeer.agent.commands.room import Room, find_open_room, room_at, room_for
from backuppeer.agent.commands.wishes import End, end_at, end_for
from backuppeer.agent.home.records import PeerRecord
from backuppeer.agent.host.reciprocity import Balance
from backuppeer.agent.peers.contacting import describe_running
from backuppeer.agent.peers.lineage import say_lineage
from backuppeer.agent.peers.names import name_of, resolve_peer
from backuppeer.agent.peers.offers import describe_promises
from backuppeer.agent.reporter import Emit
from backuppeer.agent.repute.shelves import Keep
from backuppeer.clock import format_time
from backuppeer.control.history import Record, ShowRequest
from backuppeer.control.showing import Account, PeerAccount, ReceiptsHeld
from backuppeer.errors import BackupPeerError, NotFoundError
from backuppeer.host.daily import Counted
from backuppeer.host.leases import Lease
from backuppeer.ids import AgreementId, PeerId, format_peer_id
from backuppeer.proof.revisions import end_ms, list_parties, promises_of
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.trust.score import round_down


class ShowCommands:
    """peers/show."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._state = agent, agent.parts.state

    async def show(self, request: ShowRequest, _: Emit) -> PeerAccount:
        """Return who keeps how much for whom, and on which terms."""
        peer = resolve_peer(self._state, request.peer)
        record = self._state.peer(peer)
        if record is None:
            raise NotFoundError("you have dealt with no such peer", hint="see `backup-peer peers`")
        there, here = await self._show_there(peer), await self._show_here(peer)
        exposing = self._agent.owner.vault.exposing
        trust, level = self._agent.parts.standing.trust(peer)
        return PeerAccount(
            peer_id=format_peer_id(peer),
            alias=record.alias,
            verified=self._agent.parts.standing.is_friend(peer),
            blocked=peer in self._state.blocks,
            there=there,
            here=here,
            trust=round_down(trust),
            trust_level=level.value,
            capped=self._agent.parts.standing.caps(peer),
            lineage=say_lineage(self._state, self._agent.parts.views.heirs, peer),
            way_out=self._agent.parts.standing.advice(peer, name_of(self._state, peer)),
            cap_bytes=exposing.cap(peer),
            verified_bytes=exposing.verified(peer),
            cap_set=exposing.lifted(peer) is not None,
            offer_bytes=self._agent.host.premises.offer_for(there.lacking_bytes) if there else 0,
            as_owner=tenancy_of(self._agent.parts.standing, peer),
            record=self._recount(record, request.history),
            owed_bytes=(here.used_bytes if here else 0) - (there.used_bytes if there else 0),
        )

    async def _show_there(self, host: PeerId) -> Account | None:
        signed = next((s for _, agreed, s in self._state.agreements() if agreed == host), None)
        if signed is None:
            return None
        terms = peek_statement(Agreement, signed)
        there = _account(terms, room_at(self._agent, host) or Room(), end_at(self._agent, host))
        there.room_bytes = find_open_room(self._agent, host)
        before = list_parties(self._state.deeds.after(AgreementId(terms.agreement), 0))
        there.receipts = await asyncio.to_thread(describe_receipts, self._agent, terms, Keep.OWNER, before)
        _add_balance(there, self._agent.host.reciprocity.owed_by_us(host))
        return there

    async def _show_here(self, owner: PeerId) -> Account | None:
        leases = self._agent.host.premises.leases_of(owner)
        if not leases:
            return None
        here = _account(leases[0].terms, room_for(self._agent, owner) or Room(), end_for(self._agent, owner))
        here.receipts = await asyncio.to_thread(self._list_receipts, leases[0])
        _add_balance(here, self._agent.host.reciprocity.owed_to_us(owner))
        refused_ms = self._agent.host.reciprocity.refused_from_ms(owner)
        here.refused_from = format_time(refused_ms) if refused_ms is not None else ""
        here.sent_bytes = self._count_sent(owner)
        return here

    def _list_receipts(self, lease: Lease) -> ReceiptsHeld:
        chains = self._agent.host.premises.open().leases
        return describe_receipts(self._agent, lease.terms, Keep.HOST, [*chains.line(lease), *chains.names(lease)])

    def _recount(self, known: PeerRecord, limit: int) -> Record:
        session = self._agent.parts.sessions.get(PeerId(known.peer))
        running = describe_running(session) if session is not None else None
        return record_of(self._agent.parts.standing, known, limit=limit, running=running)

    def _count_sent(self, owner: PeerId) -> int:
        """Return how much was sent back to an owner today, under agreements that promise so much a day."""
        try:
            daily, leases = self._agent.host.premises.open().daily, self._agent.host.premises.leases_of(owner)
            return sum(daily.today(lease.agreement, Counted.SENT).size_bytes for lease in leases)
        except BackupPeerError:
            return 0  # the store is away: its account says so


def _add_balance(account: Account, balance: Balance) -> None:
    account.promised_bytes, account.lacking_bytes = balance.promised_bytes, balance.lacking_bytes


def _account(terms: Agreement, room: Room, end: End) -> Account:
    return Account(
        agreed_bytes=room.quota_bytes,
        used_bytes=room.used_bytes,
        deleted_bytes=room.deleted_bytes,
        next_free_bytes=room.next_bytes,
        next_free=room.next_free,
        lock_s=terms.lock_s,
        notice_s=terms.notice_s,
        until=format_time(end_ms(terms)),
        revision=terms.revision,
        promises=describe_promises(promises_of(terms)),
        **end,
    )
