"""Replies to knocks on their way: side by side, and those by way of one server never held up by another one.

Knows: how many, how long, at which server a knock came. Must not know: what a reply says. A server that hangs, or that
makes knocks by itself, so takes the time of its own replies alone; and none is kept longer than its knocker waits, so
that those who are too many can't pile up.
"""

import asyncio
from collections.abc import Coroutine

from backuppeer.errors import Unavailable
from backuppeer.limits import KNOCK_REPLIES, KNOCK_REPLY_S
from backuppeer.signaling.knock import Knock
from backuppeer.signaling.pool import Pool


class Replies:
    """Those of one slot. One event loop."""

    def __init__(self) -> None:
        self._places: dict[str, asyncio.Semaphore] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """How many are under way."""
        return len(self._under_way)

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Do the work of one reply, beside others."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def cancel(self) -> None:
        """Leave none of those under way."""
        for task in list(self._under_way):
            task.cancel()
        self._places.clear()

    async def leave(self, pool: Pool, knock: Knock, sealed: bytes, *, server: str) -> None:
        """Leave a sealed reply to a knock that came by way of `server`.

        Raises:
            NoSignaling: no server took it.
            Unavailable: it took so long that nobody waits for it any more.

        """
        place = self._places.setdefault(server, asyncio.Semaphore(KNOCK_REPLIES))
        try:
            async with asyncio.timeout(KNOCK_REPLY_S), place:
                # First where the knock came from: its reply inbox is surely open there.
                await pool.deposit([server, *knock.servers], knock.reply_inbox, sealed)
        except TimeoutError as exc:
            raise Unavailable(f"the reply could not be left within {KNOCK_REPLY_S:g} s") from exc
