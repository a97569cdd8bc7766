"""One knock and its one reply, as the owner's side sends and awaits them (DESIGN 7).

Knows: listings, envelopes, one-time reply inboxes. Must not know: what the answer leads to. Each knock has its own
reply inbox and key, so that a server can't tell two knocks of the same owner from those of two owners.
"""

import asyncio
import shlex
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.choosing import UNDECIDED
from backuppeer.agent.peers.delivering import deliver, do_unseen
from backuppeer.agent.peers.invited import Invited
from backuppeer.agent.peers.market import Market
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.neighbours import Neighbours
from backuppeer.agent.peers.partners import meet_at
from backuppeer.agent.peers.spoken import Saying
from backuppeer.agent.peers.whereabouts import Whereabouts, read_binding
from backuppeer.agent.peers.wishes import INVITE, fields_of
from backuppeer.clock import Clock, format_time
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import NoSignaling, PeerUnreachable, Refusal, RefusedError
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import KNOCK_LIFE_S, KNOCK_SERVERS, SERVERS, TRIAL_TERM_S
from backuppeer.proof.promises import read_promises
from backuppeer.proof.revisions import Wish
from backuppeer.signaling.depositing import OnWork
from backuppeer.signaling.knock import (
    INVITE_OVER,
    OFFERS_OTHER,
    REJECTED_BY_PERSON,
    UNTRUSTED,
    Knock,
    KnockReply,
    Verdict,
    make_nonce,
    open_reply,
    seal_knock,
)
from backuppeer.signaling.listing import VerifiedListing
from backuppeer.signaling.pool import Pool
from backuppeer.signaling.servers import count_servers
from backuppeer.trust.exposure import TRIAL_BYTES

_log = structlog.get_logger()
_OF_OTHERS: Final = "it may be offline, or use other servers: ask its person, or `backup-peer browse` for others"
_OF_OURS: Final = "it may be offline: ask its person whether the machine is on, and to run `host` again"
Ends = Callable[[], Whereabouts]
"""Where this home itself can be dialled now."""


