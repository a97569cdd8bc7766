"""A host's own reading of its store, in the background, and what its human is told of losses (DESIGN 5).

Knows: the store, the clock, pauses. Must not know: how a pack is checked, who audits. At most SCRUB_BYTES_PER_S, one
pack at a time: nobody waits for it but whoever ends the agent, for one pack. A store that is away is tried again.
"""

import asyncio

import structlog

from backuppeer.agent.home.state import State
from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.proving import Proving
from backuppeer.agent.host.threads import run_whole
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.room import say_date
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError
from backuppeer.host.losses import LossCount
from backuppeer.host.store import Store
from backuppeer.limits import LOSS_GRACE_S, LOSS_TOLD_S, SCRUB_LOOK_S

_log = structlog.get_logger()


class Scrubbing:
    """The one scrub of this home, from the start of the agent to its end."""

    def __init__(self, premises: Premises, clock: Clock, proving: Proving) -> None:
        self._premises, self._clock, self.proving = premises, clock, proving
        self._store: Store | None = None
        self._settle_s = 0.0
        """When what is suspected is looked at again, by the monotonic clock."""

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            pause_s = SCRUB_LOOK_S
            if self._premises.directory is not None:
                try:
                    pause_s = await run_whole(self.look)
                except BackupPeerError as exc:
                    _log.info("no scrub", reason=exc.message)
            await asyncio.sleep(pause_s)

    def look(self) -> float:
        """Read the next pack if it is time, have reported what is lost, and return after how many seconds to go on.

        Raises:
            BackupPeerError: the store can't be used now.

        """
        with self._premises.occupancy.using():
            return self._look()

    def _look(self) -> float:
        store = self._premises.open()
        self._settle(store)
        step = store.scrub.step(now_ms=self._clock.now_ms(), total_bytes=store.totals().used_bytes)
        is_told = step.suspected is not None and bool(self.proving.report(store, step.suspected))
        if step.trouble and not is_told:
            self._premises.note(step.trouble)
        return step.pause_s

    def describe(self, state: State) -> list[str]:
        """Return a sentence for each owner whose packs were lost here of late, for `status`."""
        return [said for _, said in self.list_losses(state)]

    def list_losses(self, state: State) -> list[tuple[LossCount, str]]:
        """Return what was lost here of late, with a sentence for each agreement; nothing while the store is away."""
        if self._premises.directory is None:
            return []
        try:
            store = self._premises.open()
            counts = store.losses.count_since(self._clock.now_ms() - LOSS_TOLD_S * 1000)
            return [(count, said) for count in counts if (said := _say_loss(store, count, state))]
        except BackupPeerError:
            return []

    def _settle(self, store: Store) -> None:
        """Have looked again at what was suspected when the store was opened, or could not be reported then."""
        now_s = self._clock.monotonic_s()
        if store is not self._store:
            # Not at once: whoever moves folders, or mounts one disk after the other, has lost nothing.
            self._store, self._settle_s = store, now_s + LOSS_GRACE_S
        if now_s < self._settle_s:
            return
        found = [self.proving.report(store, agreement) for agreement in store.losses.list_suspected()]
        self._settle_s = now_s if any(found) else now_s + SCRUB_LOOK_S


def _say_loss(store: Store, count: LossCount, state: State) -> str:
    lease = store.leases.find(count.agreement)
    if lease is None:
        return ""
    name, when = name_of(state, lease.owner), say_date(count.time_ms, 0)
    lost = "1 pack is" if count.packs == 1 else f"{count.packs} packs are"
    return (
        f"{lost} lost or damaged on the disk of the store, found on {when}. It is data of {name}, whose next backup is "
        f"told and sends again what there still is. Check the disk (dmesg, SMART); if it goes on, tell {name}"
    )
