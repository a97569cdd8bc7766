"""`check` and its repair in a home with hosts in session: every kind of damage is named, and what can be is mended."""

import asyncio
import errno
import os
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from agent.estates import estate_of
from backuppeer.agent.jobs import reading
from backuppeer.agent.jobs.check import CheckJob
from backuppeer.agent.jobs.pulling import for_each
from backuppeer.agent.jobs.reading import is_in_part
from backuppeer.agent.jobs.repair import RepairJob
from backuppeer.agent.owner.selfcheck import find_uncompared
from backuppeer.agent.reporter import Reporter
from backuppeer.backup import archiver
from backuppeer.control.checking import CheckRequest, RepairRequest
from backuppeer.errors import (
    DamagedStateError,
    IntegrityFault,
    LocalError,
    NewerFormatError,
    NotFoundError,
    PeerUnreachable,
    UserError,
)
from backuppeer.limits import MIB
from backuppeer.repo.blob import BlobKind
from backuppeer.repo.snapshot import encode_snapshot
from backuppeer.shares.ledger import Ledger
from backuppeer.trust.conduct import Bar
from backuppeer.trust.evidence import Kind


def make_tree(folder: Path, size_bytes: int) -> Path:
    (folder / "sub").mkdir(parents=True)
    for number in range(6):
        (folder / "sub" / f"{number}.bin").write_bytes(os.urandom(size_bytes))
    (folder / "note.txt").write_text("a note")
    return folder


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "files", 30_000)


@pytest.fixture
def large(tmp_path):
    """A tree of several blocks: damage to one leaves others whole."""
    return make_tree(tmp_path / "files", 900_000)


@pytest.fixture
def play(owner, tmp_path):
    def run(scenario, *houses):
        for each in houses:
            each.wish = (32 * MIB, 3600, 60)

        async def whole():
            async with estate_of(owner, tmp_path / "estate", *houses) as estate:
                await scenario(estate)

        asyncio.run(whole())

    return run


class Told:
    """What a check said on its way."""

    def __init__(self):
        self.files, self.notes, self.phases = [], [], []

    async def emit(self, event):
        if event.event == "error-file":
            self.files.append(event.data["path"])
        elif event.event == "note":
            self.notes.append(event.data["text"])
        elif event.event == "progress":
            self.phases.append(event.data["phase"])


async def check(estate, told=None, **fields):
    told = told or Told()
    reporter = Reporter(told.emit)
    result = await CheckJob(estate.vault, CheckRequest(**fields), reporter).run()
    await reporter.drain()
    return result, told


async def repair(estate, result):
    request = RepairRequest(actions=[action.action for action in result.repairs])
    return await RepairJob(estate.vault, estate.auditor, request, Reporter(Told().emit)).run()


def packs_of(house) -> list[Path]:
    found = [path for path in house.premises.directory.rglob("packs/*/*") if path.suffix != ".leaves"]
    return sorted(found, key=lambda path: -path.stat().st_size)


def rot(house, *, at=None, packs=1) -> None:
    for path in packs_of(house)[:packs]:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2 if at is None else at)
            file.write(os.urandom(2048))


def abouts(result) -> set[str]:
    return {problem.about for problem in result.problems}


def binaries(told) -> set[str]:
    return {Path(name).name for name in told.files if name.endswith(".bin")}


def database(estate, name: str) -> Path:
    return estate.vault.repository.database(name)


