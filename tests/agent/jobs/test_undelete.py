"""Snapshots that were forgotten and pruned, by whomever, put back as long as hosts hold their packs."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.estates import estate_of
from agent.houses import FAULTS, HostHouse
from agent.jobs.test_prune import (
    LARGE,
    assert_restores,
    back_up,
    deleted,
    erase,
    forget,
    held,
    prune,
)
from backuppeer.agent.commands.undelete import UndeleteCommands
from backuppeer.agent.jobs.undelete import UndeleteJob
from backuppeer.agent.owner import gathering as gathering_module
from backuppeer.agent.owner.clearing import Cleared
from backuppeer.agent.owner.ending import Ending
from backuppeer.control.undeleting import UndeleteRequest
from backuppeer.errors import (
    IncompleteError,
    IntegrityFault,
    NotFoundError,
    PeerUnreachable,
    RefusedError,
    UserError,
)
from backuppeer.ids import format_peer_id
from backuppeer.limits import MIB
from backuppeer.trust.evidence import Kind
from noise import noise


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    monkeypatch.setattr(HostHouse, "wish", LARGE)


@pytest.fixture
def house(tmp_path):
    made = HostHouse(tmp_path / "roomy", b"h", offered_bytes=1024 * MIB)
    yield made
    made.close()


@pytest.fixture
def other(tmp_path):
    made = HostHouse(tmp_path / "other", b"2", offered_bytes=1024 * MIB)
    yield made
    made.close()


@pytest.fixture
def tree(tmp_path):

    folder = tmp_path / "files"
    folder.mkdir()

    def be(*names: str):
        for path in folder.iterdir():
            path.unlink()
        for name in names:
            (folder / name).write_bytes(noise(name, 600_000))
        return folder

    return be


def door(estate):
    return UndeleteCommands(SimpleNamespace(owner=SimpleNamespace(vault=estate.vault)))


def wish(house, *snapshots, **more):
    return UndeleteRequest(peer=format_peer_id(house.peer), snapshots=[s.hex()[:12] for s in snapshots], **more)


async def undelete(estate, house, *snapshots, **more):
    return await door(estate).undelete(wish(house, *snapshots, **more), estate._emit)


async def shown(estate, house):
    return await door(estate).list_all(wish(house), estate._emit)


async def destroy(estate, *houses):
    """Forget and prune everything, as who has the keys can."""
    names = estate.snapshots()
    await forget(estate, *names)
    await prune(estate, max_unused_bytes=0)
    assert not estate.snapshots()
    return names


def end_with(estate, house):
    return Ending(estate.state, estate.vault._keys, estate.vault.clock, reach=estate.sight).end_once(house.peer)


def test_a_host_whose_agreement_the_person_ended_gets_nothing_with_it(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            wanted = {}
            first = await back_up(estate, tree("a"), wanted, house)
            await end_with(estate, other)
            await back_up(estate, tree("b"), wanted, house)
            await forget(estate, first)
            await prune(estate, max_unused_bytes=0)
            assert not held(other)
            done = await undelete(estate, house, first)
            assert (done.snapshots, done.left_out) == ([first.hex()], [])
            assert not held(other)

    asyncio.run(scenario())


def test_a_snapshot_that_nobody_has_is_told_before_anything_is_copied(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            wanted = {}
            first = await back_up(estate, tree("a"), wanted, house)
            await back_up(estate, tree("b"), wanted, house)
            await forget(estate, first)
            await prune(estate, max_unused_bytes=0)
            # By now the other one lags behind again.
            await back_up(estate, tree("b", "c"), wanted, house)
            before = held(other)
            with pytest.raises(NotFoundError, match="among what can be had back"):
                await undelete(estate, house, bytes(32))
            assert held(other) == before

    asyncio.run(scenario())


def test_what_the_owner_itself_forgot_and_pruned_comes_back_whole(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            first = await back_up(estate, tree("a", "b"), wanted)
            second = await back_up(estate, tree("b", "c"), wanted)
            await destroy(estate)
            gone = deleted(house)
            plan = await shown(estate, house)
            assert [row.snapshot for row in plan.snapshots] == [first.hex(), second.hex()]
            assert (plan.packs, plan.unreadable) == (len(gone), 0)
            assert plan.first <= plan.last
            done = await undelete(estate, house, second)
            assert (done.snapshots, done.incomplete, done.kept) == ([second.hex()], [], 1)
            assert done.packs > 0
            assert estate.snapshots() == [second]
            assert deleted(house), "what only the first one needs goes its way"
            done = await undelete(estate, house, all=True)
            assert done.snapshots == [first.hex()]
            assert estate.snapshots() == [first, second], "in its place of time"
            erase(house)
            for snapshot in (first, second):
                await assert_restores(estate, snapshot, wanted[snapshot], tmp_path / snapshot.hex()[:8])
            third = await estate.back_up(tree("b", "c"))
            assert third.new_bytes < 300_000, "what came back is relied on again"

    asyncio.run(scenario())


def test_a_home_of_before_the_theft_blames_nobody_and_is_told_what_can_be_had_back(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            first = await back_up(estate, tree("a", "b"), wanted)
            image = estate.photograph()
            await destroy(estate)
            estate.set_back(image)
            estate.notes.clear()
            assert estate.snapshots() == [first]
            plan = await shown(estate, house)
            assert [row.snapshot for row in plan.snapshots] == [first.hex()]
            assert any("another machine with your keys" in note for note in estate.notes)
            assert any("peers undelete" in note for note in estate.notes)
            assert not estate.seen(house) & FAULTS, "it did what our own keys asked for"
            await undelete(estate, house, first)
            await assert_restores(estate, first, wanted[first], tmp_path / "out")

    asyncio.run(scenario())


def test_a_pack_that_is_neither_listed_nor_deleted_is_lost_as_before(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            await back_up(estate, tree("a", "b"), wanted)
            image = estate.photograph()
            await destroy(estate)
            erase(house)
            estate.set_back(image)
            plan = await shown(estate, house)
            assert (plan.packs, plan.snapshots) == (0, [])
            assert estate.seen(house) & FAULTS == {Kind.INTEGRITY_FAULT}

    asyncio.run(scenario())


@pytest.mark.parametrize("lost", [("index",), ("ledger",), ("index", "trees", "ledger")])
def test_without_what_the_home_knew_it_comes_from_the_packs_alone(house, owner, tree, tmp_path, lost):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            first = await back_up(estate, tree("a", "b"), wanted)
            await destroy(estate)
            estate.lose_repository(*lost)
            assert [row.snapshot for row in (await shown(estate, house)).snapshots] == [first.hex()]
            await undelete(estate, house, first)
            erase(house)
            await assert_restores(estate, first, wanted[first], tmp_path / "out")

    asyncio.run(scenario())


def test_what_is_erased_in_part_stays_out_and_the_rest_comes_back(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            first = await back_up(estate, tree("a"), wanted)
            await forget(estate, first)
            second = await back_up(estate, tree("b"), wanted)
            await prune(estate, max_unused_bytes=0)
            house.premises.open().sweep.add_age(100)
            await destroy(estate)
            house.premises.open().sweep.add_age(100)
            while house.premises.open().sweep.run().packs:
                pass
            assert deleted(house)
            done = await undelete(estate, house, all=True)
            assert done.snapshots == [second.hex()]
            await assert_restores(estate, second, wanted[second], tmp_path / "out")
            erase(house)
            with pytest.raises(NotFoundError, match="nothing to have back"):
                await undelete(estate, house, all=True)

    asyncio.run(scenario())


def test_two_hosts_take_back_what_each_holds_and_one_that_is_away_later(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            wanted = {}
            first = await back_up(estate, tree("a", "b"), wanted)
            await destroy(estate)
            before = {one.peer: deleted(one) for one in (house, other)}
            assert all(before.values())
            estate.sight.away.add(other.peer)
            done = await undelete(estate, house, first)
            assert [row.name for row in done.left_out] == [estate.vault.name(other.peer)]
            assert deleted(other) == before[other.peer]
            estate.sight.away.clear()
            await back_up(estate, tree("a", "b", "c"), wanted)
            estate.sight.away.add(house.peer)
            await assert_restores(estate, first, wanted[first], tmp_path / "out")

    asyncio.run(scenario())


def test_killed_between_head_and_revive_it_is_done_with_the_next_head(house, owner, tree, tmp_path, monkeypatch):
    async def tell_nobody(*_):
        return Cleared()

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            first = await back_up(estate, tree("a", "b"), wanted)
            await destroy(estate)
            with monkeypatch.context() as patch:
                patch.setattr(gathering_module, "clear_out", tell_nobody)
                with pytest.raises(IncompleteError, match="no host has yet said"):
                    await undelete(estate, house, first)
            assert estate.snapshots() == [first]
            await back_up(estate, tree("a", "b", "c"), wanted)
            erase(house)
            await assert_restores(estate, first, wanted[first], tmp_path / "out")

    asyncio.run(scenario())


def test_when_no_host_takes_the_head_nothing_was_changed(house, owner, tree, tmp_path, monkeypatch):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            first = await back_up(estate, tree("a", "b"), wanted)
            await destroy(estate)
            before = deleted(house), held(house)
            packs = set(estate.vault.repository.index.packs())

            def refuse(*_):
                raise RefusedError("no")

            with monkeypatch.context() as patch:
                patch.setattr(type(house.premises), "put_head", refuse)
                with pytest.raises(RefusedError):
                    await undelete(estate, house, first)
            assert estate.snapshots() == []
            assert deleted(house) == before[0]
            assert packs <= set(estate.vault.repository.index.packs())
            await undelete(estate, house, first)
            await assert_restores(estate, first, wanted[first], tmp_path / "out")

    asyncio.run(scenario())


def test_a_snapshot_that_lives_on_under_other_tags_is_not_among_the_deleted(house, owner, tree, tmp_path):
    from agent.jobs.test_amend import tag  # noqa: PLC0415 - of this test alone

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            first = await back_up(estate, tree("a"), wanted)
            await tag(estate, first, add=["kept"])
            assert (await shown(estate, house)).snapshots == []
            await destroy(estate)
            (row,) = (await shown(estate, house)).snapshots
            assert row.tags == ["kept"]

    asyncio.run(scenario())


def test_what_can_not_be_meant_is_refused_before_any_host_is_asked(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            first = await back_up(estate, tree("a"), wanted)
            with pytest.raises(UserError, match="or all"):
                await undelete(estate, house)
            with pytest.raises(UserError, match="or all"):
                await undelete(estate, house, first, all=True)
            with pytest.raises(NotFoundError):
                await door(estate).undelete(UndeleteRequest(peer="bob", all=True), estate._emit)
            async with estate.vault.pruning:
                with pytest.raises(UserError, match="a prune is running"):
                    await undelete(estate, house, all=True)
            await destroy(estate)
            with pytest.raises(NotFoundError, match="among what can be had back"):
                await door(estate).undelete(
                    UndeleteRequest(peer=format_peer_id(house.peer), snapshots=["abcd1234"]), estate._emit
                )
            estate.sight.away.add(house.peer)
            with pytest.raises(PeerUnreachable):
                await undelete(estate, house, first)
            with pytest.raises(PeerUnreachable):
                await shown(estate, house)

    asyncio.run(scenario())


def test_packs_that_are_nowhere_in_the_end_are_told(house, owner, tree, tmp_path, monkeypatch):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            first = await back_up(estate, tree("a", "b"), wanted)
            await destroy(estate)
            plain = UndeleteJob._put_back

            async def too_late(job, salvage, partners):
                erase(house)
                return await plain(job, salvage, partners)

            monkeypatch.setattr(UndeleteJob, "_put_back", too_late)
            with pytest.raises(IntegrityFault, match="erased just now"):
                await undelete(estate, house, first)

    asyncio.run(scenario())
