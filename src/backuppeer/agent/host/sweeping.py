"""Time counted for deleted packs while this agent runs, what is due erased, and mass deletions told (DESIGN 5).

Knows: the store, both clocks. Must not know: who deleted what. A store that is away is asked again; the time without
it does not count.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog

from backuppeer.agent.host.alarms import Alarms
from backuppeer.agent.host.premises import Premises
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError
from backuppeer.host.store import Store
from backuppeer.host.sweep import Look, count_passed
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import SWEEP_S, SWEEP_SOONEST_S

_log = structlog.get_logger()


class Sweeping:
    """The one sweep of this home, from the start of the agent to its end."""

    def __init__(self, premises: Premises, clock: Clock) -> None:
        self._premises, self._clock = premises, clock
        self._woken = asyncio.Event()
        self._last: Look | None = None
        self.alarms = Alarms(premises, clock)
        self.line_of: Callable[[PeerId], Iterable[PeerId]] = lambda owner: (owner,)
        """An owner and all whose heir it is: they are let go of together."""

    def wake(self) -> None:
        """Look now when the next lock is over: packs were deleted."""
        self._woken.set()

    async def run(self) -> None:
        """Count and erase until cancelled."""
        while True:
            pause_s = SWEEP_S
            self._woken.clear()  # before the look: who wakes it in its middle deleted what it may not have seen
            if self._premises.directory is not None:
                try:
                    pause_s = await asyncio.to_thread(self.look)
                except BackupPeerError as exc:
                    _log.info("no sweep", reason=exc.message)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause_s)

    def look(self) -> float:
        """Count the time since the last look, erase what is due, and return after how many seconds to look again.

        Raises:
            BackupPeerError: the store can't be used now.

        """
        with self._premises.occupancy.using():
            return self._look()

    def _look(self) -> float:
        last, self._last = self._last, None
        # Unplugged, for example: nothing is lost by waiting, and the time until it is back is not counted.
        store = self._premises.open()
        self._count(store, last)
        store.endings.doom()
        while (erased := store.sweep.run()).packs:
            _log.info("erased", packs=erased.packs, size_bytes=erased.size_bytes)
        for lease in store.endings.finish():
            _log.info("agreement ended", peer=shorten_peer_id(lease.owner))
            for one in self.line_of(lease.owner):
                self._premises.release(one)
        self.alarms.look(store)
        dues = [due for due in (store.sweep.next_due_s(), store.notices.next_due_s()) if due is not None]
        next_s = min(dues, default=None)
        return SWEEP_S if next_s is None else min(SWEEP_S, max(SWEEP_SOONEST_S, float(next_s)))

    def _count(self, store: Store, last: Look | None) -> None:
        now = Look(self._clock.now_ms() / 1000, self._clock.monotonic_s())
        passed = count_passed(last or now, now)
        if passed.has_jumped:
            self._premises.note("the clock of this machine jumped by more than a day: that time deletes nothing")
        store.sweep.add_age(passed.seconds)
        # What is left of a second is counted at the next look.
        self._last = Look(now.wall_s - passed.rest_s, now.own_s - passed.rest_s)
