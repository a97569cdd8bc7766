"""Work that broke off: pruned at once, beside what heads name, killed at each step, and raced by a thief."""

import asyncio
import random

import pytest

from agent.estates import estate_of
from agent.houses import HostHouse
from agent.jobs.pruning import LARGE, _large, host_fixture, tree_fixture  # noqa: F401 - a fixture
from agent.jobs.test_prune import (
    assert_whole,
    back_up,
    deleted,
    forget,
    held,
    lease_of,
    plan,
    prune,
)
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.jobs.backup import BackupJob
from backuppeer.agent.owner import gathering as gathering_module
from backuppeer.agent.owner.heads import HeadChain
from backuppeer.agent.owner.lagging import describe_lacking
from backuppeer.agent.owner.leveling import Leveling
from backuppeer.agent.owner.vault import Vault
from backuppeer.errors import DamagedStateError, LocalError, PeerUnreachable, RefusedError, StoreUnavailable
from backuppeer.host.graveyard import Graveyard
from backuppeer.host.quota import Quota
from backuppeer.ids import format_peer_id
from backuppeer.limits import MIB, PACKS_IN_FLIGHT
from backuppeer.proof.removals import NO_HEAD, PackWithdraw, sign_removal
from backuppeer.repo.index import Index
from backuppeer.repo.turnover import Turnover
from backuppeer.shares.ledger import Ledger
from backuppeer.wire.messages import FindDrafts, Unsupported

house, other, tree = host_fixture("roomy", b"h"), host_fixture("other", b"2"), tree_fixture("files")
small = tree_fixture("small")
"""Another folder as `tree`."""


@pytest.fixture
def hosts(house, other):
    return house, other


