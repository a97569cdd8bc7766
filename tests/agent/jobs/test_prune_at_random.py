"""Backups, forgetting, prunes, kills, losses and erasures in any order: whatever is listed always comes back."""

import asyncio
import random

import pytest

from agent.estates import estate_of
from agent.houses import HostHouse, OwnerHouse
from agent.jobs.test_prune import DEATHS, Killed, back_up, contents, erase, forget, prune
from backuppeer.agent.owner.heads import HeadChain
from backuppeer.errors import BackupPeerError
from backuppeer.limits import MIB
from backuppeer.trust.evidence import Kind
from noise import noise

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NAMES = "abcdefgh"
STEPS = 14


class Life:
    """One owner, two hosts, and what a model says that must come back."""

    def __init__(self, estate, houses, folder, seed):
        self.estate, self.houses, self.folder = estate, houses, folder
        self.random = random.Random(seed)
        self.wanted, self.restores = {}, 0
        self.log = []

    def change_files(self):
        chosen = self.random.sample(NAMES, self.random.randint(1, 5))
        for path in self.folder.iterdir():
            if path.name[0] not in chosen:
                path.unlink()
        for name in chosen:
            if not list(self.folder.glob(f"{name}*")):
                version = self.random.randint(0, 1)
                data = noise(f"{name}{version}", 300_000)
                (self.folder / f"{name}{version}").write_bytes(data)

    async def backup(self):
        self.change_files()
        async with self.estate.vault.busy:  # as the command does
            await back_up(self.estate, self.folder, self.wanted)

    async def forget(self):
        if len(self.wanted) > 1:
            victim = self.random.choice(list(self.wanted)[:-1])
            await forget(self.estate, victim)
            del self.wanted[victim]

    async def prune(self):
        await prune(
            self.estate, max_unused_bytes=self.random.choice([0, 10**6]), repack_small=self.random.random() < 0.3
        )

    async def both(self):
        await asyncio.gather(self.backup(), prune(self.estate, max_unused_bytes=0))

    async def killed(self):
        where = self.random.choice(list(DEATHS))
        self.log.append(where)

        def die(*_arguments, **_options):
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(*DEATHS[where], die)
            patch.setattr(HeadChain, "take_back", die)
            try:
                await prune(self.estate, max_unused_bytes=0)
            except Killed:
                self.estate.set_back(self.estate.photograph())

    async def away(self):
        away = self.estate.sight.away
        if away:
            away.clear()
        else:
            away.add(self.random.choice(self.houses).peer)

    async def erase(self):
        for house in self.houses:
            erase(house)

    async def lose(self):
        if not self.estate.sight.away:
            self.estate.lose_repository(*self.random.choice([(), ("index",), ("ledger",), ("trees",)]))

    async def check(self):
        for snapshot, files in self.wanted.items():
            self.restores += 1
            target = self.folder.with_name(f"out{self.restores}")
            done = await self.estate.restore(snapshot.hex(), target)
            assert done.errors == 0
            assert contents(target) == files

    async def live(self):
        steps = [self.backup, self.forget, self.prune, self.both, self.killed, self.away, self.erase, self.lose]
        await self.backup()
        for _ in range(STEPS):
            step = self.random.choice(steps)
            self.log.append(step.__name__)
            await step()
            await self.check()
        self.estate.sight.away.clear()
        await self.backup()
        await self.prune()
        await self.erase()
        self.estate.lose_repository()
        await self.check()
        assert self.estate.snapshots() == list(self.wanted)
        assert self.estate.vault.is_whole()


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_listed_comes_back(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(HostHouse, "wish", (256 * MIB, 3600, 60))
    houses = [HostHouse(tmp_path / name, name.encode()[:1], offered_bytes=1024 * MIB) for name in ("one", "two")]
    owner = OwnerHouse(tmp_path / "owner", b"o")
    folder = tmp_path / "files"
    folder.mkdir()

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", *houses) as estate:
            life = Life(estate, houses, folder, seed)
            try:
                await life.live()
            except (AssertionError, BackupPeerError) as exc:
                exc.add_note(f"seed {seed}: {' '.join(life.log)}")
                raise
            faults = {Kind.INTEGRITY_FAULT, Kind.PROTOCOL_VIOLATION, Kind.AUTH_FAULT}
            for house in houses:
                assert not estate.seen(house) & faults, life.log

    try:
        asyncio.run(scenario())
    finally:
        for house in houses:
            house.close()
