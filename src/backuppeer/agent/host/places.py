"""Places for what costs a file descriptor or memory while it lasts: so many at once, over all peers together.

Knows: numbers. Must not know: what happens in a place. A cap per session alone would grow with the number of sessions,
and anybody can make identities by the thousand: so there is one over all, and those who have nothing here yet can't
take all of it. Nor can one that has: a peer may make a new session in place of the one before as often as it likes, and
what hung in that is only given up seconds later, so each peer's share is counted over all its sessions. Who finds no
place waits a little before it is refused: a crowd told "no" at once only asks more often.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from backuppeer.errors import StoreBusy
from backuppeer.ids import PeerId
from backuppeer.limits import NEWCOMERS_PERMILLE, PLACE_WAIT_S, PLACES_PER_PEER


class Places:
    """`count` places; newcomers may hold NEWCOMERS_PERMILLE of them, each peer PLACES_PER_PEER.

    For one event loop; first come, first served.
    """

    def __init__(self, count: int) -> None:
        self._all = asyncio.Semaphore(count)
        self._newcomers = asyncio.Semaphore(count * NEWCOMERS_PERMILLE // 1000)
        self._shares: WeakValueDictionary[PeerId, asyncio.Semaphore] = WeakValueDictionary()
        """Of each peer that holds or waits for a place."""

    @asynccontextmanager
    async def take(self, peer: PeerId, *, is_newcomer: bool) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        Raises:
            StoreBusy: none became free within PLACE_WAIT_S.

        """
        share = self._shares.setdefault(peer, asyncio.Semaphore(PLACES_PER_PEER))
        common = (self._newcomers, self._all) if is_newcomer else (self._all,)
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(PLACE_WAIT_S):
                    # Its own share first: who waits for that keeps nobody else from a place.
                    for places in (share, *common):
                        await places.acquire()
                        held.callback(places.release)
            except TimeoutError as exc:
                raise StoreBusy("too much is being stored and read here", hint="try again in a moment") from exc
            yield
