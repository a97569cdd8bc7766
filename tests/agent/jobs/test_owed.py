"""What a host that lags is brought: what the head names and a snapshot needs; no more is said to lack (ADR 55)."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.estates import estate_of
from agent.houses import HostHouse
from agent.jobs.pruning import tree_at
from agent.jobs.test_prune import (
    FAULTS,
    LARGE,
    assert_restores,
    back_up,
    contents,
    deleted,
    forget,
    held,
    lease_of,
    plan,
    prune,
)
from agent.jobs.test_prune_unfinished import break_off
from agent.owner.test_losses import lose, packs_of
from backuppeer.agent.jobs.undelete import UndeleteJob
from backuppeer.agent.owner.gathering import Gathering
from backuppeer.agent.owner.lagging import describe_lacking
from backuppeer.agent.reporter import Reporter, reporting
from backuppeer.control.undeleting import UndeleteRequest
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import format_peer_id
from backuppeer.limits import MIB

FILE = 600_000


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    monkeypatch.setattr(HostHouse, "wish", LARGE)


@pytest.fixture
def scene(tmp_path, owner):
    """Two hosts, an owner, and two folders."""
    houses = [HostHouse(tmp_path / seed.hex(), seed, offered_bytes=1024 * MIB) for seed in (b"h", b"2")]
    yield SimpleNamespace(
        house=houses[0],
        other=houses[1],
        estate=lambda: estate_of(owner, tmp_path / "estate", *houses),
        tree=tree_at(tmp_path / "files"),
        small=tree_at(tmp_path / "small"),
        tmp_path=tmp_path,
    )
    for house in houses:
        house.close()


def held_bytes(house):
    return house.premises.open().usage(lease_of(house)).used_bytes


def owed_bytes(estate, house):
    return estate.vault.owed.measure_lacking(lease_of(house))


def forget_host(estate, house):
    estate.state.end_agreement(lease_of(house))
    estate.vault.repository.ledger.drop_agreement(lease_of(house))


async def assert_restores_from(estate, house, wanted, tmp_path):
    """Everything comes back from this host alone."""
    sessions = dict(estate.sight.sessions)
    estate.sight.sessions = {house.peer: sessions[house.peer]}
    for snapshot, files in wanted.items():
        await assert_restores(estate, snapshot, files, tmp_path / f"from{len(list(tmp_path.iterdir()))}")
    estate.sight.sessions = sessions


def test_in_a_home_that_may_only_read_no_host_is_said_to_lack_anything(scene):
    house, tree, small = scene.house, scene.tree, scene.small

    async def scenario():
        async with scene.estate() as estate:
            await back_up(estate, small("c"), {})
            await back_up(estate, tree("a"), {}, house)
            (line,) = describe_lacking(estate.vault, estate.state)
            assert " lacks " in line
            (estate.home.path / "keys" / "grant").unlink()
            estate.restart()
            assert not estate.vault.writer.may_write
            assert describe_lacking(estate.vault, estate.state) == []

    asyncio.run(scenario())


# --- work that broke off
def test_what_broke_off_at_one_host_goes_to_no_other_and_counts_as_lacking_nowhere(scene):
    house, other, tree, small, tmp_path = scene.house, scene.other, scene.tree, scene.small, scene.tmp_path

    async def scenario():
        async with scene.estate() as estate:
            wanted = {}
            await back_up(estate, small("c"), wanted)
            before = held_bytes(other)
            kept = held(house)
            await break_off(estate, tree("a", "b"), house)
            left = held(house) - kept
            await back_up(estate, small("c", "d"), wanted, other)
            assert held_bytes(other) - before < 2 * FILE, "the new file, and nothing of what broke off"
            await back_up(estate, small("c", "d"), wanted)
            assert held_bytes(other) - before < 3 * FILE
            assert left <= held(house)
            assert estate.vault.complete_hosts() == [house.peer, other.peer]
            await prune(estate)
            assert not left & (held(house) | deleted(house)), "what broke off went at once: no head named it"
            await assert_restores_from(estate, other, wanted, tmp_path)

    asyncio.run(scenario())


def test_a_backup_that_goes_on_from_what_broke_off_brings_the_other_host_just_that(scene):
    house, other, tree, tmp_path = scene.house, scene.other, scene.tree, scene.tmp_path

    async def scenario():
        async with scene.estate() as estate:
            wanted = {}
            await break_off(estate, tree("x"), house)
            await break_off(estate, tree("a", "b"), house)
            before = held_bytes(house)
            await back_up(estate, tree("a", "b"), wanted)
            assert held_bytes(house) - before < FILE, "nothing was sent twice"
            assert 2 * FILE < held_bytes(other) < 3 * FILE, "x was of no use"
            await assert_restores_from(estate, other, wanted, tmp_path)
            assert describe_lacking(estate.vault, estate.state)[0].startswith("606 kB at your hosts"), "x alone"
            await prune(estate)
            assert not deleted(house) | deleted(other)

    asyncio.run(scenario())


def test_a_host_that_nobody_gives_what_the_next_head_names_is_left_out_by_name_and_the_same_again_sends_it(
    scene, monkeypatch
):
    complete = Gathering.complete

    house, other, tree, tmp_path = scene.house, scene.other, scene.tree, scene.tmp_path

    async def scenario():
        async with scene.estate() as estate:
            await break_off(estate, tree("a", "b"), house)

            async def go_away_before(gathering, partners, inventory):
                estate.sight.away.add(house.peer)
                await complete(gathering, partners, inventory)

            with monkeypatch.context() as patch:
                patch.setattr(Gathering, "complete", go_away_before)
                with pytest.raises(PeerUnreachable, match="which broke off, sent to others") as failure:
                    await estate.back_up(tree("a", "b"))
            assert "run the same again" in failure.value.hint
            wanted = {}
            await back_up(estate, tree("a", "b"), wanted, other)
            await assert_restores_from(estate, other, wanted, tmp_path)

    asyncio.run(scenario())


def test_who_has_nothing_of_what_broke_off_takes_part_in_a_prune_that_leaves_it(scene):
    house, other, tree, small, tmp_path = scene.house, scene.other, scene.tree, scene.small, scene.tmp_path

    async def scenario():
        async with scene.estate() as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), {})
            await back_up(estate, small("c"), wanted)
            await forget(estate, gone)
            await break_off(estate, tree("x", "y"), house)
            done = await prune(estate, keep_unfinished=True)
            assert (len(done.peers), done.left_out) == (2, [])
            assert deleted(other)
            await assert_restores_from(estate, other, wanted, tmp_path)

    asyncio.run(scenario())


# --- what only forgotten snapshots need
async def lag_behind_what_is_forgotten(estate, scene):
    """Have one host miss a backup that is forgotten afterwards, and one that is kept; return what is kept."""
    wanted, tree, small, house, other = {}, scene.tree, scene.small, scene.house, scene.other
    await back_up(estate, small("c"), wanted)
    estate.sight.away.add(other.peer)
    gone = await back_up(estate, tree("a", "b"), {}, house)
    await back_up(estate, small("c", "d"), wanted, house)
    assert owed_bytes(estate, other) > 3 * FILE
    await forget(estate, gone)
    assert FILE < owed_bytes(estate, other) < 2 * FILE, "from now on that is not owed"
    return wanted


def test_what_only_forgotten_snapshots_need_is_neither_copied_nor_said_to_lack(scene):
    house, other, small, tmp_path = scene.house, scene.other, scene.small, scene.tmp_path

    async def scenario():
        async with scene.estate() as estate:
            wanted = await lag_behind_what_is_forgotten(estate, scene)
            before, owed = held_bytes(other), owed_bytes(estate, other)
            (line,) = describe_lacking(estate.vault, estate.state)
            assert "`backup-peer backup` brings it up" in line
            estate.sight.away.clear()
            await back_up(estate, small("c", "d"), wanted)
            assert 0 < held_bytes(other) - before - owed < FILE, "what was owed, and the new list"
            assert not describe_lacking(estate.vault, estate.state)
            assert estate.vault.complete_hosts() == [house.peer, other.peer]
            await back_up(estate, small("c", "d", "e"), wanted, house)
            assert FILE < owed_bytes(estate, other) < 2 * FILE, "known of the next head, too"
            await back_up(estate, small("c", "d", "e"), wanted)
            await assert_restores_from(estate, other, wanted, tmp_path)
            shown = await plan(estate)
            done = await prune(estate)
            assert (shown.left_out, done.left_out) == ([], []), "who lacks what a prune drops takes part in it"
            assert deleted(house)
            assert not describe_lacking(estate.vault, estate.state)
            await assert_restores_from(estate, other, wanted, tmp_path)

    asyncio.run(scenario())


def test_a_file_that_comes_back_when_it_was_forgotten_is_whole_at_a_host_that_never_had_it(scene):
    house, other, tree, tmp_path = scene.house, scene.other, scene.tree, scene.tmp_path

    async def scenario():
        async with scene.estate() as estate:
            wanted = await lag_behind_what_is_forgotten(estate, scene)
            estate.sight.away.clear()
            await back_up(estate, tree("a", "b"), wanted)
            await assert_restores_from(estate, other, wanted, tmp_path)
            await prune(estate)
            await assert_restores_from(estate, other, wanted, tmp_path)
            await assert_restores_from(estate, house, wanted, tmp_path)

    asyncio.run(scenario())


def test_a_file_that_comes_back_while_a_host_is_away_is_owed_to_it_again(scene):
    house, other, tree, small, tmp_path = scene.house, scene.other, scene.tree, scene.small, scene.tmp_path

    async def scenario():
        async with scene.estate() as estate:
            wanted = await lag_behind_what_is_forgotten(estate, scene)
            await back_up(estate, tree("a", "b"), wanted, house)
            assert owed_bytes(estate, other) > 2 * FILE
            estate.sight.away.clear()
            await back_up(estate, small("c", "d"), wanted)
            await assert_restores_from(estate, other, wanted, tmp_path)

    asyncio.run(scenario())


@pytest.mark.parametrize("is_recovered", [False, True])
def test_what_nobody_needs_is_no_loss_when_the_only_host_that_had_it_is_gone(scene, is_recovered):
    house, other, small, tmp_path = scene.house, scene.other, scene.small, scene.tmp_path

    async def scenario():
        async with scene.estate() as estate:
            wanted = await lag_behind_what_is_forgotten(estate, scene)
            estate.sight.away.clear()
            await back_up(estate, small("c", "d"), wanted)
            forget_host(estate, house)
            if is_recovered:
                estate.lose_repository()
                assert estate.vault.owed.waste() is None, "it was counted by what was known then"
            estate.notes.clear()
            await assert_restores_from(estate, other, wanted, tmp_path)
            await back_up(estate, small("c", "d", "e"), wanted)
            assert not [note for note in estate.notes if "missing" in note]
            assert not estate.seen(other) & FAULTS
            await back_up(estate, small("c"), wanted)
            estate.lose_repository()
            await assert_restores_from(estate, other, wanted, tmp_path)
            assert not [note for note in estate.notes if "missing" in note]

    asyncio.run(scenario())


def test_what_is_really_lost_is_no_waste_though_it_is_in_no_known_pack(scene):
    house, other, small = scene.house, scene.other, scene.small

    async def scenario():
        async with scene.estate() as estate:
            wanted = await lag_behind_what_is_forgotten(estate, scene)
            estate.sight.away.clear()
            await back_up(estate, small("c", "d"), wanted)
            vault = estate.vault
            forget_host(estate, house)
            losses = await vault.ensure_whole()
            assert not losses, "waste is at nobody now, and that is no loss"
            lost = max(vault.owed.packs(), key=lambda pack: vault.repository.ledger.measure([pack]))
            stored = vault.repository.ledger.copy_at(lease_of(other), lost).stored
            lose(other, [path for path in packs_of(other) if path.name == stored.hex()])
            estate.lose_repository("ledger")
            assert estate.vault.owed.waste() is None
            estate.lose_repository()
            await estate.vault.refresh(next(iter(estate.vault.partners())), Reporter(estate._emit), lambda _: None)
            losses = await estate.vault.ensure_whole()
            assert losses.packs >= 1
            assert estate.vault.owed.waste() is None, "what was in it can't be told from what nobody needs"

    asyncio.run(scenario())


def test_a_forgotten_snapshot_that_is_had_back_is_owed_again_to_who_never_had_it(scene):
    house, other, small, tmp_path = scene.house, scene.other, scene.small, scene.tmp_path

    async def scenario():
        async with scene.estate() as estate:
            wanted = await lag_behind_what_is_forgotten(estate, scene)
            estate.sight.away.clear()
            await back_up(estate, small("c", "d"), wanted)
            listed = estate.snapshots()
            request = UndeleteRequest(servers=[], peer=format_peer_id(house.peer), all=True)
            async with reporting(estate._emit) as reporter:
                done = await UndeleteJob(estate.vault, request, reporter).run()
            assert (done.peers, [left.name for left in done.left_out]) == (
                [format_peer_id(house.peer)],
                [estate.vault.name(other.peer)],
            )
            (back,) = set(estate.snapshots()) - set(listed)
            assert owed_bytes(estate, other) > 2 * FILE
            await back_up(estate, small("c", "d"), wanted)
            assert owed_bytes(estate, other) == 0
            wanted[back] = contents(scene.tree("a", "b"))
            await assert_restores_from(estate, other, wanted, tmp_path)

    asyncio.run(scenario())


def test_of_waste_nothing_is_noted_while_the_list_of_packs_can_not_be_read_whole(scene):
    house = scene.house

    async def scenario():
        async with scene.estate() as estate:
            await lag_behind_what_is_forgotten(estate, scene)
            vault = estate.vault
            assert vault.owed.waste()
            vault._state.put_setting("packs.waste", b"")
            vault.repository.cache.drop([vault.heads.newest()[0].index])
            estate.sight.away.add(house.peer)
            await vault.learn_waste()
            assert vault.owed.waste() is None
            estate.sight.away.clear()
            await vault.learn_waste()
            assert vault.owed.waste()

    asyncio.run(scenario())
