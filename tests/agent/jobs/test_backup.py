import asyncio
from contextlib import asynccontextmanager

import pytest

from agent.estates import estate_of
from agent.houses import FAULTS, WISH, HostHouse, head_of, packs_at
from backuppeer.agent import reporter as reporter_module
from backuppeer.agent.jobs import backup as backup_module
from backuppeer.agent.jobs.backup import BackupJob, Paths
from backuppeer.agent.owner import gathering as gathering_module
from backuppeer.agent.owner import heads as heads_module
from backuppeer.agent.owner.heads import HeadChain
from backuppeer.agent.owner.lagging import describe_lacking
from backuppeer.agent.reporter import Reporter
from backuppeer.control.saving import BackupRequest
from backuppeer.errors import DamagedStateError, PeerUnreachable, RefusedError, UserError
from backuppeer.ids import format_peer_id
from backuppeer.limits import MIB
from backuppeer.trust.evidence import Kind
from noise import noise


@pytest.mark.parametrize(("tag", "why"), [("", "is empty"), (" ", "is empty"), ("a b,c", "no comma")])
def test_a_tag_that_can_not_be_told_from_others_is_refused_before_anything_is_read(owner, tree, tmp_path, tag, why):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate") as estate:
            request = BackupRequest(servers=[], paths=[str(tree())], tags=["good", tag])
            with pytest.raises(UserError, match=why):
                await BackupJob(estate.vault, request, Reporter(estate._emit), Paths(request)).run()

    asyncio.run(scenario())


