"""The slot on offer: published, refreshed, knocked at, withdrawn (DESIGN 7, 10 `host`).

Knows: listings, envelope keys, the inbox, what to answer to a knock. Must not know: how packs are kept, what happens in
a session. Exactly one fixed-size reply leaves per knock, whatever the answer.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from typing import Final

import msgspec
import structlog

from backuppeer.agent.home.logbook import bookkeeping
from backuppeer.agent.home.state import State
from backuppeer.agent.host.gate import Gate
from backuppeer.agent.host.invites import InviteRefused
from backuppeer.agent.host.replies import Replies
from backuppeer.agent.host.requests import Requests
from backuppeer.agent.host.slot_keys import SlotKeys
from backuppeer.agent.host.telling import tell_peer
from backuppeer.agent.peers.offers import Offer
from backuppeer.agent.peers.wishes import wish_of_knock
from backuppeer.clock import Clock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import (
    BackupPeerError,
    NoSignaling,
    PeerFault,
    RefusedError,
    RejectedError,
    Unavailable,
    UntrustedError,
)
from backuppeer.ids import PeerId
from backuppeer.limits import (
    KNOCK_ANSWER_S,
    LISTING_FUTURE_S,
    LISTING_LIFE_S,
    LISTING_REFRESH_S,
)
from backuppeer.proof.promises import split_promises, write_promises
from backuppeer.signaling.health import HealthBook
from backuppeer.signaling.knock import (
    INVITE_OVER,
    OFFERS_OTHER,
    REJECTED_BY_PERSON,
    UNTRUSTED,
    Knock,
    KnockReply,
    Verdict,
    open_knock,
    seal_reply,
)
from backuppeer.signaling.listing import (
    Listing,
    ListingKind,
    bucket_bytes,
    envelope_id,
    make_tombstone,
    name_servers,
    next_seq,
    sign_listing,
)
from backuppeer.signaling.nonces import NonceMemory
from backuppeer.signaling.pool import Acceptance, Pool

_log = structlog.get_logger()
_OFFER: Final = "host.offer"
_SEQ: Final = "host.seq"
_CODES: Final = ((RejectedError, REJECTED_BY_PERSON), (UntrustedError, UNTRUSTED), (InviteRefused, INVITE_OVER))
"""What the reply to a knock calls a no; any other is "refused"."""


MakeBinding = Callable[[], bytes]
FreeBytes = Callable[[Offer], int]
OnServers = Callable[[bool], None]
"""(whether any server shows the slot); called while a slot is on offer, whenever a server is reached or lost."""


class Hosting:
    """The one slot of this home."""

    def __init__(
        self,
        state: State,
        identity: SigningKey,
        clock: Clock,
        *,
        requests: Requests,
        binding: MakeBinding,
        free: FreeBytes,
    ) -> None:
        self._state, self._identity, self._clock = state, identity, clock
        self._requests, self.binding, self.free_bytes = requests, binding, free
        self._pool: Pool | None = None
        self._is_unlisted = False
        self._refresher: asyncio.Task[None] | None = None
        self._replies = Replies()
        self.on_servers: OnServers = _ignore
        self.on_reach: Callable[[], None] = lambda: None
        """Called when a slot was put on offer, and whenever a server is reached or lost."""
        self.health = HealthBook()
        """The same for all that asks servers; set by who puts the parts together."""
        self.on_proving: Callable[[str], None] = lambda _: None
        """Called with the address of a server that wants work of us, as it begins."""
        self.check_wish: Callable[[PeerId], None] = lambda _: None
        """Raises RefusedError for a wish of an owner that is never granted one."""
        self.be_reachable: Callable[[], Awaitable[None]] = _need_nothing
        """Awaited before an owner is told where we are, so that it can get here."""
        self._made = 0
        self._gate, self.keys = Gate(clock), SlotKeys(state, clock)
        self._nonces = NonceMemory(state.nonces())
        self._moving = asyncio.Lock()  # one change of the slot at a time: a failed one takes back only its own offer

    @property
    def offer(self) -> Offer | None:
        """Return what is on offer now."""
        raw = self._state.setting(_OFFER)
        offer = msgspec.msgpack.decode(raw, type=Offer) if raw else None
        if offer is not None and offer.expires_ms and offer.expires_ms <= self._clock.now_ms():
            return None
        return offer

    @property
    def pool(self) -> Pool | None:
        """Return the servers of the slot while it is published."""
        return self._pool

    async def start(self, offer: Offer) -> list[Acceptance]:
        """Put a slot on offer in place of the one before, and keep it so across restarts.

        Raises:
            NoSignaling: no server accepted the listing; nothing is on offer then.

        """
        async with self._moving:
            await self._make_way(offer)
            self._state.put_setting(_OFFER, msgspec.msgpack.encode(offer))
            try:
                return await self._enter(offer)
            except NoSignaling as exc:
                await self._give_up()
                raise NoSignaling(f"{exc.message}; so nothing is on offer", hint=exc.hint) from exc
            except BaseException:  # a person who left before it was on offer is told that it is not
                await self._give_up()
                raise

    async def _make_way(self, offer: Offer) -> None:
        """Leave the slot that was on offer; one that was listed and no more will be is taken down at once.

        Keys of knocks name themselves in each knock: none may be of a listed slot and of one that is not.
        """
        raw = self._state.setting(_OFFER)
        before = msgspec.msgpack.decode(raw, type=Offer) if raw else None
        if before is None or before.unlisted is offer.unlisted:
            await self._leave()
            return
        await self.close()
        self.keys.erase_all()

    async def resume(self) -> None:
        """Go on with the slot that was on offer when the agent ended; servers that are away are tried for ever."""
        self.keys.erase_old()
        async with self._moving:
            offer = self.offer
            if offer is not None and self._pool is None:
                with suppress(Unavailable):
                    await self._enter(offer)

    async def withdraw(self) -> None:
        """Take the slot off the market. Agreements and stored data stay; the keys of its knocks go."""
        async with self._moving:
            await self._withdraw()

    async def _withdraw(self) -> None:
        self._forget_offer()
        await self.close()
        # Nobody publishes from now on, and publishing is when old keys are erased: so all of them go here.
        self.keys.erase_all()

    async def _give_up(self) -> None:
        """Take back an offer that no server took; one that did so too late forgets it with the connection."""
        self._forget_offer()
        await self._leave()
        self.keys.erase_all()

    def _forget_offer(self) -> None:
        self._state.put_setting(_OFFER, b"")
        self.keys.forget_hidden()

    async def close(self) -> None:
        """Say goodbye to the servers; an offer that was not withdrawn comes back with the agent."""
        if self._pool is not None and not self._is_unlisted:
            tombstone = make_tombstone(PeerId(self._identity.public), self._next_seq(), now_ms=self._clock.now_ms())
            with suppress(Unavailable):
                self._note_taken(await self._pool.withdraw(sign_listing(tombstone, self._identity)))
        await self._leave()

    async def _enter(self, offer: Offer) -> list[Acceptance]:
        self._pool = Pool(offer.servers, clock=self._clock, health=self.health, on_change=self._tell_servers)
        self._pool.on_proving = self._tell_proving
        self._is_unlisted = offer.unlisted
        self._pool.attend(self.keys.inbox(offer), self._on_knock)
        self._refresher = asyncio.create_task(self._refresh(offer))
        try:
            return await (self._pool.attended() if offer.unlisted else self._publish(self._pool, offer))
        finally:
            self.on_reach()

    async def _publish(self, pool: Pool, offer: Offer) -> list[Acceptance]:
        return self._note_taken(await pool.publish(self._make_listing(offer)))

    async def _leave(self) -> None:
        if self._refresher is not None:
            self._refresher.cancel()
            self._refresher = None
        if self._pool is not None:
            pool, self._pool = self._pool, None  # first: that we leave the servers is no loss to tell of
            await pool.close()
        self._replies.cancel()

    def _tell_proving(self, url: str, goes_on: bool) -> None:  # noqa: FBT001 - signaling.stamping.OnProving
        if goes_on:
            self.on_proving(url)

    def _tell_servers(self) -> None:
        if self._pool is not None:
            self.on_servers(any(state.connected for state in self._pool.states()))
            self.on_reach()

    async def _refresh(self, offer: Offer) -> None:
        """Publish again before the listing expires; withdraw when the duration is over."""
        while True:
            # ± 5 min, so that hosts started together don't all refresh together; not a secret.
            pause_s = LISTING_REFRESH_S + random.uniform(-300, 300)  # noqa: S311
            if offer.expires_ms:
                left_s = (offer.expires_ms - self._clock.now_ms()) / 1000
                pause_s = min(pause_s, max(0.0, left_s))
            await asyncio.sleep(pause_s)
            if self.offer is None:
                await self._end()
                return
            await self.republish()

    async def _end(self) -> None:
        """Withdraw a slot whose duration is over."""
        async with self._moving:
            # Only now, as another slot may take its place until here: leaving must not cancel this very task.
            self._refresher = None
            await self._withdraw()

    async def republish(self) -> None:
        """Publish the offer anew: it is time, or the free space changed. One not listed has cards."""
        offer = self.offer
        if offer is None or self._pool is None or offer.unlisted:
            return
        with suppress(Unavailable):
            await self._publish(self._pool, offer)

    def _make_listing(self, offer: Offer) -> bytes:
        return sign_listing(self.describe(offer, LISTING_LIFE_S), self._identity)

    def describe(self, offer: Offer, life_s: int, **further: bytes) -> Listing:
        """Return what is said of an offer for so long, with a number of its own and `further` in `ext`; not signed."""
        now_ms = self._clock.now_ms()
        expires_ms = now_ms + life_s * 1000
        key = self.keys.envelope()
        storage = bucket_bytes(offer.storage_bytes)
        availability, promised = split_promises(offer.promises)
        listing = Listing(
            peer=self._identity.public,
            seq=self._next_seq(),
            issued_ms=now_ms,
            expires_ms=min(expires_ms, offer.expires_ms) if offer.expires_ms > now_ms else expires_ms,
            kind=ListingKind.SLOT,
            storage_bytes=storage,
            free_bytes=min(storage, bucket_bytes(self.free_bytes(offer))),
            region=offer.region,
            availability=availability,
            term_s=offer.term_s,
            lock_s=offer.lock_s,
            inbox=self.keys.inbox(offer).public,
            envelope_key=key.public,
            envelope_id=envelope_id(key.public),
            ext={**promised, **further},
        )
        return name_servers(listing, offer.servers)

    def _next_seq(self) -> int:
        now_ms = self._clock.now_ms()
        taken = int.from_bytes(self._state.setting(_SEQ) or b"", "big")
        # One that no server would take yet is of a clock that was ahead, and the one before it is still in force.
        known = (number for number in (taken, self._made) if number < now_ms + LISTING_FUTURE_S * 1000)
        self._made = next_seq(max(known, default=0), now_ms)
        return self._made

    def _note_taken(self, outcomes: list[Acceptance]) -> list[Acceptance]:
        """Keep the number made last if a server took it: what all refuse must not hold up what comes later."""
        if any(outcome.accepted for outcome in outcomes):
            self._state.put_setting(_SEQ, self._made.to_bytes(8, "big"))
        return outcomes

    async def _on_knock(self, sealed: bytes, server: str) -> None:
        """Open a knock, and have exactly one reply left; the next knock is heard meanwhile."""
        try:
            knock = self._open_knock(sealed)
        except (PeerFault, RefusedError) as exc:
            _log.info("knock refused", reason=exc.message)
            return
        await asyncio.to_thread(self._requests.prepare)
        self._replies.begin(self._reply(knock, server))

    async def _reply(self, knock: Knock, server: str) -> None:
        """Decide, and leave the reply."""
        try:
            # Before the answer is known, and whatever it is: else the server could tell a yes by what we ask of it.
            await self.be_reachable()
            sealed = await self._seal_answer(knock)
            if self._pool is not None:
                await self._replies.leave(self._pool, knock, sealed, server=server)
        except BackupPeerError as exc:
            _log.info("no reply was left", reason=exc.message)

    async def _seal_answer(self, knock: Knock) -> bytes:
        """Return the sealed reply, as late whatever it is: a no is made faster than a yes."""
        loop = asyncio.get_running_loop()
        ready_s = loop.time() + KNOCK_ANSWER_S
        sealed = seal_reply(self._answer(knock), self._identity, knock=knock)
        await asyncio.sleep(ready_s - loop.time())
        return sealed

    def _open_knock(self, sealed: bytes) -> Knock:
        now_ms = self._clock.now_ms()
        knock = open_knock(sealed, self.keys.find(sealed), recipient=PeerId(self._identity.public), now_ms=now_ms)
        self._admit(knock, now_ms)
        return knock

    def _admit(self, knock: Knock, now_ms: int) -> None:
        """Let a knock in, once.

        Raises:
            RefusedError: too many knocks; this one leaves no trace, and its sender may send it again.
            PeerFault: a replay.

        """
        owner = PeerId(knock.owner)
        is_partner = self._requests.is_partner(owner)
        self._nonces.check(knock.nonce)  # first: whoever saw a knock may repeat it, at no cost to its sender
        if not self._gate.admits(owner, is_partner=is_partner):
            raise RefusedError("too many knocks within a minute")
        until_ms = self._nonces.remember(knock.nonce, knock.expires_ms, now_ms=now_ms, is_partner=is_partner)
        # Persisted before the knock has any effect: a replay after a restart is still a replay. But a partner that only
        # asks where we are is told so on a full disk too: all that a replay of that could do is to have it told again.
        with bookkeeping("nonce") if is_partner and not knock.size_bytes else nullcontext():
            self._state.put_nonce(knock.nonce, until_ms, now_ms=now_ms)

    def _answer(self, knock: Knock) -> KnockReply:
        offer, terms = self.offer, wish_of_knock(knock)
        try:
            if knock.size_bytes:
                self.check_wish(PeerId(knock.owner))
            verdict = self._requests.consider_knock(knock, offer)
            code, message = "", ""
            if verdict is Verdict.PENDING and (other := self._requests.offer_to(knock)):
                code, terms = OFFERS_OTHER, other
        except BackupPeerError as exc:
            code = next((code for sort, code in _CODES if isinstance(exc, sort)), "refused")
            verdict, message = Verdict.REJECTED, tell_peer(exc)[:160]
            _log.info("wish refused", peer=knock.owner.hex()[:8], reason=exc.message)
        return KnockReply(
            host=self._identity.public,
            owner=knock.owner,
            nonce=knock.nonce,
            verdict=verdict,
            code=code,
            message=message,
            size_bytes=terms.size_bytes,
            term_s=terms.term_s,
            lock_s=terms.lock_s,
            ext=write_promises(terms.promises),
            binding=self.binding() if verdict is Verdict.ACCEPTED else b"",
            issued_ms=self._clock.now_ms(),
        )


async def _need_nothing() -> None:
    """Be reachable as we are."""


def _ignore(is_shown: bool) -> None:  # noqa: FBT001 - OnServers
    del is_shown
