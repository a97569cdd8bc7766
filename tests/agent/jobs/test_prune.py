"""`prune` with hosts: what goes, what stays, beside backups, and killed at each of its steps."""

import asyncio
import random
from functools import partial
from types import SimpleNamespace

import pytest

from agent.estates import estate_of
from agent.houses import HostHouse
from agent.jobs.pruning import LARGE, _large, host_fixture, tree_fixture  # noqa: F401 - a fixture
from backuppeer.agent.commands.amend import AmendCommands
from backuppeer.agent.commands.prune import PruneCommands
from backuppeer.agent.home.config import read_config
from backuppeer.agent.jobs import prune as prune_module
from backuppeer.agent.jobs.prune import PruneJob
from backuppeer.agent.owner import gathering as gathering_module
from backuppeer.agent.owner import rebuild as rebuild_module
from backuppeer.agent.owner.clearing import Cleared
from backuppeer.agent.owner.heads import HeadChain
from backuppeer.control.amendments import ForgetRequest
from backuppeer.control.pruning import SNAPSHOT_DIGITS, PruneRequest
from backuppeer.errors import IntegrityFault, LocalError, PeerUnreachable, RefusedError, Unavailable, UserError
from backuppeer.host.removals import Removals
from backuppeer.ids import format_peer_id
from backuppeer.repo.turnover import Turnover
from backuppeer.shares.ledger import Ledger
from backuppeer.trust.evidence import Kind

FAULTS = {Kind.INTEGRITY_FAULT, Kind.PROTOCOL_VIOLATION, Kind.AUTH_FAULT, Kind.REFUSED}
house, other, tree = host_fixture("roomy", b"h"), host_fixture("other", b"2"), tree_fixture("files")


def commands(estate, kind=PruneCommands):
    config = partial(read_config, estate.home)
    return kind(SimpleNamespace(owner=SimpleNamespace(vault=estate.vault), parts=None, config=config))


async def prune(estate, **wishes):
    return await commands(estate).prune(PruneRequest(agreed=True, **wishes), estate._emit)


async def plan(estate, **wishes):
    return await commands(estate).plan(PruneRequest(**wishes), estate._emit)


async def forget(estate, *snapshots):
    door = commands(estate, AmendCommands)
    request = ForgetRequest(snapshots=[snapshot.hex() for snapshot in snapshots])
    request.agreed = (await door.plan_forget(request, estate._emit)).digest
    return await door.forget(request, estate._emit)


def lease_of(house):
    (lease,) = house.premises.open().leases.list_all()
    return lease.agreement


def held(house):
    return {row.stored for row in house.premises.open().list_packs(lease_of(house), limit=2048)}


def deleted(house):
    rows = house.premises.open().removals.list_deleted(lease_of(house), after=b"", limit=2048)
    return {row.stored for row in rows}


def erase(house):
    store = house.premises.open()
    store.sweep.add_age(10**6)
    while store.sweep.run().packs:
        pass


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def assert_restores(estate, snapshot, wanted, target):
    done = await estate.restore(snapshot.hex(), target)
    assert done.errors == 0
    assert contents(target) == wanted


async def assert_whole(estate, tmp_path, wanted):
    """Everything that is listed comes back, here and in a home that knows only what the hosts say."""
    for number, (snapshot, files) in enumerate(wanted.items()):
        await assert_restores(estate, snapshot, files, tmp_path / f"out{number}{random.random()}")
    assert estate.snapshots() == list(wanted)
    estate.lose_repository()
    for number, (snapshot, files) in enumerate(wanted.items()):
        await assert_restores(estate, snapshot, files, tmp_path / f"again{number}{random.random()}")
    assert estate.snapshots() == list(wanted)
    assert estate.vault.is_whole()


async def back_up(estate, folder, wanted, *to):
    await estate.back_up(folder, *to)
    wanted[estate.snapshots()[-1]] = contents(folder)
    return estate.snapshots()[-1]


