"""Where a blob is found that lies in several packs: in one that its hosts are owed, whatever broke off or was lost."""

import asyncio

import pytest

from agent.houses import HostHouse
from agent.jobs.pruning import LARGE
from agent.jobs.test_owed import FILE, assert_restores_from, forget_host, owed_bytes, scene  # noqa: F401 - a fixture
from agent.jobs.test_prune import back_up, forget, held, lease_of
from agent.jobs.test_prune_unfinished import break_off
from agent.owner.test_losses import lose, packs_of
from backuppeer.agent.jobs.repair import RepairJob
from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.losses import find_binding
from backuppeer.agent.reporter import reporting
from backuppeer.control.checking import RepairRequest
from backuppeer.errors import LocalError, PeerUnreachable
from backuppeer.repo.turnover import Turnover
from noise import noise


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    monkeypatch.setattr(HostHouse, "wish", LARGE)


def away(estate, *houses):
    estate.sight.away = {house.peer for house in houses}


async def assert_complete_hosts_restore(estate, world, wanted):
    houses = {house.peer: house for house in (world.house, world.other)}
    complete = estate.vault.complete_hosts()
    for peer in complete:
        await assert_restores_from(estate, houses[peer], wanted, world.tmp_path)
    return complete


async def send_twice(estate, world, wanted):
    """Have one host hold a file as a head names it, and the other one as a draft of a backup that broke off.

    Return the packs that the first one was given.
    """
    house, other, turnover = world.house, world.other, estate.vault.repository.index.turnover
    away(estate, other)
    before = turnover.named()
    await back_up(estate, world.tree("a"), wanted, house)
    given = set(turnover.named()) - set(before)
    away(estate, house)
    await break_off(estate, world.tree("a"), other)
    return given


def lose_last(house, before):
    """Let a host lose what it was given since it held just `before`."""
    new = held(house) - before
    lose(house, [path for path in packs_of(house) if path.name in {stored.hex() for stored in new}])


# --- drafts
def test_a_draft_of_what_broke_off_hides_no_copy_that_a_head_names(scene):  # noqa: F811
    house, other, small = scene.house, scene.other, scene.small

    async def scenario():
        async with scene.estate() as estate:
            wanted = {}
            await back_up(estate, small("c"), wanted)
            await send_twice(estate, scene, wanted)
            away(estate)
            assert await assert_complete_hosts_restore(estate, scene, wanted) == [house.peer]
            await back_up(estate, small("c", "k"), wanted)
            assert await assert_complete_hosts_restore(estate, scene, wanted) == [house.peer, other.peer]
            forget_host(estate, other)
            await assert_restores_from(estate, house, wanted, scene.tmp_path)

    asyncio.run(scenario())


def test_what_broke_off_at_one_host_is_gone_on_from_though_another_one_has_it_named(scene):  # noqa: F811
    house, other, tree, small = scene.house, scene.other, scene.tree, scene.small

    async def scenario():
        async with scene.estate() as estate:
            wanted = {}
            await back_up(estate, small("c"), wanted)
            await send_twice(estate, scene, wanted)
            before = estate.vault.repository.ledger.held_bytes(lease_of(other))
            await back_up(estate, tree("a"), wanted, other)
            assert estate.vault.repository.ledger.held_bytes(lease_of(other)) - before < FILE, "not sent again"
            away(estate)
            await back_up(estate, small("c", "k"), wanted)
            assert await assert_complete_hosts_restore(estate, scene, wanted) == [house.peer, other.peer]

    asyncio.run(scenario())


def test_what_a_snapshot_needs_is_no_waste_while_a_draft_has_it_too(scene):  # noqa: F811
    house, other, small = scene.house, scene.other, scene.small

    async def scenario():
        async with scene.estate() as estate:
            wanted = {}
            await back_up(estate, small("c"), wanted)
            gone = await back_up(estate, small("c", "j"), {})
            await send_twice(estate, scene, wanted)
            await forget(estate, gone)
            assert owed_bytes(estate, other) > FILE, "a as it is named"
            away(estate)
            await back_up(estate, small("c", "k"), wanted)
            assert await assert_complete_hosts_restore(estate, scene, wanted) == [house.peer, other.peer]

    asyncio.run(scenario())


def test_waste_is_not_counted_while_a_snapshot_needs_what_only_a_draft_has(scene):  # noqa: F811
    house, other, small = scene.house, scene.other, scene.small

    async def scenario():
        async with scene.estate() as estate:
            wanted = {}
            await back_up(estate, small("c"), wanted)
            given = await send_twice(estate, scene, wanted)
            away(estate)
            await back_up(estate, small("c", "k"), wanted, house)
            vault = estate.vault
            vault.owed.note_waste(b"", b"", ())
            away(estate, other)
            await vault.learn_waste()
            assert vault.owed.waste() is not None or not vault.owed.lacking_at(lease_of(other))
            vault.repository.index.turnover.forget(given)
            assert vault.owed.waste() is None, "it was counted when blobs lay elsewhere"
            await vault.learn_waste()
            assert vault.owed.waste() is None

    asyncio.run(scenario())


