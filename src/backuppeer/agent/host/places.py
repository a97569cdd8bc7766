"""Places for what costs a file descriptor or memory while it lasts: so many at once, over all peers together.

Knows: numbers. Must not know: what happens in a place. A cap per session alone would grow with the number of sessions,
and anybody can make identities by the thousand: so there is one over all, and those who have nothing here yet can't
take all of it. Who finds none waits a little before it is refused: a crowd told "no" at once only asks more often.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from backuppeer.errors import StoreBusy
from backuppeer.limits import NEWCOMERS_PERMILLE, PLACE_WAIT_S


class Places:
    """`count` places, of which newcomers may hold NEWCOMERS_PERMILLE. For one event loop; first come, first served."""

    def __init__(self, count: int) -> None:
        self._all = asyncio.Semaphore(count)
        self._newcomers = asyncio.Semaphore(count * NEWCOMERS_PERMILLE // 1000)

    @asynccontextmanager
    async def take(self, *, is_newcomer: bool) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        Raises:
            StoreBusy: none became free within PLACE_WAIT_S.

        """
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(PLACE_WAIT_S):
                    for places in (self._newcomers, self._all) if is_newcomer else (self._all,):
                        await places.acquire()
                        held.callback(places.release)
            except TimeoutError as exc:
                raise StoreBusy("too much is being stored and read here", hint="try again in a moment") from exc
            yield
