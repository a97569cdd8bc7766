"""Engine in a Valkey that several nodes share: one service behind one name (ADR 73).

Knows: which script does what. Must not know: sockets, signatures. While Valkey is gone nothing is stored and nothing
pretends to be: every method raises, but `page`, which hands out what this node saw last, and the two that let go, which
are made good when it is back.
"""

import random
import secrets
from hashlib import blake2b
from typing import Final

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.errors import Unavailable
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.cluster import scripts
from backuppeer.signaling.server.cluster.membership import Membership, read_waiting
from backuppeer.signaling.server.cluster.mirror import Mirror
from backuppeer.signaling.server.cluster.store import Store
from backuppeer.signaling.server.engine import Deaf, Ears, Put, Rate, Shown, Slice, Stored
from backuppeer.signaling.server.walk import Walk

PREFIX: Final = "{backup-peer}:1:"
"""Of all keys: the braces keep them in one slot, the number is the version of how the state lies there."""
_KEPT_MS: Final = limits.LISTING_NUMBER_KEPT_S * 1000
_NAME_BYTES: Final = 8
_KEY_BYTES: Final = 32


class SharedEngine:
    """See `Engine` for the contract."""

    def __init__(self, store: Store, caps: Caps, *, clock: Clock, randomness: random.Random | None = None) -> None:
        self._store, self._caps = store, caps
        self._random = randomness or random.SystemRandom()
        life_s = limits.LISTING_LIFE_S
        self._mirror = Mirror(limits.STORE_MIRROR, life_s=life_s, clock=clock, randomness=self._random)
        self.membership = Membership(store, caps, Deaf())

    async def open(self, ears: Ears) -> None:
        """Join the nodes of this service.

        Raises:
            UserError: the store does not take our password.

        """
        self.membership = Membership(self._store, self._caps, ears)
        await self.membership.join()

    async def close(self) -> None:
        """Leave them."""
        await self.membership.part()
        await self._store.close()

    def is_whole(self) -> bool:
        """Tell whether the store answered last."""
        return self._store.is_up

    async def put_listing(self, shown: Shown, holder: int) -> Put:
        """Compare and replace, in one script."""
        said = await self._store.run(
            scripts.PUT,
            shown.peer,
            f"{shown.seq:020d}",
            shown.digest,
            int(shown.is_slot),
            round(shown.life_s * 1000),
            shown.signed,
            self.membership.node,
            holder.to_bytes(8, "big"),
            self._random.getrandbits(52),
            self._caps.listings,
            _KEPT_MS,
        )
        with self._store.reading():
            put = Put(said.decode())
        if put is Put.ACCEPTED and shown.is_slot:
            self._mirror.keep(shown.peer, shown.signed)
        elif put is Put.ACCEPTED:
            self._mirror.drop(shown.peer)
        return put

    async def is_newer(self, peer: bytes, seq: int) -> bool:
        """Ask for the number that is known."""
        return bool(await self._store.run(scripts.IS_NEWER, peer, f"{seq:020d}"))

    async def lose_holder(self, peer: bytes, holder: int) -> None:
        """Start the grace when the last holder goes; later, if the store is away."""
        try:
            await self.membership.lose_holder(peer, holder)
        except Unavailable:
            self.membership.owe_holder(peer, holder)

    async def page(self, cursor: bytes, limit: int) -> Slice:
        """Walk on from the cursor, through the store or else through what was seen of it."""
        try:
            return await self._page(cursor, limit)
        except Unavailable:
            return self._mirror.page(cursor, limit, most=self._caps.listings)

    async def _page(self, cursor: bytes, limit: int) -> Slice:
        if cursor:
            walk = Walk.resume(cursor, self._caps.listings)
        else:
            walk = Walk.begin(await self._store.run(scripts.SIZE), self._random)
        looked, total, rows, peers = await self._store.run(scripts.PAGE, limit, *walk.look_ahead(limit))
        with self._store.reading():
            walk.done += looked
            for peer, signed in zip(peers, rows, strict=True):
                self._mirror.keep(peer, signed)
        return Slice(rows, walk.cursor(), total)

    async def drop_listing(self, peer: bytes) -> None:
        """Forget a peer altogether."""
        self._mirror.drop(peer)
        await self._store.run(scripts.DROP, peer)

    async def has_seen(self, peer: bytes) -> bool:
        """Look its name up."""
        return bool(await self._store.run(scripts.HAS_SEEN, peer[:_NAME_BYTES], limits.KEY_REMEMBERED_DAYS))

    async def see(self, peer: bytes) -> None:
        """Note its name for today."""
        await self._store.run(scripts.SEE, peer[:_NAME_BYTES], self._caps.seen_keys, limits.KEY_REMEMBERED_DAYS)

    async def open_inbox(self, inbox: bytes) -> bool:
        """Create or keep, and tell the node where it was open."""
        return bool(await self._store.run(scripts.OPEN_INBOX, inbox, self.membership.node, self._caps.inboxes))

    async def leave_inbox(self, inbox: bytes) -> None:
        """Let the inbox live on for its time, unless another node has it; later, if the store is away."""
        try:
            await self.membership.leave_inbox(inbox)
        except Unavailable:
            self.membership.owe_inbox(inbox)

    async def deposit(self, inbox: bytes, sealed: bytes) -> Stored | None:
        """Store, and publish to the node that attends it."""
        life_ms = round(self._caps.inbox_life_s * 1000)
        caps = (self._caps.inbox_messages, self._caps.stored_messages)
        number = await self._store.run(scripts.DEPOSIT, inbox, sealed, life_ms, *caps)
        return Stored(number, sealed) if number else None

    async def waiting(self, inbox: bytes) -> list[Stored]:
        """Return what waits."""
        return await read_waiting(self._store, inbox)

    async def take(self, inbox: bytes, number: int) -> None:
        """Forget one message."""
        await self._store.run(scripts.TAKE, inbox, number)

    async def spend(self, name: bytes, rate: Rate) -> bool:
        """Take a token that counts at all nodes."""
        return bool(await self._store.run(scripts.SPEND, name, rate.per_s, rate.burst))

    async def network_key(self) -> bytes:
        """Return the one of today, which the first that asks draws."""
        key: bytes = await self._store.run(scripts.NETWORK_KEY, secrets.token_bytes(_KEY_BYTES))
        # Of another size it is no key of ours: the networks are counted all the same, by all nodes alike.
        return key if len(key) == _KEY_BYTES else blake2b(key, digest_size=_KEY_BYTES).digest()

    async def count(self) -> int:
        """Return how many slots are on show."""
        size: int = await self._store.run(scripts.SIZE)
        return size

    async def sweep(self) -> None:
        """Drop what has expired, and bury dead nodes; every node does, and none twice."""
        self._mirror.sweep()
        if not self._store.is_up:
            return
        try:
            kept = (_KEPT_MS, limits.KEY_REMEMBERED_DAYS, limits.STORE_BATCH)
            await self.membership.bury()
            while await self._store.run(scripts.SWEEP, *kept):
                pass
        except Unavailable:
            return  # the next round comes in seconds
