"""One host takes the place of another: everything there and answered for, and only then the first given notice."""

import asyncio
import os

import pytest

from agent.estates import estate_of
from agent.houses import HostHouse, packs_at
from backuppeer.agent.jobs.replace import ReplaceJob
from backuppeer.agent.owner.ending import Ending
from backuppeer.agent.reporter import reporting
from backuppeer.errors import IntegrityFault, NotFoundError, PeerUnreachable, RefusedError, UserError
from backuppeer.limits import MIB


@pytest.fixture
def small(tmp_path):
    """A host with next to no room."""

    class Small(HostHouse):
        wish = (600 * 1024, 3600, 60)

    made = Small(tmp_path / "small", b"3")
    yield made
    made.close()


def play(owner, tmp_path, houses, scenario):
    async def run():
        async with estate_of(owner, tmp_path / "estate", *houses) as estate:
            keys = estate.vault._keys
            estate.ending = Ending(estate.state, keys, estate.vault.clock, reach=estate.sight)
            await scenario(estate)

    asyncio.run(run())


async def replace(estate, old, new):
    async with reporting(estate._emit) as reporter:
        return await ReplaceJob(estate.vault, estate.ending, reporter).run(old.peer, new.peer)


def is_ending(estate, house):
    return estate.ending.is_ended_by_us(house.peer)


def test_everything_is_at_the_new_host_before_the_old_one_hears_of_its_end(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        for _ in range(3):
            await estate.back_up(tree(), house)
        assert packs_at(other) == []
        packs, size_bytes, ended = await replace(estate, house, other)
        assert packs == len(packs_at(other)) == len(packs_at(house))
        assert size_bytes == sum(row.size for row in packs_at(other))
        assert ended.told
        assert is_ending(estate, house)
        assert house.ending.left_for(owner.peer) is not None
        estate.sight.away.add(house.peer)
        (latest, *_) = reversed(estate.snapshots())
        await estate.restore(latest.hex(), tmp_path / "out")
        assert len(list((tmp_path / "out").rglob("[0-9]*"))) >= 3

    play(owner, tmp_path, (house, other), scenario)


def test_run_again_it_goes_on_and_gives_no_second_notice(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree(), house)
        first = await replace(estate, house, other)
        assert await replace(estate, house, other) == first

    play(owner, tmp_path, (house, other), scenario)


def test_without_room_for_all_of_it_nothing_is_ended(house, small, owner, tree, tmp_path):
    async def scenario(estate):
        folder = tree()
        for number in range(4):
            (folder / f"big{number}").write_bytes(os.urandom(MIB // 2))
            await estate.back_up(folder, house)
        with pytest.raises(RefusedError):
            await replace(estate, house, small)
        assert not is_ending(estate, house)

    play(owner, tmp_path, (house, small), scenario)


def test_with_the_old_host_away_and_packs_only_there_nothing_is_ended(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree(), house)
        estate.sight.away.add(house.peer)
        with pytest.raises((RefusedError, PeerUnreachable)):
            await replace(estate, house, other)
        assert not is_ending(estate, house)

    play(owner, tmp_path, (house, other), scenario)


def test_a_new_host_that_can_not_show_a_pack_costs_the_old_one_nothing(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree(), house, other)
        (path, *_) = [p for p in (other.premises.open().directory / "agreements").glob("*/packs/*/*") if not p.suffix]
        path.write_bytes(bytes(path.stat().st_size))
        with pytest.raises((IntegrityFault, RefusedError)):
            await replace(estate, house, other)
        assert not is_ending(estate, house)

    play(owner, tmp_path, (house, other), scenario)


def test_who_is_no_host_or_leaves_itself_takes_no_place(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        with pytest.raises(UserError):
            await replace(estate, house, house)
        with pytest.raises(NotFoundError):
            await replace(estate, house, owner)
        await estate.ending.end(other.peer)
        with pytest.raises(RefusedError, match="ends"):
            await replace(estate, house, other)
        assert not is_ending(estate, house)

    play(owner, tmp_path, (house, other), scenario)
