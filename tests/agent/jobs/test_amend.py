"""`forget` and `tag` with hosts: what stands, where, and when nothing does."""

import asyncio
import shutil
from functools import partial
from types import SimpleNamespace

import pytest

from agent.estates import estate_of
from agent.houses import FAULTS, FixedReach, HostHouse, head_of, packs_at
from backuppeer.agent.commands.amend import AmendCommands
from backuppeer.agent.commands.owner import OwnerCommands
from backuppeer.agent.home.config import Config, read_config
from backuppeer.agent.home.config_writer import write_config
from backuppeer.agent.home.sets import BackupSet, Retention
from backuppeer.agent.jobs import amend as amend_job_module
from backuppeer.agent.jobs.backup import BackupJob, Paths
from backuppeer.agent.owner.ending import Ending
from backuppeer.agent.owner.heads import HeadChain
from backuppeer.agent.reporter import Reporter
from backuppeer.backup.amending import ORIGINAL
from backuppeer.clock import SystemClock
from backuppeer.control.amendments import ForgetRequest, TagRequest
from backuppeer.control.api import SnapshotsRequest
from backuppeer.control.saving import BackupRequest
from backuppeer.errors import (
    ExitCode,
    IntegrityFault,
    NotFoundError,
    PeerUnreachable,
    RefusedError,
    Unavailable,
    UserError,
)
from backuppeer.ids import format_peer_id
from backuppeer.limits import MIB
from backuppeer.proof.merkle import root_of_set
from backuppeer.repo.snapshot import decode_snapshot


@pytest.fixture
def third(tmp_path):
    made = HostHouse(tmp_path / "third", b"3")
    yield made
    made.close()


def commands(estate, kind=AmendCommands):
    vault, config = SimpleNamespace(vault=estate.vault, auditor=estate.auditor), partial(read_config, estate.home)
    return kind(SimpleNamespace(owner=vault, parts=None, config=config))


async def forget(estate, *snapshots, **rules):
    """Forget what the plan says, as the command line does after a yes."""
    request = ForgetRequest(snapshots=[snapshot.hex() for snapshot in snapshots], **rules)
    plan = await commands(estate).plan_forget(request, None)
    request.agreed = plan.digest
    return await commands(estate).forget(request, estate._emit)


async def tag(estate, *snapshots, **changes):
    request = TagRequest(snapshots=[snapshot.hex() for snapshot in snapshots], **changes)
    return await commands(estate).tag(request, estate._emit)


async def back_up(estate, tree, count, *to):
    """Return the ids of so many new snapshots."""
    return [bytes.fromhex((await estate.back_up(tree(), *to)).snapshot) for _ in range(count)]


def says(head, snapshots):
    return head.snapshots_root == root_of_set(snapshots)


# --- rules of a set
def keep(estate, **sets):
    kept = {name: BackupSet(paths=["/"], retention=retention) for name, retention in sets.items()}
    write_config(estate.home, Config(sets=kept))


async def back_up_set(estate, tree, name):
    request = BackupRequest(servers=[], paths=[str(tree())], set=name)
    return bytes.fromhex(
        (await BackupJob(estate.vault, request, Reporter(estate._emit), Paths(request)).run()).snapshot
    )


