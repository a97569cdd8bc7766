"""The scene of a prune that is interrupted: snapshots were forgotten, packs go whole or are packed anew, locks end.

Nothing but the newest snapshot is left, and whatever happens it must come back; a prune afterwards finishes the work.
"""

from agent.estates import Estate
from agent.houses import HostHouse
from backuppeer.limits import HOLD_FACTOR
from crash.world import LOCK_S, Say, Scene, check_store, forget, pass_time, prune

HOLD_S = LOCK_S * HOLD_FACTOR
"""What goes here is most of the data."""


class PruneScene(Scene):
    """As `Scene`, where a prune and the end of its locks are what is interrupted."""

    first_version = 3

    async def establish(self) -> str:
        """Back up three versions, and forget two of them; return the snapshot that is left."""
        self._agree()
        names = []
        async with self.open() as (estate, _):
            for version in (1, 2, 3):
                self.write(version)
                names.append(await self._back_up(estate))
            await forget(estate, *names[:-1])
        return names[-1]

    def write(self, version: int) -> None:
        """Take away what made the versions before large, so that all of their packs are needed in part at most."""
        if version == 3:
            for name in ("large", "v1-0", "v2-0"):
                (self.files / name).unlink()
        super().write(version)

    async def perform(self, first: str, say: Say) -> None:
        """Prune, and let the host's locks end; say what was acknowledged as soon as it was."""
        async with self.open() as (estate, house):
            done = await prune(estate, max_unused_bytes=0)
            assert done.deleted_packs
            assert done.repacked_packs
            if done.left_out:
                return  # the host's disk refused, and that was told: the next prune is the one that finishes
            say("pruned")
            assert pass_time(house, HOLD_S) >= done.deleted_packs + done.repacked_packs

    async def _examine_more(self, estate: Estate, house: HostHouse) -> None:
        """Prune to the end: then the host keeps what the list names, and nothing else."""
        await prune(estate, max_unused_bytes=0)
        pass_time(house, HOLD_S)
        await prune(estate, max_unused_bytes=10**9)
        pass_time(house, HOLD_S)
        store = house.premises.open()
        (lease,) = store.leases.list_all()
        kept = len(store.list_packs(lease.agreement, limit=1000))
        listed = len(list(estate.vault.repository.index.packs()))
        assert kept == listed, f"{kept} packs are kept, and {listed} are named"
        check_store(house)
