"""One host takes the place of another: everything there and answered for, and only then the first given notice."""

import asyncio
import os
import random
from types import SimpleNamespace

import pytest

from agent.estates import estate_of
from agent.houses import HostHouse, packs_at
from agent.watches import watching
from backuppeer.agent.audits import vouching
from backuppeer.agent.audits.vouching import draw_sample
from backuppeer.agent.jobs.replace import ReplaceJob
from backuppeer.agent.jobs.replace_plan import plan_replace
from backuppeer.agent.owner.ending import Ending
from backuppeer.agent.reporter import reporting
from backuppeer.errors import IntegrityFault, NotFoundError, PeerUnreachable, RefusedError, UserError
from backuppeer.limits import LEAF_BYTES, MIB, REPLACE_SAMPLE_SHARE, REPLACE_SAMPLES_LEAST
from backuppeer.shares.copies import Copy
from backuppeer.trust.conduct import Bar
from backuppeer.trust.evidence import Kind
from backuppeer.wire.auditing import Acked, AckPacks
from backuppeer.wire.messages import Unsupported
from noise import noise


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


async def look(estate, old, new, **more):
    async with reporting(estate._emit) as reporter:
        return await plan_replace(estate.vault, estate.ending, reporter, old=old.peer, new=new.peer, **more)


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


def test_the_plan_says_what_is_copied_whether_it_fits_and_until_when_the_old_one_keeps_all(
    house, other, owner, tree, tmp_path
):
    async def scenario(estate):
        for _ in range(2):
            await estate.back_up(tree(), house)
        plan = await look(estate, house, other)
        assert (plan.packs, plan.copy_packs) == (len(packs_at(house)), len(packs_at(house)))
        assert plan.copy_bytes == plan.size_bytes == sum(row.size for row in packs_at(house))
        assert plan.free_bytes == other.premises.open().usage(estate.vault.partners()[1].agreement).free_bytes
        assert (plan.is_ended, plan.ended.told) == (False, False)
        assert estate.vault.clock.now_ms() < plan.ended.until_ms <= estate.ending.plan(house.peer)
        assert packs_at(other) == []
        assert not is_ending(estate, house)
        _, _, ended = await replace(estate, house, other)
        again = await look(estate, house, other)
        assert (again.copy_packs, again.copy_bytes, again.is_ended, again.ended) == (0, 0, True, ended)

    play(owner, tmp_path, (house, other), scenario)


