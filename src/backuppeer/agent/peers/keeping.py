"""Sessions that were lost are looked for again; and this machine is watched for sleep and for another network.

Knows: which sessions ended without anybody's wish, when each is tried next. Must not know: how a peer is found.

Theory of operation. Who dialled a session that breaks dials again, with full jitter, for RECONNECT_S; later it is
found when something needs it. After a sleep, or with other addresses, an open session may be dead without either side
knowing: each is asked for a sign of life, and one that gives none is ended and looked for at once, whoever dialled it,
since the peer can't know. A peer that a person disconnected from, or that left, is not looked for.
A session that does not last goes on with the search before it: a peer that takes each session and closes it at once
would have us dial for ever, at the first pause.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from backuppeer.agent.peers.leaving import is_heard
from backuppeer.agent.peers.session import Session
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError, Unavailable
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import (
    RECONNECT_S,
    RECONNECT_SETTLED_S,
    RECONNECTS,
    RETRY_FIRST_S,
    RETRY_MOST_S,
    SLEPT_S,
    WAKE_LOOK_S,
)

_log = structlog.get_logger()


@dataclass(slots=True)
class Gap:
    """A session that was lost. next_ms: when it is tried again; 0 while it is."""

    since_ms: int
    reason: str
    next_ms: int = 0
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Future[None] | None" = None


@dataclass(slots=True)
class _Search:
    """How long a peer is looked for, however often it is found for a moment. attempt: dials since it was there."""

    end_s: float
    attempt: int = 0


class Keeping:
    """Looks after the sessions of one home."""

    def __init__(
        self, dial: Callable[[PeerId], Awaitable[Session]], clock: Clock, *, sessions: Callable[[], Sequence[Session]]
    ) -> None:
        self._dial, self._clock, self._sessions = dial, clock, sessions
        self._gaps: dict[PeerId, Gap] = {}
        self._searches: dict[PeerId, _Search] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._asleep_s = 0.0
        self._seen: frozenset[str] | None = None
        self.slept_s: Callable[[], float] = lambda: 0.0
        """How long this machine has slept in all. Set by who knows."""
        self.addresses: Callable[[], Sequence[str]] = tuple
        """Our own addresses now. Set by who knows the transport."""

    @property
    def gaps(self) -> dict[PeerId, Gap]:
        """Who is looked for."""
        return dict(self._gaps)

    def lost(self, session: Session) -> None:
        """Look for the peer of a session that is over, if nobody wished it to end."""
        is_ours = session.connection.is_dialler or session.is_doubted
        if not session.course.is_lost or not is_ours or session.peer in self._gaps or len(self._gaps) >= RECONNECTS:
            return
        search = self._take_up(session)
        if self._clock.monotonic_s() >= search.end_s:
            _log.info("a session that does not last is not looked for again", peer=shorten_peer_id(session.peer))
            return
        gap = self._gaps[session.peer] = Gap(self._clock.now_ms(), session.failure or "the connection was lost")
        gap.task = self._spawn(self._seek(session.peer, gap, search))

    def _take_up(self, session: Session) -> _Search:
        """Return the search that a lost session belongs to: a new one if it lasted, or none was under way lately."""
        now_s = self._clock.monotonic_s()
        for peer in [peer for peer, search in self._searches.items() if now_s >= search.end_s + RECONNECT_S]:
            del self._searches[peer]
        search = self._searches.pop(session.peer, None)
        # Of one that we gave up ourselves the peer is not to blame.
        is_settled = session.is_doubted or session.course.length_ms >= RECONNECT_SETTLED_S * 1000
        if search is None or is_settled:
            search = _Search(now_s + RECONNECT_S)
        if len(self._searches) >= RECONNECTS:
            del self._searches[next(iter(self._searches))]
        self._searches[session.peer] = search
        return search

    def stop(self, peer: PeerId) -> bool:
        """Look for a peer no more, as a person wishes; False if it was not looked for."""
        gap = self._gaps.pop(peer, None)
        self._searches.pop(peer, None)
        if gap is not None and gap.task is not None:
            gap.task.cancel()
        return gap is not None

    async def run(self) -> None:
        """Watch this machine until cancelled."""
        self._asleep_s, self._seen = self.slept_s(), frozenset(self.addresses())
        try:
            while True:
                await asyncio.sleep(WAKE_LOOK_S)
                self.look()
        finally:
            for task in list(self._tasks):
                task.cancel()

    def look(self) -> None:
        """Look once whether this machine slept, or has other addresses; then doubt what seems open, and hurry."""
        slept_s, addresses = self.slept_s(), frozenset(self.addresses())
        asleep_s, self._asleep_s = slept_s - self._asleep_s, slept_s
        # A line that goes down leaves no address, and nothing to try until there is one again.
        is_moved, self._seen = self._seen is not None and addresses != self._seen, addresses
        if asleep_s < SLEPT_S and not is_moved:
            return
        why = f"this machine slept for {asleep_s:.0f} s" if asleep_s >= SLEPT_S else "the network here changed"
        _log.info("sessions are doubted", reason=why)
        for session in self._sessions():
            self._spawn(self._doubt(session, why))
        for gap in self._gaps.values():
            gap.hurry.set()

    async def _doubt(self, session: Session, why: str) -> None:
        """End a session upon which nothing comes although the peer was asked, so that it is looked for."""
        if not await is_heard(session) and session.is_open:
            session.is_doubted = True
            session.course.lose(why)
            await session.end(why)

    async def _seek(self, peer: PeerId, gap: Gap, search: _Search) -> None:
        """Dial until there is a session, or the search ends; full jitter, so that many don't come back in step."""
        try:
            while self._clock.monotonic_s() < search.end_s:
                most_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2**search.attempt)
                pause_s = random.uniform(0, most_s)  # noqa: S311 - no secret
                gap.next_ms = self._clock.now_ms() + int(pause_s * 1000)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await gap.hurry.wait()
                        search.attempt = 0
                gap.hurry.clear()
                gap.next_ms, search.attempt = 0, search.attempt + 1
                try:
                    await self._dial(peer)
                except Unavailable as exc:
                    gap.reason = exc.message
                else:
                    return
        except BackupPeerError as exc:
            _log.info("a session is not looked for again", peer=shorten_peer_id(peer), reason=exc.message[:200])
        finally:
            if self._gaps.get(peer) is gap:
                del self._gaps[peer]

    def _spawn(self, work: Awaitable[None]) -> "asyncio.Future[None]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