# --- what goes and what stays
def test_packs_that_nothing_needs_go_and_those_needed_in_part_are_packed_anew(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c", "d"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            assert not (await plan(estate)).delete_packs, "all is needed"
            await forget(estate, gone)
            del wanted[gone]
            shown = await plan(estate)
            assert (shown.repack_packs, shown.move_bytes > 600_000) == (1, True)
            before = held(house)
            done = await prune(estate)
            assert done.peers == [format_peer_id(house.peer), format_peer_id(other.peer)]
            assert (done.deleted_packs, done.repacked_packs) == (shown.delete_packs, shown.repack_packs)
            assert [row.bytes for row in done.hosts] == [row.bytes for row in shown.hosts]
            assert deleted(house) == before - held(house)
            assert len(deleted(house)) == done.deleted_packs + done.repacked_packs
            again = await plan(estate)
            assert (again.repack_packs, again.delete_packs) == (0, 0)
            for each in (house, other):
                erase(each)
            await assert_whole(estate, tmp_path, wanted)
            assert not (estate.seen(house) | estate.seen(other)) & FAULTS
            await back_up(estate, tree("a", "x", "y"), wanted)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_a_plan_without_some_snapshots_is_that_of_when_they_are_forgotten_and_only_a_plan(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            gone = await back_up(estate, tree("a", "b", "c"), {})
            await back_up(estate, tree("a", "x"), {})
            nothing = await plan(estate)
            assert nothing.delete_packs == nothing.repack_packs == 0
            without = [gone.hex()[:SNAPSHOT_DIGITS]]
            shown = await plan(estate, without=without)
            with pytest.raises(UserError, match="only a plan"):
                await prune(estate, without=without)
            await forget(estate, gone)
            after = await plan(estate)
            assert shown.delete_packs + shown.repack_packs > 0
            assert (shown.repack_packs, shown.move_bytes) == (after.repack_packs, after.move_bytes)

    asyncio.run(scenario())


def test_a_second_prune_finds_nothing_to_do_and_makes_no_head(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            shown = await plan(estate)
            assert (shown.delete_packs, shown.repack_packs, shown.kept_packs) == (0, 0, 1)
            await back_up(estate, tree("x"), wanted)
            await forget(estate, gone)
            await prune(estate)
            number = estate.vault.heads.newest()[0].number
            for _ in range(2):
                done = await prune(estate)
                assert (done.deleted_packs, done.sent_bytes) == (0, 0)
            assert estate.vault.heads.newest()[0].number == number

    asyncio.run(scenario())


def test_waste_may_stay_and_what_is_sent_may_be_limited(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            await forget(estate, gone)
            assert (await plan(estate, max_unused_permille=1000)).repack_packs == 0
            assert (await plan(estate, max_unused_bytes=10**9)).repack_packs == 0
            assert (await plan(estate, max_unused_bytes=0)).repack_packs >= 1
            held_back = await plan(estate, max_repack_bytes=1000)
            assert (held_back.repack_packs, held_back.held_back > 0) == (0, True)

    asyncio.run(scenario())


def test_many_small_packs_are_joined_on_demand(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            for number in range(4):
                await back_up(estate, tree(*"abcd"[: number + 1]), wanted)
            before = len(held(house))
            done = await prune(estate, repack_small=True)
            assert done.repacked_packs == before
            assert len(held(house)) < before
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_an_unfinished_backup_is_no_waste_if_a_person_wants_to_go_on_from_it(house, owner, tree, tmp_path, monkeypatch):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            await back_up(estate, tree("a"), wanted)

            monkeypatch.setattr(HeadChain, "extend", lambda *_: (_ for _ in ()).throw(LocalError("killed")))
            with pytest.raises(LocalError):
                await estate.back_up(tree("a", "b"))
            monkeypatch.undo()
            monkeypatch.setattr(HostHouse, "wish", LARGE)
            before = held(house)
            shown = await plan(estate, keep_unfinished=True)
            assert (shown.delete_packs, shown.unfinished_packs) == (0, 0)
            await prune(estate, keep_unfinished=True)
            assert held(house) >= before
            sent = (await estate.back_up(tree("a", "b"))).sent_bytes
            assert sent < 600_000, "what was stored before is not sent again"

    asyncio.run(scenario())


# --- hosts that are away, full, or behind
def test_a_host_that_is_away_is_told_by_the_next_backup_and_keeps_what_is_needed(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            estate.sight.away.add(other.peer)
            done = await prune(estate)
            assert [left.peer_id for left in done.left_out] == [format_peer_id(other.peer)]
            assert [row.told for row in done.hosts] == [True, False]
            assert not deleted(other)
            estate.sight.away.clear()
            image = estate.photograph()
            estate.set_back(image)
            await back_up(estate, tree("a", "x", "y"), wanted)
            assert len(deleted(other)) == len(deleted(house)), "what to tell it was kept"
            estate.sight.away.add(house.peer)
            erase(other)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_with_no_host_there_nothing_is_pruned(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree("a"))
            estate.sight.away.add(house.peer)
            with pytest.raises(PeerUnreachable, match="nothing was pruned"):
                await prune(estate)

    asyncio.run(scenario())


def test_a_full_host_is_pruned_with_its_reserve_and_has_room_when_the_lock_is_over(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            await back_up(estate, tree("x"), wanted)
            store = house.premises.open()
            room = store.usage(lease_of(house)).free_bytes
            filler = store.quota.reserve(lease_of(house), room)
            filler.commit()
            with pytest.raises(RefusedError, match="full"):
                await estate.back_up(tree("x", "y"))
            await forget(estate, gone)
            del wanted[gone]
            shown = await plan(estate, max_unused_bytes=0)
            assert (shown.room_bytes, shown.repack_packs) == (0, 0), "no room to send anything"
            assert shown.delete_packs >= 1
            done = await prune(estate)
            assert done.deleted_packs == shown.delete_packs
            assert store.usage(lease_of(house)).free_bytes == 0, "deleted bytes count as used"
            erase(house)
            assert store.usage(lease_of(house)).free_bytes > 600_000
            await back_up(estate, tree("x", "y"), wanted)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_a_pack_that_can_not_be_read_stays_and_the_rest_goes(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            first = await back_up(estate, tree("a", "b"), wanted)
            second = await back_up(estate, tree("a", "c"), wanted)
            await back_up(estate, tree("a", "d"), wanted)
            await forget(estate, first)
            await forget(estate, second)
            store = house.premises.open()
            for stored in held(house):
                path = store._layout.pack(lease_of(house), stored)
                if path.stat().st_size > 1_200_000:
                    data = bytearray(path.read_bytes())
                    data[100:200_000] = bytes(199_900)
                    path.write_bytes(data)
                    break
            done = await prune(estate, max_unused_bytes=0)
            assert any("stays as it is" in note for note in estate.notes)
            assert done.deleted_packs + done.repacked_packs >= 1
            assert stored in held(house)

    asyncio.run(scenario())


def test_something_that_is_missing_ends_the_prune(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree("a"))
            packs = list(estate.vault.repository.index.packs())
            estate.vault.repository.index.turnover.forget(packs[:1])
            estate.vault.repository.index.turnover.follow(packs)
            with pytest.raises(IntegrityFault, match="nothing was pruned"):
                await prune(estate)
            assert not deleted(house)

    asyncio.run(scenario())


# --- beside a backup
def stop_before(monkeypatch, kind, name, entered, go_on):
    """Let a method wait, in its thread or task, until the test says so."""
    plain = getattr(kind, name)

    if asyncio.iscoroutinefunction(plain):

        async def waiting(*arguments, **options):
            entered.set()
            await go_on.wait()
            return await plain(*arguments, **options)

    else:
        loop = asyncio.get_running_loop()

        def waiting(*arguments, **options):
            loop.call_soon_threadsafe(entered.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
            return plain(*arguments, **options)

    monkeypatch.setattr(kind, name, waiting)


POINTS = {
    "before the count": (PruneJob, "_count"),
    "before the mark": (Turnover, "mark_leaving"),
    "before packing anew": (PruneJob, "_repack"),
    "before the list": (prune_module.Packer, "flush"),
}


@pytest.mark.parametrize(
    "point",
    [point if number == 0 else pytest.param(point, marks=pytest.mark.slow) for number, point in enumerate(POINTS)],
)
def test_a_backup_that_runs_wholly_within_a_prune_loses_nothing(house, owner, tree, tmp_path, monkeypatch, *, point):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            entered, go_on = asyncio.Event(), asyncio.Event()
            with monkeypatch.context() as patch:
                stop_before(patch, *POINTS[point], entered, go_on)
                work = asyncio.create_task(prune(estate, max_unused_bytes=0))
                await entered.wait()
                patch.undo()
                patch.setattr(HostHouse, "wish", LARGE)
                # "b" comes back, of which only packs that are about to go know anything.
                await back_up(estate, tree("a", "b", "x"), wanted)
                go_on.set()
                await work
            erase(house)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


@pytest.mark.parametrize("held_up", ["the archive", "the head"])
def test_a_prune_that_runs_beside_a_backup_waits_with_its_list_and_loses_nothing(
    house, owner, tree, tmp_path, monkeypatch, *, held_up
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            entered, go_on = asyncio.Event(), asyncio.Event()
            spot = (gathering_module.Gathering, "leave_head")
            if held_up == "the archive":
                spot = (prune_module.Packer, "finish")
            with monkeypatch.context() as patch:
                stop_before(patch, *spot, entered, go_on)
                async with estate.vault.busy:
                    backup = asyncio.create_task(estate.back_up(tree("a", "b", "x")))
                    await entered.wait()
                    patch.undo()
                    patch.setattr(HostHouse, "wish", LARGE)
                    files = contents(tmp_path / "files")
                    work = asyncio.create_task(prune(estate, max_unused_bytes=0))
                    await estate.hear("waiting for the backup", work)
                    go_on.set()
                    await backup
                await work
            wanted[estate.snapshots()[-1]] = files
            erase(house)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_a_backup_that_comes_while_the_list_is_stored_waits_and_is_not_refused(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            vault = estate.vault
            async with vault.writing_briefly(lambda: None):
                vault.check_idle()
            async with vault.busy:
                with pytest.raises(UserError, match="is running"):
                    vault.check_idle()
            async with vault.pruning:
                with pytest.raises(UserError, match="another prune"):
                    await prune(estate)

    asyncio.run(scenario())


def test_a_pack_stored_while_a_host_tells_what_it_has_is_not_taken_for_lost(house, owner, tree, tmp_path, monkeypatch):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            await back_up(estate, tree("a"), wanted)
            list_page, went = rebuild_module._list_page, []

            async def list_then_back_up(partner, after):
                page = await list_page(partner, after)
                if not went:
                    went.append(1)
                    await back_up(estate, tree("a", "b"), wanted)
                return page

            with monkeypatch.context() as patch:
                patch.setattr(rebuild_module, "_list_page", list_then_back_up)
                await plan(estate)
            assert not estate.seen(house) & FAULTS
            assert not any("gone" in note for note in estate.notes)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_a_backup_that_ends_while_the_count_runs_is_in_the_list_of_the_prune(house, owner, tree, tmp_path, monkeypatch):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            await back_up(estate, tree("a"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            entered, go_on = asyncio.Event(), asyncio.Event()
            with monkeypatch.context() as patch:
                stop_before(patch, PruneJob, "_repack", entered, go_on)
                work = asyncio.create_task(prune(estate, max_unused_bytes=0))
                await entered.wait()
                await back_up(estate, tree("a", "c"), wanted)
                # As a restore beside a backup may leave it: the index follows a head of before for a moment.
                index = estate.vault.repository.index
                index.set_snapshots(index.snapshots()[:-1])
                go_on.set()
                await work
            assert estate.snapshots() == list(wanted)
            erase(house)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_what_a_backup_within_a_prune_has_hosts_delete_is_not_taken_for_another_machine_s_doing(
    house, owner, tree, tmp_path, monkeypatch
):
    async def tell_nobody(*_):
        return Cleared()

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            with monkeypatch.context() as patch:
                patch.setattr(HostHouse, "wish", LARGE)
                patch.setattr(gathering_module, "clear_out", tell_nobody)
                gone = await back_up(estate, tree("a", "b"), wanted)
                await back_up(estate, tree("a"), wanted)
                await forget(estate, gone)
                await prune(estate, max_unused_bytes=0)
                also_gone = await back_up(estate, tree("a", "c"), wanted)
                await back_up(estate, tree("a", "d"), wanted)
                await forget(estate, also_gone)
            for snapshot in (gone, also_gone):
                del wanted[snapshot]
            assert not deleted(house)
            entered, go_on = asyncio.Event(), asyncio.Event()
            with monkeypatch.context() as patch:
                stop_before(patch, PruneJob, "_repack", entered, go_on)
                work = asyncio.create_task(prune(estate, max_unused_bytes=0))
                await entered.wait()
                await back_up(estate, tree("a", "d", "e"), wanted)
                before = deleted(house)
                assert before, "the backup had the host delete what was pending"
                go_on.set()
                await work
            assert before < deleted(house)
            erase(house)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_a_head_that_was_shown_before_a_backup_left_a_newer_one_there_breaks_no_promise(
    house, owner, tree, tmp_path, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await back_up(estate, tree("a"), {})
            ask = estate.vault.ask_head

            async def early(partner, waiting):
                held = await ask(partner, waiting)
                patch.undo()
                await back_up(estate, tree("a", "b"), {})
                return held

            with monkeypatch.context() as patch:
                patch.setattr(HostHouse, "wish", LARGE)
                patch.setattr(estate.vault, "ask_head", early)
                await plan(estate)
            assert estate.faults == []
            assert Kind.INTEGRITY_FAULT not in estate.seen(house)

    asyncio.run(scenario())


# --- killed
class Killed(BaseException):
    """Stands for the process that ends: nothing after it is done."""


DEATHS = {
    "at the mark": (Turnover, "mark_leaving"),
    "while packing anew": (prune_module.Packer, "flush"),
    "before the head": (HeadChain, "extend"),
    "before any host": (HeadChain, "leave_with"),
    "before the index": (Turnover, "drop"),
    "before the ledger": (Ledger, "doom"),
    "before hosts are told": (gathering_module, "clear_out"),
    "before the answer is noted": (Ledger, "settle"),
}


@pytest.mark.parametrize(
    "where",
    [pytest.param(where, marks=[] if "hosts are told" in where else pytest.mark.slow) for where in DEATHS],
)
def test_killed_at_any_step_nothing_is_lost_and_the_next_prune_finishes(
    house, owner, tree, tmp_path, monkeypatch, *, where
):
    def die(*_arguments, **_options):
        raise Killed

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            with monkeypatch.context() as patch:
                patch.setattr(*DEATHS[where], die)
                patch.setattr(HeadChain, "take_back", die)
                with pytest.raises(Killed):
                    await prune(estate, max_unused_bytes=0)
            estate.set_back(estate.photograph())
            for number, (snapshot, files) in enumerate(wanted.items()):
                await assert_restores(estate, snapshot, files, tmp_path / f"killed{number}")
            await back_up(estate, tree("a", "b", "x"), wanted)
            erase(house)
            await prune(estate, max_unused_bytes=0)
            erase(house)
            shown = await plan(estate, max_unused_bytes=10**6)
            assert (shown.delete_packs, shown.repack_packs) == (0, 0)
            assert [row.packs for row in shown.hosts] == [0]
            assert len(held(house)) == shown.packs, "the host keeps just what the list names"
            await assert_whole(estate, tmp_path, wanted)
            assert not estate.seen(house) & FAULTS

    asyncio.run(scenario())


@pytest.mark.parametrize("has_arrived", [False, True])
def test_a_head_that_no_host_acknowledged_is_taken_back_and_nothing_was_dropped(
    house, owner, tree, tmp_path, monkeypatch, *, has_arrived
):
    leave_with = HeadChain.leave_with

    async def lose_answer(chain, partner, *more):
        if has_arrived:
            await leave_with(chain, partner, *more)
        raise PeerUnreachable("it went away")

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            before = held(house)
            with monkeypatch.context() as patch:
                patch.setattr(HeadChain, "leave_with", lose_answer)
                with pytest.raises(Unavailable):
                    await prune(estate, max_unused_bytes=0)
            assert held(house) >= before
            assert not deleted(house)
            await back_up(estate, tree("a", "b", "x"), wanted)
            await assert_whole(estate, tmp_path, wanted)
            await prune(estate)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


# --- readers beside it
def test_a_restore_that_began_before_the_prune_reads_on_from_what_was_dropped(
    house, owner, tree, tmp_path, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            index = estate.vault.repository.index
            places = {blob: index.find(blob) for blob in index.blobs_of(1)}
            await forget(estate, gone)
            await prune(estate, max_unused_bytes=0)
            source = estate.vault.source()
            for place in places.values():
                await asyncio.to_thread(source.fetch, place.pack, [(place.entry.offset, place.sealed_bytes)])
                assert index.find(place.blob) is not None

    asyncio.run(scenario())


# --- homes that were set back, hosts that were told too much
def test_a_home_set_back_to_before_a_prune_follows_the_newer_head_and_relies_on_nothing_deleted(
    house, owner, tree, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            image = estate.photograph()
            await forget(estate, gone)
            del wanted[gone]
            await prune(estate, max_unused_bytes=0)
            estate.set_back(image)
            erase(house)
            await back_up(estate, tree("a", "b", "x"), wanted)
            await assert_whole(estate, tmp_path, wanted)
            assert not estate.seen(house) & {Kind.PROTOCOL_VIOLATION, Kind.AUTH_FAULT}

    asyncio.run(scenario())


def test_a_pack_that_a_later_head_names_again_is_revived(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            repository = estate.vault.repository
            await forget(estate, gone)
            packs = list(repository.index.packs())
            await prune(estate, max_unused_bytes=0)
            was_deleted = deleted(house)
            assert was_deleted
            # As an undelete does: the packs are in the list again, and so in the next head.
            with repository.index.turnover.relying():
                for pack in packs:
                    repository.index.register(pack, ())
                await back_up(estate, tree("a", "x", "y"), wanted)
            assert not deleted(house)
            assert was_deleted <= held(house)
            erase(house)
            assert was_deleted <= held(house)
            assert estate.vault.is_whole()

    asyncio.run(scenario())


def test_a_home_that_lost_its_index_and_ledger_finds_what_no_head_names_and_prunes_it(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            estate.sight.away.add(other.peer)
            await prune(estate, max_unused_bytes=0)
            erase(house)
            estate.sight.away.clear()
            estate.lose_repository()
            await assert_whole(estate, tmp_path, wanted)
            await back_up(estate, tree("a", "x", "y"), wanted)
            await prune(estate)
            erase(other)
            shown = await plan(estate)
            assert len(held(other)) == len(held(house)) == shown.packs
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_a_host_that_claims_to_keep_for_ever_is_believed_for_two_locks_and_no_more(
    house, owner, tree, tmp_path, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            await back_up(estate, tree("x"), wanted)
            await forget(estate, gone)
            monkeypatch.setattr(Removals, "delete", lambda *_: ([], 2**63 - 1))
            (row,) = (await prune(estate)).hosts
            assert (row.lock_s, row.told, row.doubled) == (120, True, True)

    asyncio.run(scenario())


def test_a_prune_of_much_says_beforehand_and_after_that_it_is_held_twice_as_long(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            await back_up(estate, tree("x", "y", "z"), wanted)
            await forget(estate, gone)
            (row,) = (await plan(estate, max_unused_bytes=0)).hosts
            assert (row.lock_s, row.doubled) == (120, True)
            (row,) = (await prune(estate, max_unused_bytes=0)).hosts
            assert (row.lock_s, row.doubled) == (120, True)
            rows = house.premises.open().removals.list_deleted(lease_of(house), after=b"", limit=9)
            assert {row.left_s for row in rows} == {120}
            now_ms = estate.vault.clock.now_ms()
            _, until_ms = estate.vault.repository.ledger.next_erased(lease_of(house), now_ms)
            assert until_ms - now_ms > 110_000, "the owner knows, too"
            (alarm,) = house.premises.open().removals.list_alarms()
            assert alarm.percent > 10

    asyncio.run(scenario())


def test_a_prune_of_little_is_held_as_agreed(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            names = [f"n{number}" for number in range(16)]
            await back_up(estate, tree(*names), wanted)
            gone = await back_up(estate, tree(*names, "x"), wanted)
            await back_up(estate, tree(*names), wanted)
            await forget(estate, gone)
            (row,) = (await plan(estate)).hosts
            assert (row.packs > 0, row.lock_s, row.doubled) == (True, 60, False)
            (row,) = (await prune(estate)).hosts
            assert (row.lock_s, row.doubled) == (60, False)
            assert house.premises.open().removals.list_alarms() == []

    asyncio.run(scenario())


def test_a_home_that_may_only_read_and_a_wish_without_a_yes_prune_nothing(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree("a"))
            with pytest.raises(UserError, match="needs a yes"):
                await commands(estate).prune(PruneRequest(), estate._emit)
            (estate.home.path / "keys" / "grant").unlink()
            estate.restart()
            for step in (prune, plan):
                with pytest.raises(RefusedError, match="may only read"):
                    await step(estate)

    asyncio.run(scenario())


def test_a_person_who_leaves_while_packs_are_packed_anew_finds_everything_as_before(
    house, owner, tree, tmp_path, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b", "c"), wanted)
            await back_up(estate, tree("a", "x"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            entered, go_on = asyncio.Event(), asyncio.Event()
            with monkeypatch.context() as patch:
                stop_before(patch, PruneJob, "_repack", entered, go_on)
                work = asyncio.create_task(prune(estate, max_unused_bytes=0))
                await entered.wait()
                work.cancel()
                go_on.set()
                await asyncio.gather(work, return_exceptions=True)
            assert work.cancelled()
            assert not deleted(house)
            await back_up(estate, tree("a", "b", "x"), wanted)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())
