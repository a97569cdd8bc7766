"""Machines with the same words: one takes over, hosts are away meanwhile, two take over at once; nothing is lost."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from agent.estates import Estate, estate_of
from agent.houses import FAULTS, head_of, packs_at
from backuppeer.agent.home.handover import Opener, begin_succession
from backuppeer.agent.home.heir import FormerSelf, finish_succession, settle_succession, take_place
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import grant_writer, load_keys, recover_identity
from backuppeer.agent.home.state import State
from backuppeer.agent.jobs.check import CheckJob
from backuppeer.agent.jobs.forgetting import plan_forgetting
from backuppeer.agent.jobs.take_over import TakeOverJob
from backuppeer.agent.owner import joining
from backuppeer.agent.owner.heads import HeadChain
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.amending import ORIGINAL
from backuppeer.backup.browse import SnapshotFilter, find_snapshot, list_snapshots
from backuppeer.backup.parents import plan_parents
from backuppeer.clock import SystemClock
from backuppeer.control.amendments import ForgetRequest
from backuppeer.control.checking import CheckRequest
from backuppeer.errors import NotFoundError, PeerUnreachable, RefusedError
from backuppeer.ids import format_peer_id
from backuppeer.limits import TAKE_OVER_STEP
from backuppeer.repo.snapshot import REPLACED

MASTER = b"o" * 32
"""What the words of the fixture `owner` stand for."""


def machine(first: Estate, folder, *, epoch: int = 0) -> Estate:
    """A further machine with the same words, which knows the same hosts; with a grant of `epoch` unless that is 0."""
    home = Home(folder / "home")
    recover_identity(home, MASTER)
    state = State(home.state)
    for row in first.state.agreements():
        state.put_agreement(*row)
    state.close()
    if epoch:
        grant(home, first, epoch)
    made = Estate(SimpleNamespace(home=home, close=lambda: None), folder)
    made.sight.sessions = first.sight.sessions
    return made


def grant(home: Home, first: Estate, epoch: int) -> None:
    grant_writer(home, MASTER, repository=first.vault.repository_id, epoch=epoch, clock=SystemClock())


def regrant(estate: Estate, epoch: int) -> None:
    """What `recover --take-over` does between its two calls of the agent."""
    name = estate.vault.repository_id
    estate._close_home()
    grant_writer(estate.home, MASTER, repository=name, epoch=epoch, clock=SystemClock())
    estate._open()


def job(estate: Estate, owner) -> TakeOverJob:
    return TakeOverJob(estate.vault, owner.peer, Reporter(estate._emit))


@asynccontextmanager
async def two_machines(owner, tmp_path, *houses):
    """The first machine, whose first backup is with all hosts, and a second one that was just granted epoch 2."""
    async with estate_of(owner, tmp_path / "estate", *houses) as first:
        folder = tmp_path / "files"
        await first.back_up(folder)
        second = machine(first, tmp_path / "second", epoch=2)
        try:
            yield first, second
        finally:
            second.close()


def test_a_plan_names_the_last_backup_the_highest_epoch_and_who_is_away(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as first:
            await first.back_up(tree())
            second = machine(first, tmp_path / "second")
            second.sight.away.add(other.peer)
            plan = await job(second, owner).plan()
            assert plan == type(plan)(peer_id=format_peer_id(owner.peer), is_recovered=False), "`recover` comes first"
            second.vault.end_recovery()
            plan = await job(second, owner).plan()
            assert (plan.is_recovered, plan.is_writer, plan.epoch, plan.snapshots) == (True, False, 1, 1)
            assert plan.repository == first.vault.repository_id.hex()
            assert len(plan.heard) == 1
            assert [left.peer_id for left in plan.left_out] == [format_peer_id(other.peer)]
            second.sight.away.add(house.peer)
            with pytest.raises(PeerUnreachable, match="no host can be reached"):
                await job(second, owner).plan()
            second.close()

    asyncio.run(scenario())


def test_where_nothing_was_backed_up_yet_the_epoch_is_above_the_first_all_the_same(house, owner, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as first:
            second = machine(first, tmp_path / "second")
            second.vault.end_recovery()
            assert (await job(second, owner).plan()).epoch == 1
            regrant(second, 2)
            done = await job(second, owner).announce()
            assert (done.epoch, done.head, len(done.peers)) == (2, 0, 1)
            assert done.names == [partner.name for partner in second.vault.partners()]
            second.close()

    asyncio.run(scenario())


def test_a_take_over_is_announced_by_a_head_that_says_the_same_and_again_is_no_change(house, owner, tree, tmp_path):
    async def scenario():
        tree()
        async with two_machines(owner, tmp_path, house) as (_, second):
            before = head_of(house)
            done = await job(second, owner).announce()
            head = head_of(house)
            assert (head.epoch, head.number, done.head) == (2, before.number + TAKE_OVER_STEP, head.number)
            assert (head.index, head.snapshots_root, head.packs_root) == (
                before.index,
                before.snapshots_root,
                before.packs_root,
            )
            assert (await job(second, owner).announce()).head == head.number
            assert head_of(house) == head
            assert (await job(second, owner).plan()).is_writer

    asyncio.run(scenario())


def test_the_machine_that_was_taken_over_writes_nowhere_not_even_to_hosts_that_do_not_know_it_yet(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        tree()
        async with two_machines(owner, tmp_path, house, other) as (first, second):
            second.sight.away.add(other.peer)
            await job(second, owner).announce()
            made = (await second.back_up(tree())).snapshot
            before = head_of(other), packs_at(other), head_of(house), packs_at(house)
            for to in ((), (other,)):
                with pytest.raises(RefusedError, match="taken over") as told:
                    await first.back_up(tree(), *to)
                assert "recover --take-over" in told.value.hint
            assert (head_of(other), packs_at(other), head_of(house), packs_at(house)) == before
            assert not first.seen(house) & FAULTS, "no host is to blame for that"
            assert not first.seen(other) & FAULTS
            assert made in [name.hex() for name in first.snapshots()], "it has caught up, to restore"
            done = await first.restore("latest", tmp_path / "out")
            assert done.errors == 0
            assert (await CheckJob(first.vault, CheckRequest(), Reporter(first._emit)).run()).problems == []
            first.restart()
            first.sight.away |= {house.peer, other.peer}
            with pytest.raises(RefusedError, match="taken over"):
                await first.back_up(tree())  # remembered, without asking anybody

    asyncio.run(scenario())


@pytest.mark.parametrize("knows", [False, True])
def test_a_check_follows_the_machine_that_writes_instead_of_calling_its_work_damage(
    house, owner, tree, tmp_path, knows
):
    async def scenario():
        tree()
        async with two_machines(owner, tmp_path, house) as (first, second):
            await job(second, owner).announce()
            await second.back_up(tree())
            if knows:
                first.vault.writer.see(second.vault.heads._keys.grant)
            for _ in range(2):
                result = await CheckJob(first.vault, CheckRequest(), Reporter(first._emit)).run()
                assert (result.problems, result.snapshots) == ([], 2)
                assert not any("does not know" in note for note in first.notes)
            assert not first.seen(house) & FAULTS
            assert not first.vault.writer.may_write

    asyncio.run(scenario())


def test_a_host_that_can_not_be_told_leaves_the_grant_in_force_and_the_next_run_tells_it(house, owner, tree, tmp_path):
    async def scenario():
        tree()
        async with two_machines(owner, tmp_path, house) as (_, second):
            second.sight.away.add(house.peer)
            with pytest.raises(PeerUnreachable, match="no host could be told") as told:
                await job(second, owner).announce()
            assert "the next backup tells it" in told.value.hint
            second.sight.away.clear()
            await second.back_up(tree())
            assert head_of(house).epoch == 2

    asyncio.run(scenario())


def test_a_machine_that_is_taken_over_in_mid_backup_leaves_its_head_with_nobody(house, other, owner, tree, tmp_path):
    async def scenario():
        tree()
        async with two_machines(owner, tmp_path, house, other) as (first, second):
            leave_with = HeadChain.leave_with

            async def leave_late(chain, partner, *more):
                patch.undo()
                await job(second, owner).announce()
                return await leave_with(chain, partner, *more)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(HeadChain, "leave_with", leave_late)
                with pytest.raises(RefusedError, match="taken over"):
                    await first.back_up(tree())
            assert (head_of(house).epoch, head_of(other).epoch) == (2, 2)
            assert not first.seen(house) & FAULTS
            assert not first.seen(other) & FAULTS

    asyncio.run(scenario())


def test_what_the_first_machine_left_at_a_host_that_was_away_is_joined_and_reaches_all_hosts(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        tree()
        async with two_machines(owner, tmp_path, house, other) as (first, second):
            # The other host is cut off from the second machine, the first host from the first one.
            second.sight.away.add(other.peer)
            done = await job(second, owner).announce()
            assert [left.peer_id for left in done.left_out] == [format_peer_id(other.peer)]
            first.sight.away.add(house.peer)
            alone = [(await first.back_up(tree())).snapshot for _ in range(2)]
            mine = (await second.back_up(tree())).snapshot
            assert head_of(other).epoch == 1
            assert len(second.snapshots()) == 2

            second.sight.away.clear()
            again = await job(second, owner).announce()
            assert format_peer_id(other.peer) not in again.peers, "its list would be gone"
            second.sight.away.add(house.peer)
            alone_there = await job(second, owner).announce()
            assert (alone_there.peers, len(alone_there.left_out)) == ([], 2)
            second.sight.away.clear()
            assert head_of(other).epoch == 1
            latest = await second.back_up(tree())
            names = [name.hex() for name in second.snapshots()]
            assert set(alone) | {mine, latest.snapshot} < set(names)
            assert names[-1] == latest.snapshot
            assert any("2 backups of another machine" in note for note in second.notes)
            assert latest.left_out == []
            assert head_of(other) == head_of(house)
            assert head_of(other).epoch == 2

            # Each of the two hosts has all of it.
            second.lose_repository()
            second.sight.away.add(other.peer)
            for number, name in enumerate(alone):
                assert (await second.restore(name, tmp_path / f"out{number}")).errors == 0
            assert not second.seen(other) & FAULTS
            count = len(second.notes)
            await second.back_up(tree())
            assert not any("another machine" in note for note in second.notes[count:]), "joined once"

    asyncio.run(scenario())


def test_two_that_took_over_without_hearing_of_each_other_are_refused_by_name_until_one_does_again(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        tree()
        async with two_machines(owner, tmp_path, house, other) as (first, second):
            third = machine(first, tmp_path / "third", epoch=2)
            second.sight.away.add(other.peer)
            third.sight.away.add(house.peer)
            made = []
            for estate in (second, third):
                await job(estate, owner).announce()
                made.append((await estate.back_up(tree())).snapshot)
            for estate in (second, third):
                estate.sight.away.clear()
                with pytest.raises(RefusedError, match="two machines took over"):
                    await estate.back_up(tree())
                assert not estate.seen(house) & FAULTS
                assert not estate.seen(other) & FAULTS
                assert "two machines" in estate.vault.writer.describe()
            assert {head_of(house).device, head_of(other).device} == {
                second.vault.writer.own.device,
                third.vault.writer.own.device,
            }

            plan = await job(second, owner).plan()
            assert (plan.epoch, plan.is_writer) == (2, False)
            regrant(second, 3)
            assert (await job(second, owner).announce()).epoch == 3
            last = await second.back_up(tree())
            assert {*made, last.snapshot} < {name.hex() for name in second.snapshots()}
            assert head_of(other) == head_of(house)
            with pytest.raises(RefusedError, match="two machines"):
                await third.back_up(tree())  # remembered: it asks nobody
            assert (await job(third, owner).plan()).epoch == 3
            with pytest.raises(RefusedError, match="taken over"):
                await third.back_up(tree())
            third.close()

    asyncio.run(scenario())


def test_a_machine_that_was_set_back_and_wrote_joins_its_other_history_by_taking_over_itself(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await estate.back_up(tree())
            image = estate.photograph()
            estate.sight.away.add(house.peer)
            lost = [(await estate.back_up(tree())).snapshot for _ in range(2)]
            estate.set_back(image)
            estate.sight.away = {other.peer}
            made = (await estate.back_up(tree())).snapshot
            estate.sight.away.clear()
            (left,) = (await estate.back_up(tree())).left_out
            assert "two histories" in left.reason
            assert "recover --take-over" in left.hint
            plan = await job(estate, owner).plan()
            assert (plan.epoch, plan.is_writer) == (1, False)
            regrant(estate, 2)
            await job(estate, owner).announce()
            assert (await estate.back_up(tree())).left_out == []
            assert {*lost, made} < {name.hex() for name in estate.snapshots()}
            assert head_of(other) == head_of(house)
            assert (await job(estate, owner).plan()).is_writer

    asyncio.run(scenario())


def test_a_host_whose_stray_list_can_not_be_read_is_left_out_and_keeps_it(house, other, owner, tree, tmp_path):
    async def scenario():
        tree()
        async with two_machines(owner, tmp_path, house, other) as (first, second):
            second.sight.away.add(other.peer)
            await job(second, owner).announce()
            first.sight.away.add(house.peer)
            await first.back_up(tree())
            second.sight.away.clear()
            stray = head_of(other)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(joining, "load_list", lambda *_: None)
                (left,) = (await second.back_up(tree())).left_out
            assert "their list can't be read" in left.reason
            assert head_of(other) == stray
            assert (await second.back_up(tree())).left_out == []
            assert head_of(other) == head_of(house)

    asyncio.run(scenario())


def become_heir(estate: Estate, *, epoch: int) -> None:
    """What `recover --new-identity` leaves in a home, once a host has followed."""
    estate._close_home()
    keys = load_keys(estate.home)
    begin_succession(estate.home, MASTER, Opener(), repository=keys.repository, epoch=epoch, clock=SystemClock())
    heir = load_keys(estate.home).heir
    take_place(estate.home, heir, (FormerSelf(keys.identity, heir.succession),))
    settle_succession(estate.home)
    finish_succession(estate.home)
    estate._open()


def test_what_was_made_as_the_identity_of_before_is_told_loudly_tagged_and_never_the_latest(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        tree()
        async with two_machines(owner, tmp_path, house, other) as (thief, second):
            second.sight.away.add(other.peer)
            await job(second, owner).announce()
            become_heir(second, epoch=3)
            await second.back_up(tree())
            thief.sight.away.add(house.peer)
            fakes = tmp_path / "fakes"
            fakes.mkdir()
            (fakes / "letter").write_bytes(b"as the thief would have it")
            stolen = (await thief.back_up(fakes)).snapshot
            second.sight.away.clear()
            last = await second.back_up(tree())
            assert last.left_out == []
            (told,) = [note for note in second.notes if note.startswith("WARNING")]
            assert "1 backup made as the identity that you replaced" in told
            assert f"--tag {REPLACED}" in told
            second.lose_repository()  # the tag is in what the hosts keep
            assert (await second.restore(last.snapshot, tmp_path / "back")).errors == 0
            index = second.vault.repository.index
            (marked,) = list_snapshots(index, SnapshotFilter(tags=(REPLACED,)))
            assert marked[1].ext[ORIGINAL].hex() == stolen
            assert last.snapshot in {name.hex() for name in second.snapshots()}
            assert stolen not in {name.hex() for name in second.snapshots()}
            assert head_of(other) == head_of(house)
            assert find_snapshot(index, "latest", SnapshotFilter(tags=(REPLACED,))) == marked
            assert find_snapshot(index, marked[0].hex()) == marked
            with pytest.raises(NotFoundError) as none:
                find_snapshot(index, "latest", SnapshotFilter(path=bytes(fakes)))
            assert REPLACED in none.value.hint
            assert plan_parents([marked[1]], [bytes(fakes)]).base is None
            plan = plan_forgetting(second.vault, ForgetRequest(keep_last=1)).describe()
            assert marked[0].hex() not in {row.snapshot for group in plan.groups for row in group.snapshots}
            assert (await second.restore(marked[0].hex(), tmp_path / "out")).errors == 0

    asyncio.run(scenario())


def test_without_any_host_there_is_nothing_to_take_over(owner, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate") as first:
            with pytest.raises(NotFoundError):
                await job(first, owner).plan()

    asyncio.run(scenario())