async def break_off(estate, folder, *to):
    """Make a backup that is killed when all its packs are durable, and nothing names them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Index, "add_snapshot", lambda *_: (_ for _ in ()).throw(LocalError("killed")))
        with pytest.raises(LocalError):
            await estate.back_up(folder, *to)


def test_a_first_backup_that_broke_off_goes_whole_and_at_once(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await break_off(estate, tree("a", "b"))
            packs, shown = held(house), await plan(estate)
            assert (shown.unfinished_packs, shown.delete_packs) == (len(packs), 0)
            assert [row.at_once_bytes == row.bytes > 1_200_000 for row in shown.hosts] == [True, True]
            done = await prune(estate)
            assert done.unfinished_packs == len(packs)
            assert [row.at_once_bytes for row in done.hosts] == [row.at_once_bytes for row in shown.hosts]
            assert not held(house) | held(other) | deleted(house) | deleted(other)
            assert house.premises.open().usage(lease_of(house)).used_bytes == 0
            assert estate.vault.heads.newest() is None
            again = await prune(estate)
            assert (again.unfinished_packs, again.freed_bytes) == (0, 0)
            wanted = {}
            await back_up(estate, tree("a", "b"), wanted)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_what_broke_off_still_goes_at_once_when_smaller_backups_and_tags_stood_since(
    house, owner, tree, small, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await break_off(estate, tree("a", "b"))
            left, wanted = held(house), {}
            await back_up(estate, small("c"), wanted)
            await back_up(estate, small("c", "d"), wanted)
            await break_off(estate, tree("e"))
            await forget(estate, await back_up(estate, small("f"), {}))
            assert left <= held(house)
            (line,) = describe_lacking(estate.vault, estate.state)
            assert "MB at your hosts is of backups that broke off" in line, "status says so until it is pruned"
            done = await prune(estate)
            assert describe_lacking(estate.vault, estate.state) == []
            assert done.unfinished_packs >= 2
            assert not left & (held(house) | deleted(house)), "no head ever named them, so no lock holds them"
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_a_pack_whose_acknowledgement_was_lost_is_named_by_no_first_backup_that_does_not_need_it(
    house, owner, tree, small, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Ledger, "register_copy", lambda *_: (_ for _ in ()).throw(LocalError("killed")))
                with pytest.raises(LocalError):
                    await estate.back_up(tree("a", "b"))
            left, wanted = held(house), {}
            assert left
            await back_up(estate, small("c"), wanted)
            await back_up(estate, small("c", "d"), wanted)
            await prune(estate)
            assert not left & (held(house) | deleted(house))
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_a_smaller_backup_in_between_takes_nothing_from_what_a_broken_one_goes_on_from(
    house, owner, tree, small, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            await break_off(estate, tree("a", "b"))
            await back_up(estate, small("c"), wanted)
            stored = held(house)
            await back_up(estate, tree("a", "b"), wanted)
            assert len(held(house) - stored) == 1, "it goes on: what it needs is there but for the list"
            assert (await plan(estate)).unfinished_packs == 0
            await prune(estate)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_what_a_snapshot_needs_of_it_stays_and_what_a_head_named_waits_for_its_lock(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            before = held(house)
            await forget(estate, gone)
            listed = held(house)
            await break_off(estate, tree("x", "y"))
            done = await prune(estate)
            assert done.unfinished_packs > 0
            assert done.deleted_packs > 0
            assert done.hosts[0].at_once_bytes < done.hosts[0].bytes
            assert done.hosts[0].lock_s == 120, "twice the lock: more than a tenth of it"
            assert deleted(house) & before == deleted(house) - (listed - before), "only what heads named has a lock"
            assert before <= deleted(house) | held(house)

    asyncio.run(scenario())


def test_what_is_kept_is_no_waste_after_any_number_of_prunes(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            await back_up(estate, tree("a"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            await break_off(estate, tree("a", "x", "y"))
            before = held(house)
            assert (await prune(estate, keep_unfinished=True)).repacked_packs == 1, "so there is a new head"
            again = await prune(estate, keep_unfinished=True)
            assert (again.deleted_packs, again.unfinished_packs) == (0, 0)
            assert len(before & held(house)) >= 1
            assert (await estate.back_up(tree("a", "x", "y"))).sent_bytes < 600_000, "it goes on"
            assert (await plan(estate)).unfinished_packs == 0

    asyncio.run(scenario())


def test_a_host_that_is_away_erases_it_when_it_is_back_and_has_no_later_head(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await break_off(estate, tree("a", "b"))
            estate.sight.away.add(other.peer)
            await prune(estate)
            assert not held(house)
            left = held(other)
            assert left
            estate.sight.away.clear()
            wanted = {}
            await back_up(estate, tree("x"), wanted)
            assert not left & (held(other) | deleted(other)), "erased before the head was left there"
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_what_broke_off_at_a_host_that_lags_goes_at_once_too_as_no_head_that_it_missed_named_it(
    hosts, owner, tree, small, tmp_path
):
    house, other = hosts

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            wanted = {}
            await back_up(estate, small("c"), wanted)
            before = held(other)
            await back_up(estate, small("c", "d"), wanted, house)
            await back_up(estate, small("c", "d", "e"), wanted, house)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Leveling, "bring_up", _bring_nothing)
                await break_off(estate, tree("a", "b"), other)
            rows = other.premises.open().list_packs(lease_of(other), limit=2048)
            left = {row.stored for row in rows if row.stored not in before and row.size > 1_200_000}
            assert left
            await back_up(estate, small("c", "d"), wanted)
            assert left <= held(other), "three heads at once were brought to it"
            shown = await plan(estate)
            assert shown.hosts[1].at_once_bytes == shown.unfinished_bytes > 1_200_000
            done = await prune(estate)
            assert done.hosts[1].at_once_bytes == shown.hosts[1].at_once_bytes
            assert not left & (held(other) | deleted(other))
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


async def _bring_nothing(*_, **__):
    return None


def test_a_host_that_forgot_what_is_new_is_planned_with_its_lock_and_one_of_before_with_either(
    house, other, owner, tree, tmp_path
):
    answer_one = Serving._answer_one

    async def of_before(serving, peer, channel, message):
        if isinstance(message, FindDrafts):
            await channel.send(Unsupported(type=64))
        else:
            await answer_one(serving, peer, channel, message)

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await break_off(estate, tree("a", "b"))
            store = house.premises.open()
            store.removals.graveyard._run(lambda db: db.execute("UPDATE packs SET upon = NULL"))
            shown = await plan(estate)
            assert [(row.at_once_bytes == 0, row.bytes > 1_200_000, row.unclear_bytes) for row in shown.hosts] == [
                (True, True, 0),
                (False, True, 0),
            ]
            done = await prune(estate)
            assert [row.at_once_bytes for row in done.hosts] == [row.at_once_bytes for row in shown.hosts]
            await back_up(estate, tree("c"), {})
            await break_off(estate, tree("d"))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Serving, "_answer_one", of_before)
                shown = await plan(estate)
            assert [row.unclear_bytes > 600_000 and not row.at_once_bytes for row in shown.hosts] == [True, True]

    asyncio.run(scenario())


POINTS = [(Turnover, "drop"), (Ledger, "doom"), (Vault, "sign_removal"), (Ledger, "forget_copies")]


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point[1])
def test_killed_anywhere_the_next_prune_finishes_and_the_next_backup_is_whole(house, owner, tree, tmp_path, point):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            await back_up(estate, tree("a"), wanted)
            kept = held(house)
            await break_off(estate, tree("a", "b", "c"))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(*point, lambda *_, **__: (_ for _ in ()).throw(RuntimeError("killed")))
                with pytest.raises(RuntimeError):
                    await prune(estate)
            estate.set_back(estate.photograph())
            await prune(estate)
            assert held(house) == kept
            await back_up(estate, tree("a", "b", "c"), wanted)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_what_a_backup_beside_it_relies_on_is_not_unfinished(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await break_off(estate, tree("a", "b"))
            index = estate.vault.repository.index
            with index.turnover.relying():
                index.turnover.rely_on_all()
                assert (await plan(estate)).unfinished_packs == 0
                before = held(house)
                await prune(estate)
                assert held(house) == before
            assert (await plan(estate)).unfinished_packs > 0

    asyncio.run(scenario())


def test_a_full_host_ends_a_backup_with_how_much_a_prune_frees(house, owner, tree, tmp_path, monkeypatch):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            reserve = Quota.reserve

            def reserve_until_one_is_durable(quota, agreement, size_bytes, **options):
                if held(house):
                    raise RefusedError("the agreement is full: 0 B free now")
                return reserve(quota, agreement, size_bytes, **options)

            monkeypatch.setattr(Quota, "reserve", reserve_until_one_is_durable)
            # More packs than are under way at once: one of them asks when another is durable.
            names = [f"f{number}" for number in range((PACKS_IN_FLIGHT + 3) * 16 * MIB // 600_000)]
            with pytest.raises(RefusedError, match="full") as told:
                await estate.back_up(tree(*names))
            (row,) = (await plan(estate)).hosts
            assert row.at_once_bytes > 15 * MIB
            assert f"`backup-peer prune` frees {row.at_once_bytes / 1e6:.1f}"[:-2] in told.value.hint
            assert "at once" in told.value.hint
            store = house.premises.open()
            store.removals.graveyard._run(lambda db: db.execute("UPDATE packs SET upon = NULL"))
            with pytest.raises(RefusedError, match="full") as told:
                await estate.back_up(tree("g"))
            assert "after its lock of 1 m" in told.value.hint, "it says so itself"
            assert "at once" not in told.value.hint

    asyncio.run(scenario())


def steal(estate, house, number=0):
    """Withdraw all drafts as somebody with a copy of the owner's keys would."""
    store, agreement = house.premises.open(), lease_of(house)
    packs = sorted(held(house))
    head = store.heads.name_held(agreement)
    signed = sign_removal(PackWithdraw, packs, estate.vault._keys.identity, agreement=agreement, head=head, time_ms=1)
    assert (head == NO_HEAD) == (number == 0)
    taken = store.removals.withdraw(agreement, signed, packs)
    while store.sweep.run().packs:
        pass
    return taken