class Knocking:
    """Knocks of this home."""

    def __init__(self, state: State, identity: SigningKey, clock: Clock, *, market: Market, ends: Ends) -> None:
        self._state, self._identity, self._clock = state, identity, clock
        self._market, self._ends = market, ends
        self._unanswered: Counter[str] = Counter()
        """Knocks in a row that had no reply, by the server at which they were left."""
        self.invited, self.saying = Invited(state, clock), Saying(identity, clock)
        self.neighbours: Neighbours | None = None
        """Who finds hosts in the same network, which are asked without a server. Set by who makes it."""
        self.is_passing = False
        """Whether this home was made to try words, and is gone in a moment: its knocks name no address."""
        self.as_whom: Callable[[PeerId], SigningKey] = lambda _: identity
        """The identity by which a host knows this home. Set by who tells hosts of a new one."""

    async def find(self, peer: PeerId, servers: list[str]) -> VerifiedListing | None:
        """Return the slot of a peer: where its invite leads, if there is one, else as servers list it; None: nowhere.

        Raises:
            AuthenticationFault: somebody else shows itself where the invite leads.
            PeerUnreachable: there is an invite, and it leads nowhere, nor is the peer listed.
            NoSignaling: no server answered.

        """
        if (invite := self.invited.find(peer)) is None:
            return await self._market.find(servers, peer)
        try:
            return await self.invited.look(invite, servers)
        except PeerUnreachable as exc:
            missed = exc
        with suppress(NoSignaling):
            if (listed := await self._market.find(servers, peer)) is not None:
                return listed
        raise missed

    async def knock(
        self, record: RequestRecord, servers: list[str], *, on_work: OnWork = do_unseen
    ) -> tuple[Verdict, Whereabouts | None]:
        """Knock at a host and return its answer, and where it is when it let us in.

        on_work: told of work for a flooded server.

        Raises:
            PeerUnreachable: it is not on offer, or did not answer.
            RefusedError: it said no.
            NoSignaling: no server answered.

        """
        name = name_of(self._state, record.peer)
        verified = await self.find(record.peer, servers)
        if verified is None:
            is_ours = any(host == record.peer for _, host, _ in self._state.agreements())
            raise PeerUnreachable(
                f"{name} {self._say_missed(record.peer) if is_ours else 'is not on offer'} {self._say_where(servers)}"
                f"{'; your agreement stands' if is_ours else ''}",
                # Who keeps our packs is asked where it is: no other host would do.
                hint=_OF_OURS if is_ours or not record.size_bytes else _OF_OTHERS,
            )
        return await self.knock_at(verified, record, servers, on_work=on_work)

    def _say_where(self, servers: list[str]) -> str:
        if self.neighbours is None or not self.neighbours.is_allowed():
            return f"at {count_servers(len(servers))}"
        return f"at {count_servers(len(servers))} or in this network" if servers else "in this network"

    def _say_missed(self, host: PeerId) -> str:
        known = self._state.peer(host)
        seen = f", last seen {format_time(known.last_seen_ms)[:10]}" if known and known.last_seen_ms else ""
        return f"seems to be offline{seen}: not where it was, nor on offer"

    async def knock_at(
        self, verified: VerifiedListing, record: RequestRecord, servers: list[str], *, on_work: OnWork = do_unseen
    ) -> tuple[Verdict, Whereabouts | None]:
        """Knock at a host whose listing is known; as `knock`."""
        reply = await self._exchange_nearby(verified, record)
        if reply is None and (servers or verified.servers):
            reply = await self._exchange(verified, record, servers, on_work)
        name = name_of(self._state, record.peer)
        if reply is None:
            raise PeerUnreachable(f"{name} did not answer", hint="it may just have gone offline; try again in a minute")
        if reply.code == INVITE_OVER:
            self.invited.forget(record.peer)
        if reply.verdict is Verdict.REJECTED:
            raise RefusedError(
                f"{name} refused: {reply.message or 'no reason given'}",
                hint=self._advise_refused(record, reply.code),
                refusal=Refusal.ALLOWED,
            )
        if reply.verdict is Verdict.PENDING:
            self._note_offer(record, reply)
            return reply.verdict, None
        where = read_binding(reply.binding, record.peer)
        meet_at(self._state, record.peer, where.encode(), self._clock.now_ms())
        return reply.verdict, where

    def _advise_refused(self, record: RequestRecord, code: str) -> str:
        """Return what to do after a no: less is no way out where the size was not the reason, or is the least."""
        if code == REJECTED_BY_PERSON:
            own = shorten_peer_id(PeerId(self._identity.public))
            return (
                f"its person can still agree, with `backup-peer requests accept {own}` there: ask them, then run "
                "the same connect again; or ask for another size, or `backup-peer browse` for others"
            )
        if code == INVITE_OVER:
            return "ask its person, who sees why with `backup-peer invite list` there, and can make another"
        if code == UNTRUSTED:
            return (
                "`backup-peer browse` shows others; or keep some of its data first: `backup-peer host --storage 50GB` "
                "offers it space"
            )
        if record.size_bytes <= TRIAL_BYTES and record.term_s <= TRIAL_TERM_S:
            return "`backup-peer browse` shows others"
        return "a smaller --storage may fit; `backup-peer browse` shows others"

    def _note_offer(self, record: RequestRecord, reply: KnockReply) -> None:
        """Keep what a host's person offers instead, for ours to decide on; or that nothing is offered any more."""
        is_offer = reply.code == OFFERS_OTHER and reply.size_bytes > 0
        offer = Wish(reply.size_bytes, reply.term_s, reply.lock_s, read_promises(reply.ext)) if is_offer else None
        state = RequestState.OFFERED if offer else RequestState.WAITING
        now = next((r for r in self._state.requests() if r.request == record.request), None)
        if now is not None and now.state in UNDECIDED and (now.state, now.offer) != (state, offer):
            self._state.put_request(replace(now, state=state, offer=offer))

    async def locate(self, peer: PeerId, servers: list[str]) -> Whereabouts:
        """Ask a host that knows us where it is: a knock that wants nothing.

        Raises:
            PeerUnreachable: not on offer, no answer, or it does not know us.
            NoSignaling: no server answered.

        """
        try:
            _, where = await self.knock(self.empty_wish(peer), servers)
        except RefusedError as exc:
            name = name_of(self._state, peer)
            raise PeerUnreachable(
                f"{name} does not know us any more: {exc.message}",
                hint=f"ask its person why; `backup-peer connect {shlex.quote(name)} --storage 10GB` asks it anew",
            ) from exc
        if where is None:
            raise PeerUnreachable(
                f"{name_of(self._state, peer)} did not say where it is",
                hint="try again in a moment: it answers and is busy, or its program is too old",
            )
        return where

    def empty_wish(self, peer: PeerId) -> RequestRecord:
        """Return a request for nothing, which only a host that has an agreement with us accepts."""
        return RequestRecord("", Direction.OUT, peer, 0, 0, 0, RequestState.WAITING, self._clock.now_ms())

    async def _exchange_nearby(self, verified: VerifiedListing, record: RequestRecord) -> KnockReply | None:
        """Knock at a host in the same network, if its offer was seen there; None: it was not, or said nothing.

        The same knock as by a server, sealed and of the same size: only that its reply comes back the way it came.
        """
        key, sent, replies = EnvelopeKey.generate(), list[Knock](), list[KnockReply]()

        def make() -> bytes:
            knock = self._make(verified, record, [], inbox_key=SigningKey.generate().public, reply_key=key.public)
            sent.append(knock)
            return seal_knock(knock, self.as_whom(verified.peer), envelope_key=verified.listing.envelope_key)

        def take(sealed: bytes) -> None:
            replies.append(open_reply(sealed, key, knock=sent[-1]))

        is_answered = self.neighbours is not None and await self.neighbours.knock(verified.peer, make, take)
        return replies[-1] if is_answered else None

    async def _exchange(
        self, verified: VerifiedListing, record: RequestRecord, servers: list[str], on_work: OnWork
    ) -> KnockReply | None:
        inbox, key = SigningKey.generate(), EnvelopeKey.generate()
        # Where an invite led to its slot, the slot's inbox is open, be it no server of this home's own.
        servers = list(dict.fromkeys([*servers, *verified.servers]))[:SERVERS]
        sent: list[Knock] = []
        answered: asyncio.Future[KnockReply] = asyncio.get_running_loop().create_future()

        async def hear(sealed: bytes, server: str) -> None:
            if sent and not answered.done():
                answered.set_result(open_reply(sealed, key, knock=sent[0]))
                self._unanswered.pop(server, None)

        async with Pool(servers, clock=self._clock, health=self._market.health) as pool:
            handle = await pool.open_inbox(inbox, hear, servers=self._choose(verified, servers))
            try:
                open_at = handle.open_at()[:KNOCK_SERVERS]
                knock = self._make(verified, record, open_at, inbox_key=inbox.public, reply_key=key.public)
                sent.append(knock)
                sealed = seal_knock(knock, self.as_whom(verified.peer), envelope_key=verified.listing.envelope_key)
                reply = await deliver(pool, open_at, verified.listing.inbox, sealed, answered=answered, on_work=on_work)
                if reply is None:
                    self._unanswered.update(open_at)
                return reply
            finally:
                await handle.close()

    def _choose(self, verified: VerifiedListing, servers: list[str]) -> list[str]:
        """Return where to knock: where the host is on show, and where knocks had no reply lately last.

        A server that drops knocks can't be told from a host that just went, so nobody is blamed, and the next try goes
        another way.
        """
        places = list(dict.fromkeys([*(s for s in verified.servers if s in servers), *servers]))
        return sorted(places, key=self._unanswered.__getitem__)[:KNOCK_SERVERS]

    def _make(
        self, verified: VerifiedListing, record: RequestRecord, places: list[str], *, inbox_key: bytes, reply_key: bytes
    ) -> Knock:
        ends, now_ms, nonce = self._ends(), self._clock.now_ms(), make_nonce()
        invite = self.invited.find(verified.peer) if record.size_bytes else None
        claim = {INVITE: invite.keys.claim(PeerId(self.as_whom(verified.peer).public), nonce)} if invite else {}
        return Knock(
            recipient=verified.peer,
            listing_seq=verified.listing.seq,
            envelope_id=verified.listing.envelope_id,
            owner=self.as_whom(verified.peer).public,
            size_bytes=record.size_bytes,
            term_s=record.term_s,
            lock_s=record.lock_s,
            transport=ends.transport,
            addresses=[] if self.is_passing else list(ends.addresses),
            servers=places,
            reply_inbox=inbox_key,
            reply_key=reply_key,
            nonce=nonce,
            issued_ms=now_ms,
            expires_ms=now_ms + KNOCK_LIFE_S * 1000,
            ext=fields_of(record) | claim,
        )
