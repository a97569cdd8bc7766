"""Sessions that lost to another one with the same peer: what is under way on them ends, nothing begins (ADR 41).

Knows: when a session may go. Must not know: which of two sessions goes (Sessions does), what requests mean.

Both sides dialled at once, and either may have asked something upon the session that goes before it knew of the other.
Whoever lets it go serves on, for a while in any case, since a request may be under way, then until none is; then it
says Goodbye. Whoever hears that asks nothing more upon it, waits for its own answers, and closes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from backuppeer.agent.peers.parting import HERE
from backuppeer.agent.peers.session import Session
from backuppeer.errors import BackupPeerError
from backuppeer.ids import PeerId
from backuppeer.limits import LEAVING_DRAIN_S, LEAVING_LEAST_S, LEAVING_LOOK_S, LEAVING_MOST_S, PARTING_S
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.messages import Goodbye, Ping

_GOODBYE_S: Final = 2.0


class Leaving:
    """The sessions that go; how many one peer may have, those among them, Crowd says."""

    def __init__(self) -> None:
        self._going: dict[PeerId, list[Session]] = {}

    async def is_in_use(self, session: Session) -> bool:
        """Whether something is under way upon a session that its peer seems to have lost, and the peer is there.

        The same peer dialled anew. An agent that was killed did so, and answers nothing upon the old connection; or
        somebody else has its identity, and what its own machine has under way must not be broken off for that.
        """
        if not session.in_flight:
            return False
        async with self._keep(session):
            await asyncio.sleep(LEAVING_DRAIN_S)  # what came before, and was not read yet, tells nothing
            return await is_heard(session)

    async def see_off(self, session: Session) -> None:
        """Let a session go, and return when it has ended."""
        async with self._keep(session):
            try:
                with suppress(BackupPeerError, TimeoutError):
                    async with asyncio.timeout(LEAVING_MOST_S):
                        await asyncio.sleep(LEAVING_LEAST_S)
                        await session.wait_unused()
                        await session.say(Goodbye(reason=CloseCode.DUPLICATE))
                        await session.ended.wait()
            finally:
                await session.connection.close(CloseCode.DUPLICATE, "")

    async def cut(self, peer: PeerId) -> None:
        """Close the sessions with `peer` that are going, whatever is under way."""
        for session in self._going.pop(peer, []):
            await session.connection.close(CloseCode.DUPLICATE, "")

    @asynccontextmanager
    async def _keep(self, session: Session) -> AsyncIterator[None]:
        """Count a session among those that go while the block runs."""
        self._going.setdefault(session.peer, []).append(session)
        try:
            yield
        finally:
            going = self._going.get(session.peer, [])
            if session in going:
                going.remove(session)
            if not going:
                self._going.pop(session.peer, None)


async def is_heard(session: Session) -> bool:
    """Ask whether a peer is there, and return whether anything came from it within LEAVING_LEAST_S."""
    heard_bytes = session.received_bytes
    with suppress(BackupPeerError, TimeoutError):
        async with asyncio.timeout(LEAVING_LEAST_S):
            await session.say(Ping(number=0))
            for _ in range(int(LEAVING_LEAST_S / LEAVING_LOOK_S)):
                if session.received_bytes != heard_bytes or not session.is_open:
                    break
                await asyncio.sleep(LEAVING_LOOK_S)
    return session.received_bytes != heard_bytes


async def say_goodbye(session: Session, code: CloseCode, *, within_s: float = _GOODBYE_S) -> int:
    """Say that a session ends, give the peer `within_s` to end what is under way and close, then close it.

    The receiver closes: what we close ourselves could still be in flight. Returns how many requests were broken off.
    """
    session.course.end(code)
    with suppress(BackupPeerError, TimeoutError):
        async with asyncio.timeout(within_s):
            await session.say(Goodbye(reason=code))
            await session.ended.wait()
    broken = session.in_flight
    await session.connection.close(code, "")
    with suppress(TimeoutError):
        async with asyncio.timeout(_GOODBYE_S):
            await session.ended.wait()
    return broken


async def part(session: Session, *, at_once: bool) -> int:
    """End a session as a person wishes: nothing new is asked upon it, and what is under way ends within PARTING_S.

    Returns how many requests were broken off.
    """
    session.is_parting, session.failure = True, HERE
    if not at_once:
        return await say_goodbye(session, CloseCode.PARTED, within_s=PARTING_S)
    broken = session.in_flight
    session.course.end(CloseCode.CUT)
    await session.connection.close(CloseCode.CUT, "")
    await session.ended.wait()
    return broken


async def finish(session: Session) -> None:
    """Wait until nothing is under way on a session to which the peer said Goodbye, but not for ever."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVING_MOST_S):
            await session.wait_unused()


def first_of(group: BaseExceptionGroup[BackupPeerError]) -> BackupPeerError:
    """Return why a session ended, of all that ended in it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, BackupPeerError):
        raise TypeError("a group of BackupPeerErrors holds something else")
    return error