def test_a_thief_who_withdraws_what_a_backup_has_just_stored_is_found_out_before_it_counts(
    house, owner, tree, tmp_path, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            seal = BackupJob._seal

            async def robbed(job, *given):
                assert steal(estate, house)
                return await seal(job, *given)

            with monkeypatch.context() as patch:
                patch.setattr(BackupJob, "_seal", robbed)
                with pytest.raises(DamagedStateError, match="another machine with your keys"):
                    await estate.back_up(tree("a", "b"))
            # The same again heals it: what the host has lost is seen, and sent from the files.
            wanted = {}
            await back_up(estate, tree("a", "b"), wanted)
            assert steal(estate, house, number=1) == [], "and what a head names can't be taken back by anybody"
            target = tmp_path / "out"
            assert (await estate.restore("latest", target)).errors == 0

    asyncio.run(scenario())


def test_a_pack_whose_acknowledgement_was_lost_with_the_agent_is_erased_at_once_too(
    house, owner, tree, tmp_path, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            await back_up(estate, tree("a"), wanted)
            before = held(house)
            with monkeypatch.context() as patch:
                patch.setattr(HostHouse, "wish", LARGE)
                # Killed when the host has the pack, and nothing here knows of it.
                patch.setattr(Ledger, "register_copy", lambda *_: (_ for _ in ()).throw(LocalError("killed")))
                with pytest.raises(LocalError):
                    await estate.back_up(tree("a", "b"))
            late = held(house) - before
            assert late
            shown = await plan(estate)
            assert (shown.unlisted_packs, shown.unlisted_bytes) == (1, shown.hosts[0].bytes)
            await prune(estate)
            assert held(house) == before
            assert not deleted(house)
            await back_up(estate, tree("a", "b"), wanted)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def full_disk(*_, **__):
    raise StoreUnavailable("the disk of the store is full")


@pytest.mark.parametrize("is_reopened", [False, True])
def test_a_host_whose_disk_is_full_between_a_request_and_its_rows_is_no_thief_s_work(
    house, owner, tree, tmp_path, monkeypatch, *, is_reopened
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            gone = await back_up(estate, tree("a", "b"), wanted)
            await back_up(estate, tree("c"), wanted)
            await forget(estate, gone)
            del wanted[gone]
            await break_off(estate, tree("x", "y"))
            leave = HeadChain.leave_with

            async def reopened(chain, partner, *more):
                patch.undo()
                if is_reopened:  # as when the disk was away for a moment: what is kept is done now
                    house.premises.close()
                return await leave(chain, partner, *more)

            with monkeypatch.context() as patch:
                patch.setattr(HostHouse, "wish", LARGE)
                patch.setattr(Graveyard, "withdraw", full_disk)
                patch.setattr(HeadChain, "leave_with", reopened)
                await prune(estate)
            await back_up(estate, tree("c", "d"), wanted)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_a_host_that_could_do_nothing_of_what_a_prune_asked_is_left_out_and_the_next_backup_no_alarm(
    house, owner, tree, tmp_path, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            await back_up(estate, tree("a", "b"), wanted)
            await break_off(estate, tree("x", "y"))
            with monkeypatch.context() as patch:
                patch.setattr(HostHouse, "wish", LARGE)
                patch.setattr(Graveyard, "withdraw", full_disk)
                patch.setattr(Graveyard, "delete", full_disk)
                done = await prune(estate)
            assert [row.told for row in done.hosts] == [False]
            assert [left.peer_id for left in done.left_out] == [format_peer_id(house.peer)]
            assert done.peers == []
            await back_up(estate, tree("a", "b", "c"), wanted)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_a_host_of_before_that_knows_no_drafts_deletes_with_a_lock(house, owner, tree, tmp_path, monkeypatch):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            await back_up(estate, tree("a"), wanted)
            await break_off(estate, tree("a", "b"))
            before = held(house)

            def refuse(*_):
                raise RefusedError("unsupported")

            monkeypatch.setattr(type(house.premises.open().removals), "withdraw", refuse)
            done = await prune(estate)
            assert done.unfinished_packs > 0
            assert done.hosts[0].at_once_bytes == 0
            assert done.hosts[0].bytes > 0
            assert before == held(house) | deleted(house)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


@pytest.mark.slow
def test_any_order_of_broken_and_whole_backups_and_prunes_keeps_each_snapshot(house, other, owner, tree, tmp_path):
    async def scenario():
        chance = random.Random(31)
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            wanted = {}
            for _ in range(14):
                names = chance.sample("abcdefgh", chance.randint(1, 4))
                estate.sight.away.clear()
                if chance.random() < 0.3:
                    estate.sight.away.add(chance.choice([house, other]).peer)
                match chance.choice(["break", "break", "whole", "prune", "keep"]):
                    case "break":
                        await break_off(estate, tree(*names))
                    case "whole":
                        await back_up(estate, tree(*names), wanted)
                    case "prune":
                        await prune(estate)
                    case "keep":
                        await prune(estate, keep_unfinished=True)
            estate.sight.away.clear()
            await back_up(estate, tree("a"), wanted)
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())


def test_nothing_is_lost_when_a_host_goes_away_in_the_middle(house, owner, tree, tmp_path, monkeypatch):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            wanted = {}
            await back_up(estate, tree("a"), wanted)
            await break_off(estate, tree("a", "b"))

            async def gone(*_):
                raise PeerUnreachable("gone")

            with monkeypatch.context() as patch:
                patch.setattr(gathering_module, "withdraw", gone)
                done = await prune(estate)
            assert [left.reason for left in done.left_out] == ["gone"]
            assert (await prune(estate)).hosts[0].at_once_bytes > 0
            await assert_whole(estate, tmp_path, wanted)

    asyncio.run(scenario())