def test_a_home_set_back_goes_on_from_the_newest_head_and_leaves_out_the_host_that_lags(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            made = await estate.back_up_then_forget(tree, *[[house]] * 3)
            done = await estate.back_up(tree())
            (left,) = done.left_out
            assert left.peer_id == format_peer_id(other.peer)
            assert "lags behind at head 1" in left.reason
            assert "set back" in left.hint
            assert done.peers == [format_peer_id(house.peer)]
            assert (head_of(house).number, head_of(other).number) == (5, 1)
            assert estate.snapshots()[:4] == made, "what was backed up since is still there"
            assert not (estate.seen(house) | estate.seen(other)) & FAULTS, "nobody is blamed"
            told = f"{estate.vault.name(house.peer)} knows a newer state (head 4): catching up"
            assert told in estate.states
            assert told not in estate.notes, "nothing is wrong"

    asyncio.run(scenario())


def test_a_host_that_lags_by_one_is_brought_up_by_a_home_that_was_set_back(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await estate.back_up_then_forget(tree, [house])
            await estate.back_up(tree())
            assert head_of(house) == head_of(other)
            assert head_of(house).number == 3

    asyncio.run(scenario())


def test_heads_between_that_a_third_host_holds_bring_up_the_one_that_lags(house, other, owner, tree, tmp_path):
    third = HostHouse(tmp_path / "third", b"3")

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other, third) as estate:
            await estate.back_up_then_forget(tree, [house, third], [house])
            await estate.back_up(tree())
            assert head_of(house) == head_of(other) == head_of(third)
            assert head_of(house).number == 4

    asyncio.run(scenario())
    third.close()


def test_a_newer_head_is_heard_also_from_a_host_that_the_backup_does_not_go_to(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await estate.back_up_then_forget(tree, *[[house]] * 2)
            with pytest.raises(DamagedStateError, match="lags behind"):
                await estate.back_up(tree(), other)
            assert head_of(other).number == 1, "no second head 2 was made"
            assert len(estate.snapshots()) == 3
            assert not estate.seen(other) & FAULTS

    asyncio.run(scenario())


@pytest.fixture
def _short_patience(monkeypatch):
    monkeypatch.setattr(gathering_module, "WITNESS_S", 0.01)


@pytest.mark.usefixtures("_short_patience")
def test_a_host_that_is_silent_is_not_waited_for_when_the_backup_does_not_go_to_it(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            there = estate.sight.session

            async def session(peer):
                return await (asyncio.Event().wait() if peer == other.peer else there(peer))

            estate.sight.session = session
            await estate.back_up(tree(), house)
            assert head_of(house).number == 1
            assert estate.seen(other) == set(), "and nothing is said of it"

    asyncio.run(scenario())


def test_two_histories_of_one_device_are_told_and_no_host_is_blamed(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await estate.back_up_then_forget(tree, *[[house]] * 4)
            newest = head_of(house)
            estate.sight.away.add(house.peer)
            await estate.back_up(tree(), other)
            kept = estate.snapshots()
            estate.sight.away.clear()
            (left,) = (await estate.back_up(tree())).left_out
            assert "two histories" in left.reason
            assert head_of(house) == newest
            assert estate.snapshots()[:2] == kept, "nor is a snapshot dropped"
            assert not (estate.seen(house) | estate.seen(other)) & FAULTS

    asyncio.run(scenario())


def test_when_the_newest_state_can_not_be_read_nothing_is_written_upon_it(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await estate.back_up_then_forget(tree, [house])
            await estate.vault.hear(estate.vault.partners()[0], reporter=Silent())
            estate.sight.away.add(house.peer)
            with pytest.raises(PeerUnreachable, match="nothing was written"):
                await estate.back_up(tree(), other)
            assert head_of(other).number == 1
            estate.sight.away.clear()
            await estate.back_up(tree())
            assert (head_of(house).number, head_of(other).number) == (3, 3)

    asyncio.run(scenario())


class Silent:
    def note(self, text):
        pass

    def say_state(self, state, text, retry_s=0.0):
        pass


def test_a_host_that_takes_its_time_with_the_head_keeps_it_from_no_other(
    house, other, owner, tree, tmp_path, *, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await estate.back_up(tree())
            leave, reached = HeadChain.leave_with, asyncio.Event()

            async def in_time(chain, partner, *more):
                if partner.peer == house.peer:
                    await reached.wait()
                    return await leave(chain, partner, *more)
                removals = await leave(chain, partner, *more)
                reached.set()
                return removals

            monkeypatch.setattr(HeadChain, "leave_with", in_time)
            async with asyncio.timeout(60):
                done = await estate.back_up(tree())
            assert len(done.peers) == 2

    asyncio.run(scenario())


def test_a_host_that_answers_each_head_just_in_time_is_given_up(house, owner, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(heads_module, "LEAVE_HEAD_S", 0.1)
    monkeypatch.setattr(heads_module, "LEAVE_EACH_HEAD_S", 0.0)

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree())
            monkeypatch.setattr(HeadChain, "_send", lambda *_: asyncio.Event().wait())
            with pytest.raises(PeerUnreachable, match="too long to take the newest state"):
                await estate.back_up(tree())

    asyncio.run(scenario())


def test_a_host_behind_a_head_that_it_countersigned_is_at_fault_and_healed(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree())
            head = next((house.premises.directory / "agreements").glob("*/head"))
            old = head.read_bytes()
            await estate.back_up(tree())
            assert not estate.seen(house) & FAULTS
            head.write_bytes(old)
            house.premises.open().heads._cache.clear()
            await estate.back_up(tree())
            assert Kind.INTEGRITY_FAULT in estate.seen(house)
            caught = (format_peer_id(house.peer), "it shows head 1, and had countersigned head 2")
            assert estate.faults == [caught], "once, however often its head is looked at"
            assert head_of(house).number == 3

    asyncio.run(scenario())


def test_a_host_too_small_for_the_earlier_backups_gets_nothing_and_is_named_with_the_sizes(
    house, other, owner, tree, tmp_path
):
    house.wish, other.wish = (16 * MIB, *WISH[1:]), (MIB, *WISH[1:])

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            folder = tree()
            (folder / "large").write_bytes(noise(1, MIB + MIB // 2))
            await estate.back_up(folder, house)
            estate.notes.clear()
            for _ in range(2):
                (left,) = (await estate.back_up(tree())).left_out
                assert left.peer_id == format_peer_id(other.peer)
                assert "it lacks 1." in left.reason
                assert "MB of earlier ones and has 1.04 MB free" in left.reason
                assert "--to" in left.hint
                assert not packs_at(other)
            assert len(estate.notes) == 2, "one for each backup"
            assert not estate.seen(other) & FAULTS
            (line,) = describe_lacking(estate.vault, estate.state)
            assert "of your backups and has 1.04 MB free, so its copy is none" in line, "status says so from now on"
            assert "peers resize" in line
            assert (await estate.back_up(tree(), house)).left_out == []
            estate.notes.clear()
            with pytest.raises(RefusedError, match="too small") as told:
                await estate.back_up(tree(), other)
            assert "`backup-peer peers resize" in told.value.hint
            assert estate.notes == [], "the only host: the error says it, once"

    asyncio.run(scenario())


def test_a_second_host_with_room_enough_gets_the_earlier_packs_too(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            await estate.back_up(tree(), house)
            assert (await estate.back_up(tree())).left_out == []
            assert len(packs_at(other)) == len(packs_at(house)) == 2

    asyncio.run(scenario())


@asynccontextmanager
async def counted_first(count, reporter):
    """Count before the work begins: how far a count comes beside it is the machine's business."""
    if count is not None:
        await asyncio.to_thread(count, reporter.set_total, lambda: False)
    yield


def test_a_total_is_of_the_same_paths_or_counted_and_no_longer_claimed_when_it_is_passed(
    house, owner, tree, tmp_path, monkeypatch
):
    house.wish = (16 * MIB, *WISH[1:])
    monkeypatch.setattr(reporter_module, "_EVERY_S", 0.0)
    monkeypatch.setattr(backup_module, "counting", counted_first)

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            folder = tree()
            (folder / "large").write_bytes(noise(1, MIB))
            await estate.back_up(folder, is_watched=True)
            size = sum(path.stat().st_size for path in folder.iterdir())
            assert (2, size, False) in totals(estate), "counted"
            await estate.back_up(folder, is_watched=True)
            assert totals(estate)[0] == (2, size, False), "known from the last one, at once"
            assert not any(going for *_, going in totals(estate))
            (folder / "more").write_bytes(noise(2, MIB))
            await estate.back_up(folder)
            assert (totals(estate)[0], totals(estate)[-1]) == ((2, size, False), (0, 0, False))

    asyncio.run(scenario())


def test_nothing_is_counted_when_nobody_watches(house, owner, tree, tmp_path, monkeypatch):
    house.wish = (16 * MIB, *WISH[1:])
    monkeypatch.setattr(reporter_module, "_EVERY_S", 0.0)

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await estate.back_up(tree())
            assert set(totals(estate)) == {(0, 0, False)}

    asyncio.run(scenario())


def totals(estate):
    told = [progress for progress in estate.progress if progress["phase"] == "backing up"]
    return [(one["files_total"], one["bytes_total"], one["counting"]) for one in told]