def test_the_plan_refuses_what_does_not_fit_and_says_how_much_to_ask_for(house, small, owner, tree, tmp_path):
    async def scenario(estate):
        folder = tree()
        for number in range(4):
            (folder / f"big{number}").write_bytes(os.urandom(MIB // 2))
            await estate.back_up(folder, house)
        with pytest.raises(RefusedError, match=r"has no room for all of it: it lacks .* and has .* free now") as caught:
            await look(estate, house, small)
        assert "peers resize" in caught.value.hint
        assert " 1GB`" in caught.value.hint
        with pytest.raises(RefusedError) as caught:
            await look(estate, house, small, is_asked=True)
        assert "has not answered your request yet: run the same again when it has" in caught.value.hint

    play(owner, tmp_path, (house, small), scenario)


def test_the_plan_needs_the_new_host_and_the_old_one_only_if_it_alone_has_something(
    house, other, owner, tree, tmp_path
):
    async def scenario(estate):
        await estate.back_up(tree(), house)
        estate.sight.away.add(other.peer)
        with pytest.raises(PeerUnreachable):
            await look(estate, house, other)
        estate.sight.away = {house.peer}
        with pytest.raises(PeerUnreachable, match="has packs that no other host has: 1; nothing was changed"):
            await look(estate, house, other)
        estate.sight.away = set()
        await estate.back_up(tree(), house, other)
        estate.sight.away = {house.peer}
        assert (await look(estate, house, other)).copy_packs == 0

    play(owner, tmp_path, (house, other), scenario)


def test_the_plan_names_who_is_no_host_and_how_one_is_asked(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        with pytest.raises(NotFoundError, match="keeps no backups of yours yet") as caught:
            await look(estate, house, owner)
        assert "backup-peer connect" in caught.value.hint
        assert "--storage 10GB" in caught.value.hint
        with pytest.raises(NotFoundError, match="nobody takes its place") as caught:
            await look(estate, owner, other)
        assert "backup-peer peers" in caught.value.hint

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


def test_a_host_that_gets_no_new_data_takes_no_place(house, other, owner, tree, tmp_path):
    async def scenario(estate):
        await estate.back_up(tree(), house)
        estate.vault.standing.saw(other.peer, Kind.MISBEHAVED)
        with pytest.raises(RefusedError, match=r"gets no new data until .*; nothing is moved there"):
            await replace(estate, house, other)
        assert packs_at(other) == []
        assert not is_ending(estate, house)

    play(owner, tmp_path, (house, other), scenario)


@pytest.fixture
def play_with_crook(house, other, owner, tree, tmp_path):
    """Run a scenario in which `other` does as a test says, and has all."""

    def run(scenario):
        async def whole():
            async with watching(owner, tmp_path / "watch", house, other) as watch:
                watch.ending = Ending(watch.state, watch.vault._keys, watch.vault.clock, reach=watch.sight)
                folder = tree()
                (folder / "large").write_bytes(noise(5, 4 * MIB))
                await watch.back_up(folder)
                await scenario(watch)

        asyncio.run(whole())

    return run


def test_a_new_host_that_does_not_sign_for_a_pack_is_told_which_and_the_old_one_stays(house, other, play_with_crook):
    async def scenario(watch):
        async def shrug(channel, _):
            await channel.send(Acked())

        watch.crooks[other.peer].handlers[AckPacks] = shrug
        packs = [
            copy.logical.hex()[:8] for copy in watch.vault.repository.ledger.copies_at(watch.partner(other).agreement)
        ]
        with pytest.raises(IntegrityFault, match="does not answer for 1 of 1 packs") as caught:
            await replace(watch, house, other)
        assert all(name in caught.value.message for name in packs)
        assert caught.value.message.endswith("nothing was ended")
        assert not is_ending(watch, house)
        assert watch.vault.standing.bar(other.peer) is Bar.LOST

    play_with_crook(scenario)


def test_a_new_host_that_signs_nothing_at_all_as_it_is_too_old_takes_no_place(house, other, play_with_crook):
    async def scenario(watch):
        async def wonder(channel, _):
            await channel.send(Unsupported(type=1))

        watch.crooks[other.peer].handlers[AckPacks] = wonder
        with pytest.raises(RefusedError, match="can't be audited"):
            await replace(watch, house, other)
        assert not is_ending(watch, house)

    play_with_crook(scenario)


def test_a_new_host_that_signed_for_bytes_which_it_does_not_have_is_found_out_by_a_leaf(
    house, other, play_with_crook, monkeypatch
):
    class Third(random.Random):
        def randrange(self, _):
            return 3

    async def scenario(watch):
        monkeypatch.setattr(vouching, "random", SimpleNamespace(SystemRandom=lambda: Third(1)))
        files = [p for p in (other.premises.open().directory / "agreements").glob("*/packs/*/*") if not p.suffix]
        path = max(files, key=lambda path: path.stat().st_size)
        with path.open("r+b") as file:
            file.write(bytes(MIB))  # its directory, in the last mebibyte, stays as it is
        with pytest.raises(
            IntegrityFault, match=r"does not show 1 of 1 packs, or shows them wrong: [0-9a-f]{8}; nothing"
        ):
            await replace(watch, house, other)
        assert not is_ending(watch, house)

    play_with_crook(scenario)


@pytest.mark.parametrize(
    ("packs", "drawn"),
    [
        (1, 1),
        (REPLACE_SAMPLES_LEAST, REPLACE_SAMPLES_LEAST),
        (REPLACE_SAMPLES_LEAST + 9, REPLACE_SAMPLES_LEAST),
        (20_000, 20_000 // REPLACE_SAMPLE_SHARE),
    ],
)
def test_leaves_are_drawn_of_all_packs_or_of_a_part_of_many(packs, drawn):
    copies = [Copy(bytes(16), bytes(16), bytes(32), 1 + number * 5000, bytes(64)) for number in range(packs)]
    sample = list(draw_sample(copies, random.Random(7)))
    assert len({copy.size for copy, _ in sample}) == len(sample) == drawn
    assert all(0 <= leaf * LEAF_BYTES < copy.size for copy, leaf in sample)
