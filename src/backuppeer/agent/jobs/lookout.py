"""Whether hosts are there: each one looked at once in six hours, at a time that it can't foresee (ADR 61).

Knows: hosts agreed with, when each is due. Must not know: what a score makes of it. A session that is open is an
answer, and so is one that is dialled for it; nothing is asked in it. A host that was there already in this window is
left alone. Without audits nothing is dialled for this either: what contacts happen anyway still counts. Hosts that have
not heard of a new identity are dialled until they have, with audits or without: they serve a thief as long.
"""

import asyncio
import math
import random
from collections.abc import Callable, Iterable

import structlog

from backuppeer.agent.home.state import State
from backuppeer.agent.peers.partners import Reach
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import COMPACT_EVERY_S, PRESENCE_LOOK_S
from backuppeer.trust.availability import WINDOW_MS, window_of

_log = structlog.get_logger()
Pick = Callable[[float, float], float]


class Lookout:
    """The looks of this home, from the start of the agent to its end. `pick`: a time in a window, as random.uniform."""

    def __init__(
        self,
        state: State,
        standing: Standing,
        clock: Clock,
        *,
        reach: Reach,
        is_wanted: Callable[[], bool],
        pick: Pick = random.uniform,
    ) -> None:
        self._state, self._standing, self._clock, self._reach = state, standing, clock, reach
        self._is_wanted, self._pick = is_wanted, pick
        self.find_waiting: Callable[[], Iterable[PeerId]] = tuple
        """Which hosts know this home as it was; reaching one tells it. Set by who tells them."""
        self._window = 0
        self._due_ms: dict[PeerId, float] = {}

    async def run(self) -> None:
        """Look at who is due until cancelled."""
        while True:
            try:
                await self.look()
            except BackupPeerError as exc:
                _log.info("no look at hosts", reason=exc.message)
            await asyncio.sleep(PRESENCE_LOOK_S)

    async def call(self) -> None:
        """Reach for the hosts that have not heard of a new identity until cancelled, side by side."""
        while True:
            await asyncio.gather(*(self._look_at(host) for host in self.find_waiting()))
            await asyncio.sleep(PRESENCE_LOOK_S)

    async def condense(self) -> None:
        """Condense old evidence once a day until cancelled."""
        while True:
            await asyncio.to_thread(self._standing.compact)
            await asyncio.sleep(COMPACT_EVERY_S)

    async def look(self) -> list[PeerId]:
        """Look at the hosts that are due, one after the other; return those that were.

        Raises:
            BackupPeerError: the settings or the state can't be read.

        """
        if not self._is_wanted():
            return []
        due = [host for host in self._find_due() if not self._standing.windows(host).up & 1]
        for host in due:
            await self._look_at(host)
        return due

    def _find_due(self) -> list[PeerId]:
        now_ms = self._clock.now_ms()
        if window_of(now_ms) != self._window:
            self._window, self._due_ms = window_of(now_ms), {}
        end_ms = (self._window + 1) * WINDOW_MS - 1000 * PRESENCE_LOOK_S
        found = []
        for host in dict.fromkeys(host for _, host, _ in self._state.agreements()):
            # Of a window that began without this agent the rest; the last minutes of one are none.
            due_ms = self._due_ms.setdefault(host, self._pick(now_ms, end_ms) if now_ms < end_ms else math.inf)
            if due_ms <= now_ms:
                found.append(host)
                self._due_ms[host] = math.inf
        return found

    async def _look_at(self, host: PeerId) -> None:
        try:
            await self._reach.session(host)
        except BackupPeerError as exc:
            _log.info("host not reached", peer=shorten_peer_id(host), reason=exc.message[:200])
        else:
            self._standing.touch(host, is_up=True)
