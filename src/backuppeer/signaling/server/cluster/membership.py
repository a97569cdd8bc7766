"""This node among those that share a store: its beat, its ears, what it owes, and burying the dead.

Knows: when to do what. Must not know: listings, sockets. A node that does not beat for STORE_NODE_DEAD_S is dead: any
other one lets go of what it held, as of its last beat. A node that finds itself buried, or the store empty, tells its
ears, which send everybody away to come back: all that is lost is signed and published again.
"""

import asyncio
import logging
import secrets
from contextlib import aclosing, suppress
from typing import Final

from backuppeer import limits
from backuppeer.errors import Unavailable, UserError
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.cluster import scripts
from backuppeer.signaling.server.cluster.store import Store
from backuppeer.signaling.server.engine import Ears, Stored

LOG: Final = logging.getLogger("backuppeer.signaling.server")
_CANCEL_AGAIN_S: Final = 0.01
_DIGITS: Final = 20
_NUMBERS: Final = 1 << 53
_MESSAGE_HEAD: Final = 1 + _DIGITS + 32


class Membership:
    """One node of a service."""

    def __init__(self, store: Store, caps: Caps, ears: Ears) -> None:
        self.node = secrets.token_bytes(8)
        self._store, self._caps, self._ears = store, caps, ears
        self._steady_beats = 0
        self._lost_holders: set[tuple[bytes, int]] = set()
        self._lost_inboxes: set[bytes] = set()
        self._owes_too_much = False
        self._catching_up = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self) -> None:
        """Beat for the first time, and go on until `part`; a store that is away is looked for.

        Raises:
            UserError: the store does not take our password.

        """
        with suppress(Unavailable):
            await self._store.probe(scripts.BEAT, self.node, 1)
        if not self._store.is_up:
            LOG.error("the store of this service can't be reached: read-only until it is there")
        self._tasks = [asyncio.create_task(work()) for work in (self._beat, self._listen, self._catch_up)]

    async def part(self) -> None:
        """Stop; what is held here goes as from a node that died now."""
        for beating in self._tasks[:1]:
            await _end(beating)  # first: it may put another task in the place of the second
        await asyncio.gather(*(_end(task) for task in self._tasks))
        self._tasks = []

    def owe_holder(self, peer: bytes, holder: int) -> None:
        """Let go of a listing when the store is back."""
        self._lost_holders.add((peer, holder))
        self._limit_debts()

    def owe_inbox(self, inbox: bytes) -> None:
        """Let go of an inbox when the store is back."""
        self._lost_inboxes.add(inbox)
        self._limit_debts()

    async def lose_holder(self, peer: bytes, holder: int) -> None:
        """Let go of a listing.

        Raises:
            Unavailable: the store is gone.

        """
        name = holder.to_bytes(8, "big")
        await self._store.run(scripts.LOSE, peer, self.node, name, _ms(self._caps.grace_s))

    async def leave_inbox(self, inbox: bytes) -> None:
        """Let go of an inbox.

        Raises:
            Unavailable: the store is gone.

        """
        await self._store.run(scripts.LEAVE_INBOX, inbox, self.node, _ms(self._caps.inbox_life_s))

    async def bury(self) -> None:
        """Let go of what dead nodes held; only when this one has been with the store for long enough to know.

        Raises:
            Unavailable: the store is gone.

        """
        dead_ms, batch = _ms(limits.STORE_NODE_DEAD_S), limits.STORE_BATCH
        held = (_ms(self._caps.grace_s), _ms(self._caps.inbox_life_s))
        if self._steady_beats * limits.STORE_BEAT_S < limits.STORE_NODE_DEAD_S:
            return
        while await self._store.run(scripts.REAP, dead_ms, *held, batch, self.node):
            pass

    def _limit_debts(self) -> None:
        if len(self._lost_holders) + len(self._lost_inboxes) > limits.STORE_DEBTS:
            self._lost_holders.clear()
            self._lost_inboxes.clear()
            self._owes_too_much = True

    async def _beat(self) -> None:
        while True:
            was_up = self._store.is_up
            await asyncio.sleep(limits.STORE_BEAT_S)
            try:
                await self.beat(was_up=was_up)
            except (Unavailable, UserError):
                self._steady_beats = 0

    async def beat(self, *, was_up: bool) -> None:
        """Say that we live, and after a break set right what it left wrong.

        Raises:
            Unavailable: the store is gone.
            UserError: it does not take our password.

        """
        is_known = await self._store.probe(scripts.BEAT, self.node, 0)
        if not was_up:
            LOG.warning("the store of this service is back")
        if not is_known or self._owes_too_much:
            await self._begin_anew()
        for peer, holder in list(self._lost_holders):
            await self.lose_holder(peer, holder)
            self._lost_holders.discard((peer, holder))
        for inbox in list(self._lost_inboxes):
            await self.leave_inbox(inbox)
            self._lost_inboxes.discard(inbox)
        self._steady_beats = self._steady_beats + 1 if was_up else 0

    async def _begin_anew(self) -> None:
        """Become another node: what the old one held, if the store has it still, is buried like any dead one's."""
        LOG.warning("the store lost what this node held: hosts are sent to publish again")
        self.node = secrets.token_bytes(8)
        self._lost_holders.clear()
        self._lost_inboxes.clear()
        self._owes_too_much = False
        await self._store.probe(scripts.BEAT, self.node, 1)
        await self._restart_ears()
        self._ears.forgotten()

    async def _restart_ears(self) -> None:
        if len(self._tasks) > 1:
            await _end(self._tasks[1])
            self._tasks[1] = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            channel = self._store.prefix.encode() + b"node:" + self.node
            with suppress(Unavailable):
                async with aclosing(self._store.hear(channel, self._catching_up.set)) as heard:
                    async for message in heard:
                        self._tell(message)
            await asyncio.sleep(limits.STORE_BEAT_S)

    def _tell(self, message: bytes) -> None:
        if message[:1] == b"d" and len(message) == 33:
            self._ears.displaced(message[1:])
        elif message[:1] == b"m" and len(message) > _MESSAGE_HEAD and _is_number(message[1:21]):
            self._ears.arrived(message[21:_MESSAGE_HEAD], Stored(int(message[1:21]), message[_MESSAGE_HEAD:]))

    async def _catch_up(self) -> None:
        """Hand on what came while this node heard nothing; an inbox's owner knows what it had before."""
        while True:
            await self._catching_up.wait()
            self._catching_up.clear()
            with suppress(Unavailable), self._store.reading():
                for inbox in await self._store.run(scripts.ATTENDED, self.node):
                    for stored in await read_waiting(self._store, inbox):
                        self._ears.arrived(inbox, stored)


async def read_waiting(store: Store, inbox: bytes) -> list[Stored]:
    """Return the messages of an inbox, oldest first; without those whose number is none of ours.

    Raises:
        Unavailable: the store is gone.

    """
    flat = await store.run(scripts.WAITING, inbox)
    with store.reading():
        rows = zip(flat[::2], flat[1::2], strict=True)
        return sorted(Stored(int(number), sealed) for number, sealed in rows if _is_number(number))


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) <= _DIGITS and int(text) < _NUMBERS


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel until it has ended: while it connects, the library takes a cancellation for an answer."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
