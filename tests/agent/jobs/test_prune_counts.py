"""What `prune` asks for is what it then says that it did, when nothing else runs: one counting."""

import asyncio
import random

import pytest

from agent.estates import estate_of
from agent.jobs.pruning import _large, host_fixture, tree_fixture  # noqa: F401 - a fixture
from agent.jobs.test_prune import back_up, erase, forget, plan, prune
from agent.jobs.test_prune_unfinished import break_off
from backuppeer.errors import LocalError
from backuppeer.shares.ledger import Ledger

house, other, tree = host_fixture("roomy", b"h"), host_fixture("other", b"2"), tree_fixture("files")


async def kill(estate, folder):
    """Make a backup that is killed when hosts have a pack, and nothing here knows of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "register_copy", lambda *_: (_ for _ in ()).throw(LocalError("killed")))
        with pytest.raises(LocalError):
            await estate.back_up(folder)


class Life:
    """Backups of one folder, each to both hosts or one, whole or broken off, some forgotten."""

    def __init__(self, estate, houses, tree, dice):
        self.estate, self.houses, self.tree, self.dice, self.wanted = estate, houses, tree, dice, {}

    async def step(self):
        names = self.dice.sample("abcdefg", self.dice.randint(1, 4))
        match self.dice.choice(["backup", "one", "break", "forget", "away", "prune", "erase", "lose", "killed"]):
            case "backup":
                await back_up(self.estate, self.tree(*names), self.wanted)
            case "one" if not self.estate.sight.away:
                await back_up(self.estate, self.tree(*names), self.wanted, self.dice.choice(self.houses))
            case "break":
                await break_off(self.estate, self.tree(*names))
            case "killed":
                await kill(self.estate, self.tree(*names))
            case "forget" if len(self.wanted) > 1:
                victim = self.dice.choice(list(self.wanted))
                await forget(self.estate, victim)
                del self.wanted[victim]
            case "prune":
                await prune(self.estate, max_unused_bytes=0)
            case other:
                self.befall(other)

    def befall(self, what):
        away = self.estate.sight.away
        if what == "away":
            away.clear() if away else away.add(self.dice.choice(self.houses).peer)
        elif what == "erase":
            for each in self.houses:
                erase(each)
        elif what == "lose" and not away:
            self.estate.lose_repository("index", "ledger")


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))])
def test_what_is_planned_is_what_is_done(house, other, owner, tree, tmp_path, *, seed):
    dice = random.Random(seed)

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            life = Life(estate, (house, other), tree, dice)
            await back_up(estate, tree("a", "b"), life.wanted)
            if seed % 3 == 0:
                await kill(estate, tree("g"))
            for _ in range(dice.randint(2, 6)):
                await life.step()
            wish = {"max_unused_bytes": dice.choice([0, 10**6]), "repack_small": dice.random() < 0.3}
            asked, done = await plan(estate, **wish), await prune(estate, **wish)
            assert (done.deleted_packs, done.repacked_packs, done.kept_packs, done.unfinished_packs) == (
                asked.delete_packs,
                asked.repack_packs,
                asked.kept_packs,
                asked.unfinished_packs,
            )
            assert (done.unfinished_bytes, done.unlisted_packs, done.unlisted_bytes) == (
                asked.unfinished_bytes,
                asked.unlisted_packs,
                asked.unlisted_bytes,
            )
            named_bytes = asked.delete_bytes + asked.repack_bytes
            assert done.freed_bytes == named_bytes + asked.unfinished_bytes + asked.unlisted_bytes
            for before, after in zip(asked.hosts, done.hosts, strict=True):
                assert (after.packs, after.bytes, after.told) == (before.packs, before.bytes, before.told)
                assert after.at_once_bytes == before.at_once_bytes

    asyncio.run(scenario())