def test_what_only_a_draft_has_since_the_named_copy_was_lost_is_named_by_the_next_head(scene):  # noqa: F811
    house, other, tree, small = scene.house, scene.other, scene.tree, scene.small

    async def scenario():
        async with scene.estate() as estate:
            wanted = {}
            await back_up(estate, small("c"), wanted)
            before = held(house)
            await send_twice(estate, scene, wanted)
            tree()
            lose_last(house, before)
            away(estate)
            await back_up(estate, small("c", "k"), wanted)
            estate.forgive(house)
            await back_up(estate, small("c", "k"), wanted)
            assert await assert_complete_hosts_restore(estate, scene, wanted) == [house.peer, other.peer]

    asyncio.run(scenario())


# --- the note of waste
def test_what_was_waste_before_its_other_copy_was_lost_is_owed_again(scene):  # noqa: F811
    house, other, tree, small = scene.house, scene.other, scene.tree, scene.small

    async def scenario():
        async with scene.estate() as estate:
            wanted, box = {}, scene.tmp_path / "box"
            box.mkdir()
            (box / "a").write_bytes(noise("a", 20_000))
            await back_up(estate, tree(*"0123456789"), wanted)
            away(estate, other)
            await back_up(estate, box, wanted, house)
            away(estate, house)
            before = held(other)
            await back_up(estate, box, wanted, other)
            again = held(other) - before
            (box / "a").unlink()
            gone = await back_up(estate, small("j"), {}, other)
            await back_up(estate, small("j"), wanted, other)
            await forget(estate, gone)
            assert estate.vault.owed.waste(), "the first copy of a"
            lose(other, [path for path in packs_of(other) if path.name in {stored.hex() for stored in again}])
            away(estate)
            await back_up(estate, small("j", "k"), wanted)
            estate.forgive(other)
            for name in "lm":
                await back_up(estate, small("j", name), wanted)
            assert await assert_complete_hosts_restore(estate, scene, wanted) == [house.peer, other.peer]

    asyncio.run(scenario())


# --- heads that stand before the index says so
def fail_to_name(patch):
    """Let the disk be full whenever something is to be named."""

    def name(turnover, packs):
        if turnover.fresh().intersection(packs):
            raise LocalError("the disk is full")

    patch.setattr(Turnover, "name", name)


def test_packs_of_a_head_that_stands_are_owed_though_the_disk_was_full_then(scene, monkeypatch):  # noqa: F811
    house, other, tree, small = scene.house, scene.other, scene.tree, scene.small

    async def scenario():
        async with scene.estate() as estate:
            wanted = {}
            await back_up(estate, small("c"), wanted)
            away(estate, other)
            with monkeypatch.context() as patch:
                fail_to_name(patch)
                with pytest.raises(LocalError):
                    await estate.back_up(tree("a"), house)
            vault = estate.vault
            assert find_binding(vault.repository, vault.heads.newest()[0]), "a loss of all would be barred"
            estate.restart()
            assert estate.vault.is_whole()
            assert not estate.vault.repository.index.turnover.fresh()
            assert owed_bytes(estate, other) > FILE
            assert estate.vault.complete_hosts() == [house.peer]

    asyncio.run(scenario())


def test_a_job_names_what_the_head_does_after_a_disk_that_was_full(scene, monkeypatch):  # noqa: F811
    house, other, tree, small = scene.house, scene.other, scene.tree, scene.small

    async def scenario():
        async with scene.estate() as estate:
            await back_up(estate, small("c"), {})
            with monkeypatch.context() as patch:
                fail_to_name(patch)
                with pytest.raises(LocalError):
                    await estate.back_up(tree("a"), house)
            assert estate.vault.repository.index.turnover.fresh()
            await estate.vault.ensure_whole()
            assert not estate.vault.repository.index.turnover.fresh()
            assert owed_bytes(estate, other) > FILE

    asyncio.run(scenario())


def test_a_repair_that_breaks_off_when_its_head_stands_leaves_no_pack_of_it_unnamed(scene, monkeypatch):  # noqa: F811
    house, other, small = scene.house, scene.other, scene.small

    async def break_off_then(*_):
        raise PeerUnreachable("away")

    async def scenario():
        async with scene.estate() as estate:
            await back_up(estate, small("c"), {}, house)
            forget_host(estate, other)
            lose(house, packs_of(house))
            before = estate.vault.heads.newest()[0].number
            monkeypatch.setattr(Gathering, "leave_head", break_off_then)
            request = RepairRequest(actions=["copies"])
            with pytest.raises(PeerUnreachable):
                async with reporting(estate._emit) as reporter:
                    await RepairJob(estate.vault, estate.auditor, request, reporter).run()
            assert estate.vault.heads.newest()[0].number == before + 1
            assert not estate.vault.repository.index.turnover.fresh()

    asyncio.run(scenario())
