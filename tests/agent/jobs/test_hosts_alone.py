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
        if self.estate.sight.away:
            self.estate.sight.away = set()
        else:
            self.estate.sight.away = {self.random.choice(self.houses).peer}

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
        acts = [self.backup, self.backup, self.broken, self.forget, self.prune, self.away, self.lose_pack]
        for _ in range(steps):
            act = self.random.choice([*acts, self.lose_index])
            self.log.append(act.__name__)
            with suppress(BackupPeerError):
                await act()
            listed = set(self.estate.snapshots())
            away, self.estate.sight.away = self.estate.sight.away, set()
            await assert_complete_hosts_restore(
                self.estate, self, {name: files for name, files in self.wanted.items() if name in listed}
            )
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
            except (AssertionError, BackupPeerError) as exc:
                exc.add_note(f"seed {seed}: {' '.join(life.log)}")
                raise

    try:
        asyncio.run(scenario())
    finally:
        for house in houses:
            house.close()


@pytest.mark.parametrize("seed", [0, 2])
def test_each_host_that_is_said_to_hold_all_gives_all_of_it_alone(tmp_path, monkeypatch, seed):
    live(tmp_path, monkeypatch, seed, 8)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 100 + (SEEDS or 2)))
def test_each_host_gives_all_alone_in_longer_lives(tmp_path, monkeypatch, seed):
    live(tmp_path, monkeypatch, seed, 20)
