"""Sessions that lost to another one with the same peer: what is under way on them ends, nothing begins (ADR 41).

Knows: when a session may go. Must not know: which of two sessions goes (Sessions does), what requests mean.

Both sides dialled at once, and either may have asked something upon the session that goes before it knew of the other.
Whoever lets it go serves on, for a while in any case, since a request may be under way, then until none is; then it
says Goodbye. Whoever hears that asks nothing more upon it, waits for its own answers, and closes.
"""

import asyncio
from contextlib import suppress

from backuppeer.agent.peers.session import Session
from backuppeer.errors import BackupPeerError
from backuppeer.ids import PeerId
from backuppeer.limits import LEAVING_LEAST_S, LEAVING_MOST_S
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.messages import Goodbye


class Leaving:
    """The sessions that go; at most one per peer, or one that dials again and again would have any number."""

    def __init__(self) -> None:
        self._going: dict[PeerId, Session] = {}

    async def see_off(self, session: Session) -> None:
        """Let a session go, and return when it has ended."""
        await self.cut(session.peer)
        self._going[session.peer] = session
        try:
            with suppress(BackupPeerError, TimeoutError):
                async with asyncio.timeout(LEAVING_MOST_S):
                    await asyncio.sleep(LEAVING_LEAST_S)
                    await session.wait_unused()
                    await session.say(Goodbye(reason=CloseCode.DUPLICATE))
                    await session.ended.wait()
        finally:
            if self._going.get(session.peer) is session:
                del self._going[session.peer]
            await session.connection.close(CloseCode.DUPLICATE, "")

    async def cut(self, peer: PeerId) -> None:
        """Close the session with `peer` that is going, if there is one, whatever is under way."""
        if (session := self._going.pop(peer, None)) is not None:
            await session.connection.close(CloseCode.DUPLICATE, "")


async def finish(session: Session) -> None:
    """Wait until nothing is under way on a session to which the peer said Goodbye, but not for ever."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVING_MOST_S):
            await session.wait_unused()
