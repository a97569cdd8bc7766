"""Backups, breaks, forgetting, prunes and losses in any order: who is said to hold all gives all, alone."""

import asyncio
import os
import random
from contextlib import suppress

import pytest

from agent.estates import estate_of
from agent.houses import HostHouse, OwnerHouse
from agent.jobs.pruning import LARGE
from agent.jobs.test_owed_places import assert_complete_hosts_restore
from agent.jobs.test_prune import back_up, forget, held, prune
from agent.jobs.test_prune_unfinished import break_off
from agent.owner.test_losses import lose, packs_of
from backuppeer.errors import BackupPeerError
from backuppeer.limits import MIB
from noise import noise

NAMES = "abcd"
RESTORE_S = 20
"""A restore that waits for a host which is away would do so for long."""
SEEDS = int(os.environ.get("SOAK_EXAMPLES", "0"))


class Life:
    """An owner, two hosts, and what is listed and was never lost."""

    def __init__(self, estate, houses, tmp_path, seed):
        self.estate, self.tmp_path, self.random = estate, tmp_path, random.Random(seed)
        self.house, self.other = self.houses = houses
        self.wanted, self.log = {}, []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()

    def change(self):
        folder = self.tmp_path / self.random.choice(["one", "two"])
        if any(folder.iterdir()) and self.random.random() < 0.6:
            return folder
        chosen = self.random.sample(NAMES, self.random.randint(1, 2))
        for path in folder.iterdir():
            path.unlink()
        for name in chosen:
            (folder / name).write_bytes(noise(name, 20_000))
        return folder

    def chosen(self):
        there = [house for house in self.houses if house.peer not in self.estate.sight.away]
        return self.random.choice([[], [self.random.choice(there)]])

    async def backup(self):
        await back_up(self.estate, self.change(), self.wanted, *self.chosen())

    async def broken(self):
        await break_off(self.estate, self.change(), *self.chosen())

    async def forget(self):
        if len(self.wanted) > 1:
            victim = self.random.choice(list(self.wanted))
            await forget(self.estate, victim)
            del self.wanted[victim]

    async def prune(self):
        await prune(self.estate, max_unused_bytes=0, keep_unfinished=self.random.random() < 0.5)

    async def away(self):
        self.estate.sight.away = self.random.choice([set(), {self.house.peer}, {self.other.peer}])

    async def crossed(self):
        """Send the same to one host, then to the other one, each while the other is away."""
        first, second = self.random.sample(self.houses, 2)
        folder = self.change()
        self.estate.sight.away = {second.peer}
        await back_up(self.estate, folder, self.wanted, first)
        self.estate.sight.away = {first.peer}
        if self.random.random() < 0.7:
            await break_off(self.estate, folder, second)
        else:
            await back_up(self.estate, folder, self.wanted, second)

    async def lose_pack(self):
        # One at a time: what was lost must be elsewhere, or nobody could give it.
        house = self.random.choice(self.houses)
        complete = self.estate.vault.complete_hosts()
        if not self.estate.sight.away and set(complete) - {house.peer} and held(house):
            lose(house, [self.random.choice(sorted(packs_of(house)))])
            await self.backup_all()

    async def backup_all(self):
        for house in self.houses:
            self.estate.forgive(house)
        await back_up(self.estate, self.change(), self.wanted)

    async def lose_index(self):
        if not self.estate.sight.away:
            self.estate.lose_repository("index")
            await self.backup_all()

    async def live(self, steps):
        await self.backup_all()
        often = [self.backup, self.crossed, self.away]
        acts = [*often, *often, self.broken, self.forget, self.prune, self.lose_pack, self.lose_index]
        for _ in range(steps):
            act = self.random.choice(acts)
            self.log.append(act.__name__)
            with suppress(BackupPeerError):
                await act()
            listed = set(self.estate.snapshots())
            away, self.estate.sight.away = self.estate.sight.away, set()
            wanted = {name: files for name, files in self.wanted.items() if name in listed}
            async with asyncio.timeout(RESTORE_S):
                await assert_complete_hosts_restore(self.estate, self, wanted)
            self.estate.sight.away = away


def live(tmp_path, monkeypatch, seed, steps):
    monkeypatch.setattr(HostHouse, "wish", LARGE)
    houses = [HostHouse(tmp_path / name, name.encode()[:1], offered_bytes=1024 * MIB) for name in ("host", "2nd")]
    owner = OwnerHouse(tmp_path / "owner", b"o")

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", *houses) as estate:
            life = Life(estate, houses, tmp_path, seed)
            try:
                await life.live(steps)
            except (AssertionError, BackupPeerError, TimeoutError) as exc:
                exc.add_note(f"seed {seed}: {' '.join(life.log)}")
                raise

    try:
        asyncio.run(scenario())
    finally:
        for house in houses:
            house.close()


@pytest.mark.parametrize("seed", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_each_host_that_is_said_to_hold_all_gives_all_of_it_alone(tmp_path, monkeypatch, seed):
    live(tmp_path, monkeypatch, seed, 8)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 100 + (SEEDS or 2)))
def test_each_host_gives_all_alone_in_longer_lives(tmp_path, monkeypatch, seed):
    live(tmp_path, monkeypatch, seed, 20)