def test_without_rules_those_of_the_set_count_and_touch_no_other_snapshots(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            keep(estate, default=Retention(last=1), photos=Retention(last=2, within="1s", tags=["x"]))
            loose = await back_up(estate, tree, 2)
            default = [await back_up_set(estate, tree, "default") for _ in range(2)]
            photos = [await back_up_set(estate, tree, "photos") for _ in range(3)]
            assert (await forget(estate)).forgotten == [default[0].hex()]
            plan = await commands(estate).plan_forget(ForgetRequest(set="photos", keep_last=1), None)
            assert plan.forgotten == 2, "rules that are given count before those of the set"
            keep(estate, photos=Retention(last=2))
            assert (await forget(estate, set="photos")).forgotten == [photos[0].hex()]
            assert set(estate.snapshots()) == {*loose, default[1], *photos[1:]}

    asyncio.run(scenario())


def test_a_set_without_rules_forgets_nothing_and_says_where_they_belong(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            keep(estate, default=Retention())
            await back_up_set(estate, tree, "default")
            with pytest.raises(UserError, match="set default has none of its own") as caught:
                await forget(estate)
            assert "[sets.default.retention]" in caught.value.hint
            with pytest.raises(NotFoundError, match="no set 'photos'"):
                await forget(estate, set="photos")
            keep(estate)
            with pytest.raises(UserError, match="no rule says what to keep"):
                await forget(estate)

    asyncio.run(scenario())


# --- forget
def test_forgotten_snapshots_leave_the_list_here_and_at_every_host_and_the_kept_ones_restore(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            made = await back_up(estate, tree, 3)
            done = await forget(estate, keep_last=1)
            assert done.forgotten == sorted(name.hex() for name in made[:2])
            assert (done.kept, done.left_out) == (1, [])
            assert done.peers == [format_peer_id(house.peer), format_peer_id(other.peer)]
            assert estate.snapshots() == made[2:]
            assert head_of(house) == head_of(other)
            assert head_of(house).number == 4
            assert says(head_of(house), made[2:])
            assert len(packs_at(house)) == 4, "packs stay, and the list took one"
            assert estate.vault.is_whole()
            assert not (estate.seen(house) | estate.seen(other)) & FAULTS
            await estate.restore("latest", tmp_path / "out")
            assert len(list((tmp_path / "out").rglob("[0-9]"))) == 3

    asyncio.run(scenario())


def test_backups_go_on_from_the_amended_list_and_send_nothing_twice(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 2)
            await forget(estate, made[0])
            again = await estate.back_up(tmp_path / "files")
            assert again.new_bytes == 0, "what only a forgotten snapshot named is still with the host"
            assert estate.snapshots() == [made[1], bytes.fromhex(again.snapshot)]
            assert says(head_of(house), estate.snapshots())

    asyncio.run(scenario())


def test_a_home_without_index_gets_the_amended_list_back_not_the_old_one(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 3)
            await forget(estate, made[1])
            estate.lose_repository()
            await estate.restore(made[2].hex(), tmp_path / "out")
            assert estate.snapshots() == [made[0], made[2]]

    asyncio.run(scenario())


def test_a_host_that_is_away_is_named_and_gets_the_head_with_the_next_backup(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            made = await back_up(estate, tree, 2)
            estate.sight.away.add(other.peer)
            done = await forget(estate, made[0])
            (left,) = done.left_out
            assert (left.peer_id, left.hint) == (format_peer_id(other.peer), "the next backup tells it")
            assert done.peers == [format_peer_id(house.peer)]
            assert estate.notes == [f"{estate.vault.name(other.peer)}: away"]
            assert (head_of(house).number, head_of(other).number) == (3, 2)
            estate.sight.away.clear()
            await estate.back_up(tree())
            assert head_of(house) == head_of(other)
            assert says(head_of(other), estate.snapshots())
            assert made[0] not in estate.snapshots()

    asyncio.run(scenario())


def test_a_host_whose_agreement_we_ended_gets_no_lists_while_another_goes_on(house, other, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            one, two, _ = await back_up(estate, tree, 3)
            ending = Ending(estate.state, estate.vault._keys, SystemClock(), reach=FixedReach(PeerUnreachable("away")))
            await ending.end(other.peer)
            before = packs_at(other), head_of(other).number
            await forget(estate, one)
            assert (packs_at(other), head_of(other).number) == before
            assert head_of(house).number == before[1] + 1
            await ending.end(house.peer)
            await forget(estate, two)
            assert len(estate.snapshots()) == 1, "where all have ended the list can be put in order all the same"

    asyncio.run(scenario())


def test_with_no_host_there_nothing_is_changed(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 2)
            estate.sight.away.add(house.peer)
            with pytest.raises(PeerUnreachable, match="nothing was changed"):
                await forget(estate, made[0])
            estate.sight.away.clear()
            assert estate.vault.heads.newest()[0] == head_of(house)
            await estate.back_up(tree())
            assert estate.snapshots()[:2] == made

    asyncio.run(scenario())


@pytest.mark.parametrize("has_arrived", [False, True])
def test_a_head_that_no_host_acknowledged_is_taken_back_and_the_old_list_stands_for_good(
    house, other, owner, *, tree, tmp_path, monkeypatch, has_arrived
):
    leave_with = HeadChain.leave_with

    async def lose_answer(chain, partner, *more):
        if has_arrived and partner.peer == house.peer:
            await leave_with(chain, partner, *more)
        raise PeerUnreachable("it went away")

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            made = await back_up(estate, tree, 2)
            monkeypatch.setattr(HeadChain, "leave_with", lose_answer)
            with pytest.raises(Unavailable, match="nothing was changed"):
                await forget(estate, made[0])
            monkeypatch.undo()
            assert estate.snapshots() == made
            assert estate.vault.heads.newest()[0].number == 4
            assert head_of(house).number == (3 if has_arrived else 2)
            await estate.restore(made[0].hex(), tmp_path / "out")
            assert estate.snapshots() == made, "a restore follows the head, which says the old list"
            await estate.back_up(tree())
            assert head_of(house) == head_of(other)
            assert head_of(house).number == 5
            assert says(head_of(house), estate.snapshots())
            assert estate.snapshots()[:2] == made
            assert not (estate.seen(house) | estate.seen(other)) & FAULTS

    asyncio.run(scenario())


def test_a_person_who_leaves_while_hosts_are_told_finds_the_old_list_or_the_new_one(
    house, owner, tree, tmp_path, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 2)
            asked = asyncio.Event()

            async def never(chain, partner, *more):
                asked.set()
                await asyncio.Event().wait()

            monkeypatch.setattr(HeadChain, "leave_with", never)
            work = asyncio.create_task(forget(estate, made[0]))
            await asked.wait()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            monkeypatch.undo()
            assert estate.snapshots() == made
            await estate.back_up(tree())
            assert estate.snapshots()[:2] == made

    asyncio.run(scenario())


class Killed(BaseException):
    """Stands for the process that ends: nothing after it is done."""


@pytest.mark.parametrize("where", ["before the head", "before any host", "before the index"])
def test_killed_at_any_point_the_old_or_the_new_list_stands_here_and_at_the_host(
    house, owner, *, tree, tmp_path, monkeypatch, where
):
    def die(*_arguments):
        raise Killed

    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 3)
            name = {"before the head": "extend", "before any host": "leave_with"}.get(where)
            if name:
                monkeypatch.setattr(HeadChain, name, die)
            else:
                monkeypatch.setattr(estate.vault.repository.index, "set_snapshots", die)
            monkeypatch.setattr(HeadChain, "take_back", die)
            with pytest.raises(Killed):
                await forget(estate, made[0])
            monkeypatch.undo()
            image = estate.photograph()
            estate.set_back(image)
            assert estate.snapshots() == made, "the index follows last"
            new = made[1:] if name != "extend" else made
            await estate.restore(made[2].hex(), tmp_path / "out")
            assert estate.snapshots() in (made, new)
            await estate.back_up(tree())
            assert estate.snapshots()[:-1] == new
            assert says(head_of(house), estate.snapshots())
            assert not estate.seen(house) & FAULTS

    asyncio.run(scenario())


def test_a_newer_list_that_a_host_knows_is_adopted_first_and_what_was_shown_is_no_longer_done(
    house, owner, tree, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await back_up(estate, tree, 1)
            made = await estate.back_up_then_forget(tree, [house])
            with pytest.raises(UserError, match="have changed since"):
                await forget(estate, keep_last=1)
            assert estate.snapshots() == made
            assert head_of(house).number == 3
            await forget(estate, keep_last=1)
            assert estate.snapshots() == made[-1:]

    asyncio.run(scenario())


def test_a_new_host_that_lacks_little_is_brought_up_and_one_that_lacks_much_waits_for_a_backup(
    house, other, owner, *, tree, tmp_path, monkeypatch
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            made = await back_up(estate, tree, 3, house)
            monkeypatch.setattr(amend_job_module, "AMEND_COPY_BYTES", 2 * 2**18)
            (left,) = (await forget(estate, made[0])).left_out
            assert left.peer_id == format_peer_id(other.peer)
            assert "it lacks 786 kB of your backup" in left.reason
            assert "backup" in left.hint
            assert not packs_at(other)
            monkeypatch.setattr(amend_job_module, "AMEND_COPY_BYTES", MIB)
            assert (await forget(estate, made[1])).left_out == []
            assert head_of(other) == head_of(house)
            assert len(packs_at(other)) == len(packs_at(house)) == 5
            assert not estate.seen(other) & FAULTS

    asyncio.run(scenario())


# --- what is refused
def test_unknown_snapshots_and_plans_that_nobody_agreed_to_are_refused(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 2)
            door = commands(estate)
            for text in ("deadbeef", "xyz", "ab"):
                with pytest.raises(NotFoundError):
                    await door.plan_forget(ForgetRequest(snapshots=[text]), None)
            with pytest.raises(UserError, match="no rule"):
                await door.plan_forget(ForgetRequest(), None)
            with pytest.raises(UserError, match="no rule"):
                await door.plan_forget(ForgetRequest(tags=["x"], keep_last=0), None)
            with pytest.raises(UserError, match="beside ids"):
                await door.plan_forget(ForgetRequest(snapshots=["latest"], keep_last=1), None)
            with pytest.raises(UserError, match="time zone"):
                await door.plan_forget(ForgetRequest(keep_last=1, zone="../../etc/passwd"), None)
            with pytest.raises(UserError, match="group by"):
                await door.plan_forget(ForgetRequest(keep_last=1, group_by=["x"]), None)
            with pytest.raises(UserError, match="needs a yes"):
                await door.forget(ForgetRequest(keep_last=1), estate._emit)
            with pytest.raises(UserError, match="have changed"):
                await door.forget(ForgetRequest(keep_last=1, agreed="0" * 64), estate._emit)
            assert estate.snapshots() == made
            assert head_of(house).number == 2

    asyncio.run(scenario())


def test_a_plan_names_reasons_and_filters_leave_others_alone(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 3)
            await tag(estate, made[0], add=["old"])
            plan = await commands(estate).plan_forget(ForgetRequest(keep_last=1, tags=["old"]), None)
            assert (plan.forgotten, plan.kept) == (0, 3)
            plan = await commands(estate).plan_forget(ForgetRequest(keep_last=1, keep_tags=["old"]), None)
            (group,) = plan.groups
            assert [(row.kept, row.reasons) for row in group.snapshots] == [
                (True, ["tag old"]),
                (False, []),
                (True, ["last"]),
            ]
            assert group.paths == [str(tmp_path / "files")]
            assert (plan.forgotten, plan.kept) == (1, 2)

    asyncio.run(scenario())


def test_nothing_to_forget_asks_no_host_and_makes_no_head(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            await back_up(estate, tree, 1)
            estate.sight.away.add(house.peer)
            done = await forget(estate, keep_last=5)
            assert (done.forgotten, done.kept, done.peers) == ([], 1, [])
            done = await tag(estate, *estate.snapshots(), remove=["none"])
            assert (done.changed, done.unchanged) == ([], 1)
            assert head_of(house).number == 1

    asyncio.run(scenario())


def test_a_home_that_may_only_read_changes_no_list(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 1)
            (estate.home.path / "keys" / "grant").unlink()
            estate.restart()
            for step in (forget(estate, made[0]), tag(estate, made[0], add=["x"])):
                with pytest.raises(RefusedError, match="may only read") as caught:
                    await step
                assert caught.value.exit_code is ExitCode.REFUSED

    asyncio.run(scenario())


def test_beside_a_backup_no_list_is_changed(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 1)
            async with estate.vault.busy:
                for step in (forget(estate, made[0]), tag(estate, made[0], add=["x"])):
                    with pytest.raises(UserError, match="is running"):
                        await step

    asyncio.run(scenario())


def test_a_snapshot_that_is_missing_can_be_forgotten_by_its_id_and_latest_is_another_one_then(
    house, owner, tree, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 3)
            await forget(estate, made[0])
            index = estate.vault.repository.index
            index.set_snapshots([(made[1], dict(index.snapshots())[made[1]]), (made[2], b"")])
            for text in (["latest"], [made[2].hex()]):
                with pytest.raises(IntegrityFault, match="missing"):
                    await commands(estate).tag(TagRequest(snapshots=text, add=["x"]), estate._emit)
            plan = await commands(estate).plan_forget(ForgetRequest(snapshots=[made[2].hex()[:8]]), None)
            assert [row.time for group in plan.groups for row in group.snapshots] == [""]
            assert (plan.forgotten, plan.kept) == (1, 1)

    asyncio.run(scenario())


# --- tag
def test_a_tagged_snapshot_is_a_new_one_in_the_place_of_the_old_at_home_and_at_the_hosts(
    house, other, owner, tree, tmp_path
):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other) as estate:
            made = await back_up(estate, tree, 3)
            done = await tag(estate, made[1], made[2], add=["b", "a"])
            assert [row.before for row in done.changed] == [name.hex() for name in made[1:]]
            assert [row.tags for row in done.changed] == [["b", "a"]] * 2
            fresh = [bytes.fromhex(row.snapshot) for row in done.changed]
            assert estate.snapshots() == [made[0], *fresh]
            assert says(head_of(other), estate.snapshots())
            body = dict(estate.vault.repository.index.snapshots())[fresh[0]]
            assert decode_snapshot(body).ext[ORIGINAL] == made[1]
            with pytest.raises(NotFoundError):
                await tag(estate, made[1], add=["c"])
            estate.lose_repository()
            await estate.restore(fresh[0].hex(), tmp_path / "out")
            assert len(list((tmp_path / "out").rglob("[0-9]"))) == 2
            assert estate.snapshots() == [made[0], *fresh]

    asyncio.run(scenario())


def test_snapshots_are_listed_by_tag_host_and_latest_with_what_they_come_from(house, owner, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house) as estate:
            made = await back_up(estate, tree, 3)
            (row,) = (await tag(estate, made[0], replace=["x"])).changed
            door = commands(estate, OwnerCommands)

            def listed(**wanted):
                return [(row.snapshot, row.original) for row in door._snapshots(SnapshotsRequest(**wanted))]

            plain = [(name.hex(), "") for name in made[1:]]
            assert listed() == [(row.snapshot, made[0].hex()), *plain]
            assert listed(tags=["x", "y"]) == listed()[:1]
            assert listed(latest=1) == plain[1:]
            assert listed(latest=2, group_by=["host"]) == plain
            assert listed(hosts=["elsewhere"]) == []
            with pytest.raises(UserError):
                listed(group_by=["files"])

    asyncio.run(scenario())


def test_a_third_host_that_is_gone_for_good_holds_up_no_change(house, other, third, owner, *, tree, tmp_path):
    async def scenario():
        async with estate_of(owner, tmp_path / "estate", house, other, third) as estate:
            made = await back_up(estate, tree, 2)
            estate.sight.away.add(third.peer)
            shutil.rmtree(third.premises.directory)
            done = await tag(estate, made[0], add=["x"])
            assert len(done.peers) == 2
            assert [left.peer_id for left in done.left_out] == [format_peer_id(third.peer)]

    asyncio.run(scenario())
