"""One dial to a peer at a time: who wants a session meanwhile waits for how that one ends, and dials none of its own.

Knows: who is being dialled. Must not know: how a peer is found. A host that is off takes its whole timeout; an owner
with several agreements there, or eight readers of its packs, would else wait, and count it missed, as often.
"""

import asyncio
from collections.abc import Awaitable, Callable

from backuppeer.agent.peers.session import Session
from backuppeer.errors import BackupPeerError
from backuppeer.ids import PeerId


class Turns:
    """The dials under way."""

    def __init__(self) -> None:
        self._under_way: dict[PeerId, asyncio.Future[Session]] = {}

    async def share(self, peer: PeerId, dial: Callable[[PeerId], Awaitable[Session]]) -> Session:
        """Return what `dial` of this peer does, or how the dial ends that is under way; one that is broken off is none.

        Raises:
            BackupPeerError: as `dial`.

        """
        while (other := self._under_way.get(peer)) is not None:
            await asyncio.wait([other])
            if not other.cancelled():
                return other.result()
        mine = self._under_way[peer] = asyncio.get_running_loop().create_future()
        try:
            session = await dial(peer)
        except BackupPeerError as exc:
            mine.set_exception(exc)
            mine.exception()  # heard here: nobody else may be waiting
            raise
        else:
            mine.set_result(session)
            return session
        finally:
            del self._under_way[peer]
            mine.cancel()