# --- nothing wrong
def test_a_whole_home_has_no_problem_and_reading_it_is_remembered_and_counts_for_the_host(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        (tree / "more").write_bytes(os.urandom(50_000))
        await estate.back_up(tree)
        quick, _ = await check(estate)
        assert (quick.problems, quick.repairs, quick.snapshots, quick.left_out) == ([], [], 2, [])
        assert quick.copies == quick.unread_copies == quick.packs > 1
        assert Kind.RESTORED not in estate.seen(house)
        full, told = await check(estate, read_data=True)
        assert (full.problems, full.read_copies, full.unread_copies) == ([], quick.copies, 0)
        assert full.oldest_verified
        assert full.read_bytes == sum(path.stat().st_size for path in packs_of(house))
        assert "reading packs" in told.phases
        assert Kind.RESTORED in estate.seen(house)

    play(scenario, house)


def test_what_was_not_read_for_longest_is_read_first_and_shares_cover_everything(house, tree, play):
    async def scenario(estate):
        for number in range(4):
            (tree / f"new{number}").write_bytes(os.urandom(9000))
            await estate.back_up(tree)
        total = (await check(estate))[0].copies
        seen = Counter()
        while (await check(estate))[0].unread_copies:
            result, _ = await check(estate, most_bytes=1)
            assert result.read_copies == 1
            seen["read"] += 1
        assert seen["read"] == total, "one that was read came before one that never was"
        parts = [(await check(estate, part=part, parts=3))[0].read_copies for part in (1, 2, 3)]
        assert sum(parts) == total
        size_bytes = sum(path.stat().st_size for path in packs_of(house))
        for percent in (0.001, 50, 100):
            share, _ = await check(estate, percent=percent)
            assert share.read_bytes >= size_bytes * percent / 100
            assert share.read_copies == 1 or percent > 1

    play(scenario, house)


def test_rows_of_a_pack_are_compared_with_its_directory_once_and_again_when_they_change(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        first, second = (await check(estate))[1], (await check(estate))[1]
        assert "comparing the index" in first.phases
        assert "comparing the index" not in second.phases
        assert find_uncompared(estate.vault.repository, lambda: None) == []

    play(scenario, house)


@pytest.mark.parametrize(
    "fields",
    [
        {"percent": 101},
        {"percent": -1},
        {"part": 3, "parts": 2},
        {"part": 0, "parts": 2},
        {"part": 2},
        {"most_bytes": -1},
        {"percent": 5, "part": 1, "parts": 2},
        {"read_data": True, "percent": 5},
    ],
)
def test_a_share_that_there_can_not_be_is_refused(house, play, fields):
    async def scenario(estate):
        with pytest.raises(UserError, match="no share"):
            await check(estate, **fields)

    play(scenario, house)


def test_of_one_snapshot_only_what_it_needs_is_read(house, tree, play):
    async def scenario(estate):
        first = (await estate.back_up(tree)).snapshot
        for path in tree.rglob("*.*"):
            path.write_bytes(os.urandom(500))
        second = (await estate.back_up(tree)).snapshot
        oldest = min(packs_of(house), key=lambda path: path.stat().st_mtime_ns)
        oldest.write_bytes(oldest.read_bytes()[:-20_000] + bytes(20_000))
        two, told = await check(estate, read_data=True, snapshots=[second])
        assert (two.snapshots, two.copies, two.read_copies, two.problems) == (1, 2, 1, [])
        assert not any("no snapshot needs" in note for note in told.notes)
        one, _ = await check(estate, read_data=True, snapshots=[first])
        assert (one.read_copies, one.snapshots_hit) == (2, [first]), "the list of all snapshots is in the other one"

    play(scenario, house)


def test_a_snapshot_that_is_not_there_is_told(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        with pytest.raises(NotFoundError):
            await check(estate, snapshots=["abcdef"])
        assert (await check(estate, snapshots=["latest"]))[0].snapshots == 1

    play(scenario, house)


# --- hosts
def test_a_rotten_pack_costs_just_the_files_in_its_damage_and_the_host_its_good_name(house, large, play):
    async def scenario(estate):
        snapshot = (await estate.back_up(large)).snapshot
        rot(house)
        result, told = await check(estate, read_data=True)
        assert abouts(result) == {"packs", "snapshots"}
        assert len(told.files) == result.files_hit
        assert 0 < len(binaries(told)) < 6, "only what lies in the same mebibyte"
        assert result.snapshots_hit == [snapshot]
        assert result.hosts[0].damaged == 1
        assert Kind.INTEGRITY_FAULT in estate.seen(house)
        again, _ = await check(estate)
        assert "wrong" in " ".join(problem.text for problem in again.problems)

    play(scenario, house)


def test_a_copy_that_is_whole_again_is_no_problem_any_more(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        (path, *_) = packs_of(house)
        before = path.read_bytes()
        rot(house)
        assert (await check(estate, read_data=True))[0].problems
        path.write_bytes(before)
        assert (await check(estate, read_data=True))[0].problems == []
        assert (await check(estate))[0].problems == []

    play(scenario, house)


def test_a_lost_pack_names_what_was_in_it_and_another_host_gives_it_back(house, other, tree, play):
    async def scenario(estate):
        snapshot = (await estate.back_up(tree)).snapshot
        for path in packs_of(house):
            path.unlink()
        estate_packs = len(packs_of(other))
        house.premises.close()
        result, told = await check(estate)
        assert [host.missing for host in result.hosts] == [estate_packs, 0]
        assert told.files == []
        assert [action.action for action in result.repairs] == ["copies"]
        names = [estate.vault.name(one.peer) for one in (house, other)]
        assert estate.vault.standing.bar(house.peer) is Bar.LOST
        done = (await repair(estate, result)).done
        assert [text for text in done if "audited" not in text] == [
            f"{name} holds every pack that can be had" for name in names
        ]
        assert f"{names[0]} was audited and is whole: what it lost stands against it no more" in done
        assert estate.vault.standing.caps(house.peer) == [], "nothing is left to say of it"
        assert (await check(estate, read_data=True))[0].problems == []
        assert snapshot in {name.hex() for name in estate.snapshots()}

    play(scenario, house, other)


def test_packs_that_are_nowhere_are_told_with_everything_that_was_in_them_and_no_snapshot_goes(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        made = estate.snapshots()
        for path in packs_of(house):
            path.unlink()
        house.premises.close()
        result, told = await check(estate)
        assert any("with no host" in problem.text for problem in result.problems)
        assert {Path(name).name for name in told.files} >= {f"{n}.bin" for n in range(6)}
        await repair(estate, result)
        assert estate.snapshots() == made
        after, _ = await check(estate)
        assert after.snapshots_hit == [name.hex() for name in made], "a repair that can't mend says so"
        estate.forgive(house)
        await estate.back_up(tree)
        assert (await check(estate, read_data=True))[0].problems == []

    play(scenario, house)


def test_what_also_lies_in_a_further_pack_is_neither_named_nor_missed_when_the_first_is_lost(
    house, other, tree, tmp_path, play
):
    async def scenario(estate):
        await estate.back_up(tree, house)
        estate.sight.away = {house.peer}
        snapshot = (await estate.back_up(tree, other)).snapshot
        estate.sight.away = set()
        # Found at the second host, and at the first by their spare places alone.
        index, ledger = estate.vault.repository.index, estate.vault.repository.ledger
        (pack,) = {at.pack for at in index.locations() if at.kind == BlobKind.DATA}
        (copy,) = ledger.copies_of(pack)
        (path,) = [path for path in packs_of(other) if path.name == copy.stored.hex()]
        path.unlink()
        other.premises.close()
        result, told = await check(estate)
        assert "lost 1 pack" in " ".join(problem.text for problem in result.problems)
        assert told.files == ["/"], "folders above have changed meanwhile; nothing else lies there alone"
        await estate.restore(snapshot, tmp_path / "out")
        assert {path.name for path in (tmp_path / "out").rglob("*.bin")} == {f"{n}.bin" for n in range(6)}

    play(scenario, house, other)


def test_a_spoiled_copy_is_replaced_from_another_host_and_never_comes_back(house, other, tree, tmp_path, play):
    async def scenario(estate):
        snapshot = (await estate.back_up(tree)).snapshot
        rot(house, packs=1)
        result, told = await check(estate, read_data=True)
        assert (result.files_hit, told.files) == (0, [])
        await repair(estate, result)
        assert (await check(estate, read_data=True))[0].problems == []
        # What lies at the host beside it, with its directory whole, is not taken for the copy again.
        estate.lose_repository("index")
        await estate.restore(snapshot, tmp_path / "one")
        estate.sight.away = {other.peer}
        await estate.restore(snapshot, tmp_path / "two")
        assert (await check(estate, read_data=True))[0].problems == []

    play(scenario, house, other)


def test_parts_of_a_spoiled_copy_are_still_restored_after_a_repair_and_after_a_backup(house, large, tmp_path, play):
    async def scenario(estate):
        snapshot = (await estate.back_up(large)).snapshot
        rot(house)
        result, told = await check(estate, read_data=True)
        await repair(estate, result)
        kept = tmp_path / "kept"
        large.rename(kept)  # what is lost is not on this machine any more either
        large.mkdir()
        (large / "other.txt").write_text("something else")
        estate.forgive(house)
        await estate.back_up(large)
        with pytest.raises(IntegrityFault, match="not at all"):
            await estate.restore(snapshot, tmp_path / "out")
        whole = {path.name for path in (tmp_path / "out").rglob("*.bin")}
        assert 0 < len(whole) < 6
        assert whole == {f"{n}.bin" for n in range(6)} - binaries(told)

    play(scenario, house)


def test_a_host_set_back_behind_what_it_countersigned_is_told(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        (head,) = house.premises.directory.rglob("agreements/*/head")
        before = head.read_bytes()
        (tree / "new").write_text("new")
        await estate.back_up(tree)
        head.write_bytes(before)
        house.premises.close()
        result, _ = await check(estate)
        assert abouts(result) == {"head"}
        assert "had countersigned head 2" in result.problems[0].text
        assert Kind.INTEGRITY_FAULT in estate.seen(house)
        await repair(estate, result)
        assert (await check(estate))[0].problems == []

    play(scenario, house)


@pytest.mark.parametrize("content", [b"", b"BPHEAD1\n", b"BPHEAD9\n" + bytes(300), os.urandom(900)])
def test_a_damaged_head_at_a_host_is_told_and_left_anew(house, tree, play, content):
    async def scenario(estate):
        await estate.back_up(tree)
        (head,) = house.premises.directory.rglob("agreements/*/head")
        head.write_bytes(content)
        house.premises.close()
        result, _ = await check(estate)
        assert abouts(result) == {"head"}
        await repair(estate, result)
        assert (await check(estate))[0].problems == []

    play(scenario, house)


def test_a_host_that_lacks_what_another_has_is_named_with_how_much_and_it_is_no_loss(house, other, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        (tree / "more").write_bytes(os.urandom(700_000))
        await estate.back_up(tree, house)
        result, _ = await check(estate)
        one, two = result.hosts
        assert result.problems == []
        assert (one.lacking, one.lacking_bytes) == (0, 0)
        assert (two.lacking, two.lacking_bytes > 700_000) == (1, True)
        await estate.back_up(tree)
        assert [host.lacking for host in (await check(estate))[0].hosts] == [0, 0]

    play(scenario, house, other)


def test_a_host_that_is_away_is_left_out_and_nothing_of_it_is_called_lost(house, other, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        estate.sight.away = {other.peer}
        result, _ = await check(estate, read_data=True)
        assert (result.problems, [host.reached for host in result.hosts]) == ([], [True, False])
        assert len(result.left_out) == 1
        estate.sight.away = {house.peer, other.peer}
        result, told = await check(estate, read_data=True)
        assert (result.problems, told.files, len(result.left_out)) == ([], [], 2)

    play(scenario, house, other)


def test_a_host_that_goes_away_while_it_is_read_is_left_out_and_what_was_read_is_kept(house, tree, play, monkeypatch):
    async def scenario(estate):
        for number in range(3):
            (tree / f"new{number}").write_bytes(os.urandom(9000))
            await estate.back_up(tree)
        real, count = reading.Proofreader.read, []

        def leave(self, copy):
            count.append(copy)
            if len(count) == 3:
                estate.sight.away = {house.peer}
            return real(self, copy)

        monkeypatch.setattr(reading.Proofreader, "read", leave)
        monkeypatch.setattr("backuppeer.agent.owner.fetch.RETRY_BUDGET_S", 0.0)
        monkeypatch.setattr(reading, "CHECK_AT_ONCE", 1)
        result, _ = await check(estate, read_data=True)
        assert (result.problems, result.read_copies, len(result.left_out)) == ([], 2, 1)
        assert len(count) == 3, "it was asked again and again"
        assert result.unread_copies == result.copies - 2

    play(scenario, house)


def test_a_check_that_is_ended_keeps_what_was_read_and_the_next_one_goes_on(house, tree, play, monkeypatch):
    async def scenario(estate):
        for number in range(4):
            (tree / f"new{number}").write_bytes(os.urandom(9000))
            await estate.back_up(tree)
        monkeypatch.setattr(reading, "CHECK_AT_ONCE", 1)
        real, loop = reading.Proofreader.read, asyncio.get_running_loop()
        seen = []

        def end(self, copy):
            verdict = real(self, copy)
            seen.append(copy)
            if len(seen) == 2:
                loop.call_soon_threadsafe(task.cancel)
                stopped.wait(60)
            return verdict

        monkeypatch.setattr(reading.Proofreader, "read", end)
        job = CheckJob(estate.vault, CheckRequest(read_data=True), Reporter(Told().emit))
        stopped = job._stop  # which a job that is cancelled sets
        task = asyncio.create_task(job.run())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(seen) == 2
        rest, _ = await check(estate)
        assert rest.unread_copies == rest.copies - 2
        assert not estate.vault.busy.locked()
        await check(estate, most_bytes=1)
        assert seen[2] not in seen[:2]

    play(scenario, house)


def test_a_backup_may_run_while_packs_are_read(house, tree, play, monkeypatch):
    async def scenario(estate):
        await estate.back_up(tree)
        real, loop = reading.Proofreader.read, asyncio.get_running_loop()

        def back_up_meanwhile(self, copy):
            (tree / "meanwhile").write_bytes(os.urandom(9000))
            asyncio.run_coroutine_threadsafe(estate.back_up(tree), loop).result(60)
            return real(self, copy)

        monkeypatch.setattr(reading.Proofreader, "read", back_up_meanwhile)
        result, told = await check(estate, read_data=True)
        assert (result.problems, told.files, result.packs) == ([], [], 1)

    play(scenario, house)


def test_no_check_is_made_of_a_backup_that_is_half_done(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        async with estate.vault.busy:
            with pytest.raises(UserError, match="is running in this home"):
                await check(estate)

    play(scenario, house)


@pytest.mark.parametrize("step", ["meet", "in_thread", "leave_head"])
def test_a_repair_that_breaks_off_anywhere_is_finished_by_whatever_comes_next(house, tree, play, monkeypatch, step):
    async def scenario(estate):
        snapshot = (await estate.back_up(tree)).snapshot
        estate.lose_repository("index")
        result, _ = await check(estate)

        async def break_off(*_):
            raise PeerUnreachable("the connection broke")

        with monkeypatch.context() as patched:
            patched.setattr(f"backuppeer.agent.owner.gathering.Gathering.{step}", break_off)
            with pytest.raises(PeerUnreachable):
                await repair(estate, result)
        await estate.back_up(tree)
        assert snapshot in {name.hex() for name in estate.snapshots()}
        assert (await check(estate, read_data=True))[0].problems == []

    play(scenario, house)


def test_damage_that_was_healed_by_a_backup_is_no_problem_any_more(house, large, play):
    async def scenario(estate):
        await estate.back_up(large)
        rot(house)
        assert (await check(estate, read_data=True))[0].problems
        estate.forgive(house)
        await estate.back_up(large)
        result, told = await check(estate, read_data=True)
        assert (result.problems, result.hosts[0].damaged) == ([], 0)
        assert "packs that are with no host whole, and that no snapshot needs: 1" in told.notes

    play(scenario, house)


@pytest.mark.parametrize("actions", [[], ["everything"], ["index", "rm -r"]])
def test_a_repair_does_only_what_there_is(house, tree, play, actions):
    async def scenario(estate):
        await estate.back_up(tree)
        with pytest.raises(UserError):
            await RepairJob(estate.vault, estate.auditor, RepairRequest(actions=actions), Reporter(Told().emit)).run()
        assert not list(database(estate, "index").parent.glob("*.damaged"))

    play(scenario, house)


# --- this machine
def test_an_index_that_knows_nothing_is_told_and_built_again(house, tree, tmp_path, play):
    async def scenario(estate):
        snapshot = (await estate.back_up(tree)).snapshot
        estate.lose_repository("index")
        result, _ = await check(estate)
        assert "index" in abouts(result)
        assert estate.snapshots() == [], "a check does not mend by the way"
        await repair(estate, result)
        assert (await check(estate, read_data=True))[0].problems == []
        await estate.restore(snapshot, tmp_path / "out")

    play(scenario, house)


HARMS = {
    "offset": "UPDATE blobs SET offset = offset + 4096 WHERE kind = 1",
    "kind": "UPDATE blobs SET kind = 9 WHERE kind = 1",
    "gone": "DELETE FROM blobs WHERE kind = 1",
    "stray": "UPDATE blobs SET pack = 4711 WHERE kind = 1",
    "invented": "INSERT INTO blobs SELECT randomblob(32), pack, slot, offset, sealed, plain, kind, codec FROM blobs",
    "snapshot": "UPDATE snapshots SET body = x'00'",
    "snapshots": "DELETE FROM snapshots",
    "packs": "DELETE FROM packs WHERE number = 1",
}


@pytest.mark.parametrize("harm", HARMS)
def test_wrong_rows_of_the_index_are_found_and_built_again_and_the_host_is_not_blamed(
    house, tree, tmp_path, play, harm
):
    async def scenario(estate):
        snapshot = (await estate.back_up(tree)).snapshot
        await check(estate)
        path = database(estate, "index")
        estate.vault.close()
        with closing(sqlite3.connect(path)) as db:
            db.execute(HARMS[harm])
            db.commit()
        before = Counter(observation.kind for observation in estate.evidence.latest(house.peer))
        result, _ = await check(estate)
        assert "index" in abouts(result), result
        await repair(estate, result)
        assert Counter(o.kind for o in estate.evidence.latest(house.peer))[Kind.INTEGRITY_FAULT] == before.get(
            Kind.INTEGRITY_FAULT, 0
        )
        assert (await check(estate, read_data=True))[0].problems == []
        assert path.with_name("index.db.damaged").exists()
        await estate.restore(snapshot, tmp_path / "out")
        assert len(list((tmp_path / "out").rglob("*.bin"))) == 6

    play(scenario, house)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 64] = os.urandom(64)
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def replace(path: Path) -> None:
    path.write_bytes(b"this is a letter to my aunt\n" * 400)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [flip, cut, empty, replace, make_folder])
@pytest.mark.parametrize("name", ["index", "trees", "ledger"])
def test_a_database_damaged_in_any_way_is_named_and_mended(house, tree, play, name, harm):
    async def scenario(estate):
        snapshot = (await estate.back_up(tree)).snapshot
        path = database(estate, name)
        estate.vault.close()
        for log in path.parent.glob(f"{path.name}-*"):
            log.unlink()
        harm(path)
        result, _ = await check(estate)
        if (name, harm) != ("trees", empty):  # a cache that forgot everything is no damage
            assert name in abouts(result), result
        if result.repairs:
            await repair(estate, result)
        again, _ = await check(estate, read_data=True)
        assert again.problems == []
        out = tree.parent / "out"
        await estate.restore(snapshot, out)
        assert len(list(out.rglob("*.bin"))) == 6

    play(scenario, house)


def test_wrong_entries_of_the_tree_cache_are_dropped_and_fetched_again(house, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        path = database(estate, "trees")
        estate.vault.close()
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE bodies SET body = x'9201'")
            db.commit()
        result, _ = await check(estate)
        assert "trees" in abouts(result)
        done = await repair(estate, result)
        assert any("dropped wrong entries" in text for text in done.done)
        assert (await check(estate))[0].problems == []

    play(scenario, house)


def test_a_home_that_may_only_read_gets_its_index_back(house, tree, tmp_path, play):
    async def scenario(estate):
        snapshot = (await estate.back_up(tree)).snapshot
        (estate.home.keys / "grant").unlink()
        estate.lose_repository("index")
        result, _ = await check(estate)
        assert [action.action for action in result.repairs] == ["index"]
        await repair(estate, result)
        assert (await check(estate, read_data=True))[0].problems == []
        await estate.restore(snapshot, tmp_path / "out")

    play(scenario, house)


def test_the_index_is_not_begun_anew_while_a_host_that_may_be_needed_for_it_is_away(house, other, tree, play):
    async def scenario(estate):
        await estate.back_up(tree)
        estate.lose_repository("index")
        estate.sight.away = {other.peer}
        result, _ = await check(estate)
        with pytest.raises(PeerUnreachable, match="nothing was changed"):
            await repair(estate, result)
        assert not database(estate, "index").with_name("index.db.damaged").exists()

    play(scenario, house, other)


# --- known traps of others
def test_a_stale_index_does_not_make_a_later_backup_skip_an_upload(house, tree, tmp_path, play):
    async def scenario(estate):
        await estate.back_up(tree)
        path = database(estate, "index")
        estate.vault.close()
        # As a compaction that was cut off would leave it: rows still name a pack that is known to nobody any more.
        with closing(sqlite3.connect(path)) as db:
            db.execute("DELETE FROM packs")
            db.commit()
        for pack in packs_of(house):
            pack.unlink()
        house.premises.close()
        done = await estate.back_up(tree)
        assert done.new_bytes >= 180_000, "the files were taken for sent"
        await estate.restore(done.snapshot, tmp_path / "out")
        assert len(list((tmp_path / "out").rglob("*.bin"))) == 6

    play(scenario, house)


def make_newer(snapshot) -> bytes:
    fields = msgspec.msgpack.decode(encode_snapshot(snapshot))
    return msgspec.msgpack.encode({**fields, "v": 2, "colour": b"blue"})


@pytest.fixture
def newer(monkeypatch):
    """Let backups be made as a newer program would."""

    async def back_up(estate, tree):
        with monkeypatch.context() as patched:
            patched.setattr(archiver, "encode_snapshot", make_newer)
            await estate.back_up(tree)
        return estate.snapshots()[-1]

    return back_up


def test_a_snapshot_of_a_newer_format_is_refused_by_name(house, tree, tmp_path, play, newer):
    async def scenario(estate):
        older = (await estate.back_up(tree)).snapshot
        name = await newer(estate, tree)
        with pytest.raises(NewerFormatError, match="format 2, this program knows 1"):
            await estate.restore("latest", tmp_path / "out")
        with pytest.raises(NewerFormatError, match=name.hex()[:8]):
            await estate.restore(name.hex(), tmp_path / "out")
        await estate.restore(older, tmp_path / "out")

    play(scenario, house)


def test_no_repair_and_no_backup_deletes_a_snapshot_of_a_newer_format(house, tree, play, newer):
    async def scenario(estate):
        await estate.back_up(tree)
        name = await newer(estate, tree)
        body = dict(estate.vault.repository.index.snapshots())[name]
        result, told = await check(estate, read_data=True)
        assert result.problems == []
        assert any(f"{name.hex()[:8]} is of a newer format (2)" in note for note in told.notes)
        for lost in ("index", "trees", "ledger"):
            estate.lose_repository(lost)
            result, _ = await check(estate)
            if result.repairs:
                await repair(estate, result)
            await estate.back_up(tree)
            assert dict(estate.vault.repository.index.snapshots())[name] == body

    play(scenario, house)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EMFILE])
def test_a_failing_disk_of_a_host_is_no_damage_and_no_loss(house, tree, play, monkeypatch, code):
    async def scenario(estate):
        await estate.back_up(tree)

        def refuse(*_):
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patched:
            patched.setattr("backuppeer.host.reader.os.preadv", refuse)
            patched.setattr("backuppeer.agent.owner.fetch.RETRY_BUDGET_S", 0.0)
            result, told = await check(estate, read_data=True)
        assert (result.problems, told.files, result.read_copies) == ([], [], 0)
        assert len(result.left_out) == 1
        assert (await check(estate, read_data=True))[0].problems == []

    play(scenario, house)


@pytest.mark.parametrize("name", ["note_verified", "note_spoiled", "note_compared"])
def test_a_full_disk_here_ends_the_check_as_what_it_is_and_blames_nobody(house, tree, play, monkeypatch, name):
    async def scenario(estate):
        await estate.back_up(tree)
        if name == "note_spoiled":
            rot(house)
        real = getattr(Ledger, name)

        def fill(self, *args):
            with self._lock:
                self._connection.execute("PRAGMA max_page_count=1")  # SQLite says SQLITE_FULL, as for a full disk
            monkeypatch.setattr(Ledger, name, real)
            with self._transaction() as connection:
                connection.execute("INSERT INTO compared VALUES (randomblob(16), 1, zeroblob(900000))")

        monkeypatch.setattr(Ledger, name, fill)
        with pytest.raises(LocalError, match="full") as caught:
            await check(estate, read_data=True)
        assert not isinstance(caught.value, DamagedStateError)
        if name != "note_spoiled":
            assert Kind.INTEGRITY_FAULT not in estate.seen(house)
        assert estate.vault.repository.ledger.find_fault() == ""

    play(scenario, house)


def test_a_pack_of_a_newer_format_is_left_alone_and_is_no_fault_of_its_host(house, tree, play, monkeypatch):
    async def scenario(estate):
        await estate.back_up(tree)
        with monkeypatch.context() as patched:
            patched.setattr("backuppeer.repo.layout.VERSION", 2)
            patched.setattr("backuppeer.repo.pack.VERSION", 2)
            (tree / "new").write_bytes(os.urandom(9000))
            await estate.back_up(tree)
        result, told = await check(estate, read_data=True)
        assert any("newer version (format version 2" in note for note in told.notes)
        assert (result.problems, result.read_copies, result.unread_copies) == ([], 1, 1)
        estate.lose_repository("index")
        before = [path.read_bytes() for path in packs_of(house)]
        await repair(estate, (await check(estate))[0])
        assert set(before) <= {path.read_bytes() for path in packs_of(house)}
        assert Kind.INTEGRITY_FAULT not in estate.seen(house)

    play(scenario, house)


def test_a_head_of_a_newer_version_is_told_never_overwritten_and_no_fault_of_its_host(house, tree, play, monkeypatch):
    async def scenario(estate):
        await estate.back_up(tree)
        (kept,) = house.premises.directory.rglob("agreements/*/head")
        before = kept.read_bytes()
        real = estate.vault.heads.ask

        async def show_newer(self, partner):
            held = await real(partner)
            return msgspec.structs.replace(held, head=held.head.replace(b"\xa1v\x01", b"\xa1v\x02", 1))

        monkeypatch.setattr("backuppeer.agent.owner.heads.HeadChain.ask", show_newer)
        result, _ = await check(estate)
        assert abouts(result) == {"head"}
        assert "newer version" in result.problems[0].text
        for write in (lambda: repair(estate, result), lambda: estate.back_up(tree)):
            with pytest.raises(NewerFormatError):
                await write()
        assert kept.read_bytes() == before
        assert {Kind.PROTOCOL_VIOLATION, Kind.INTEGRITY_FAULT}.isdisjoint(estate.seen(house))

    play(scenario, house)


# --- threads
def test_each_item_is_worked_on_once_and_no_more_at_a_time_than_there_are_places():
    lock, busy, most, seen = threading.Lock(), [0], [0], []

    def work(item):
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
            seen.append(item)
        with lock:
            busy[0] -= 1

    for_each(iter(range(200)), work, threading.Event(), at_once=3)
    assert sorted(seen) == list(range(200))
    assert most[0] <= 3


def test_nothing_more_is_begun_after_the_stop_and_an_error_ends_it():
    stop, seen = threading.Event(), []

    def work(item):
        seen.append(item)
        stop.set()

    for_each(iter(range(1000)), work, stop, at_once=1)
    assert len(seen) < 5

    def fail(item):
        raise UserError(f"no {item}")

    with pytest.raises(UserError):
        for_each(iter(range(1000)), fail, threading.Event(), at_once=2)


def test_every_copy_is_in_one_part_of_any_division():
    class Copy:
        def __init__(self):
            self.stored = os.urandom(32)

    for copy in (Copy() for _ in range(50)):
        assert sum(is_in_part(copy, CheckRequest(part=part, parts=7)) for part in range(1, 8)) == 1
        assert is_in_part(copy, CheckRequest())


@pytest.mark.parametrize("why", ["reads alone", "unread"])
def test_packs_that_a_home_never_read_of_are_taken_in_by_a_check(play, tree, house, other, monkeypatch, why):  # noqa: PLR0917
    async def scenario(estate):
        await estate.back_up(tree)
        agreement = next(a for a, host, _ in estate.state.agreements() if host == house.peer)
        estate.vault.repository.ledger.drop_agreement(agreement)
        if why == "unread":
            estate.vault.unread.add([agreement])
        else:
            monkeypatch.setattr(type(estate.vault.writer), "may_write", False)
        assert estate.vault.complete_hosts() == [other.peer]
        result, told = await check(estate)
        assert result.problems == []
        assert not any("does not know" in note for note in told.notes)
        assert set(estate.vault.complete_hosts()) == {house.peer, other.peer}

    play(scenario, house, other)
