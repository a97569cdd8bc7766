"""Restore drills: what comes back from one host alone, and that nothing of it stays."""

import asyncio
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.owner.test_transfer import damage_packs
from agent.watches import watching
from backuppeer.agent.jobs.drill import DrillJob, choose_files
from backuppeer.agent.reporter import reporting
from backuppeer.control.auditing import AuditRequest
from backuppeer.errors import NotFoundError
from backuppeer.ids import format_peer_id
from backuppeer.limits import DRILL_BYTES, DRILL_FILES
from backuppeer.repo.tree import EntryKind
from backuppeer.trust.evidence import Kind
from backuppeer.wire.messages import GetRange
from noise import noise


@given(st.lists(st.tuples(st.sampled_from(EntryKind), st.integers(0, 2 * DRILL_BYTES)), max_size=200), st.integers())
def test_files_are_drawn_that_fit_together(rows, seed):
    visits = [SimpleNamespace(entry=SimpleNamespace(kind=kind, size=size)) for kind, size in rows]
    fitting = [v for v in visits if v.entry.kind == EntryKind.FILE and v.entry.size <= DRILL_BYTES]
    chosen = choose_files(iter(visits), random.Random(seed))
    assert bool(chosen) == bool(fitting)
    assert len(chosen) <= DRILL_FILES
    assert sum(visit.entry.size for visit in chosen) <= DRILL_BYTES
    assert all(visit in fitting for visit in chosen)


def test_each_file_is_as_likely_as_any_other():
    visits = [SimpleNamespace(entry=SimpleNamespace(kind=EntryKind.FILE, size=n)) for n in range(4 * DRILL_FILES)]
    chance, counts = random.Random(4), [0] * len(visits)
    for _ in range(400):
        for visit in choose_files(iter(visits), chance):
            counts[visit.entry.size] += 1
    assert min(counts) > 50
    assert max(counts) < 150


@pytest.fixture
def try_out(house, other, owner, tree, tmp_path):
    def run(scenario, *houses):
        async def whole():
            async with watching(owner, tmp_path / "watch", *(houses or [house])) as watch:
                for _ in range(4):
                    folder = tree()
                (folder / "deep" / "er").mkdir(parents=True)
                (folder / "deep" / "er" / "large *?").write_bytes(noise(1, 3_000_000))
                await watch.back_up(folder)
                await scenario(watch)

        asyncio.run(whole())

    return run


async def drill(watch, *names):
    async with reporting(watch._emit) as reporter:
        return await DrillJob(watch.vault, watch.home, AuditRequest(peers=list(names)), reporter).run()


def leftovers(watch):
    return list(watch.home.path.glob("backup-peer-drill-*"))


def test_files_come_back_from_a_host_that_has_them_and_nothing_of_them_stays(house, try_out):
    async def scenario(watch):
        left = watch.home.path / "backup-peer-drill-killed00"
        left.mkdir()
        (left / "plain").write_text("of a drill that was killed")
        before = {path for path in watch.home.path.rglob("*") if "drill" not in str(path)}
        done = await drill(watch)
        [host] = done.hosts
        assert (host.files, host.failed, done.left_out, watch.faults) == (5, 0, [], [])
        assert host.bytes == 3_000_000 + 4 * 1000
        assert done.snapshot == watch.snapshots()[-1].hex()
        assert leftovers(watch) == []
        assert {path for path in watch.home.path.rglob("*") if path.suffix == ".proof"} <= before
        assert Kind.RESTORED in watch.seen(house)

    try_out(scenario)


def test_what_one_host_can_not_give_never_comes_from_another(house, other, try_out):
    async def scenario(watch):
        damage_packs(house)
        done = await drill(watch)
        bad, good = done.hosts
        assert (bad.files, bad.failed) == (0, 5)
        assert (good.files, good.failed) == (5, 0)
        assert watch.faults == [(format_peer_id(house.peer), "files did not come back from it as they were saved: 5")]
        assert Kind.INTEGRITY_FAULT in watch.seen(house)
        assert Kind.INTEGRITY_FAULT not in watch.seen(other)
        assert leftovers(watch) == []

    try_out(scenario, house, other)


def test_a_host_is_not_blamed_for_what_it_was_never_given(house, other, try_out):
    async def scenario(watch):
        folder = watch.home.path.parent / "files"
        (folder / "newer").write_bytes(noise(2, 400_000))
        watch.sight.away.add(house.peer)
        await watch.back_up(folder, other)
        watch.sight.away.clear()
        lags, whole = (await drill(watch)).hosts
        assert (lags.files, lags.failed, lags.absent) == (5, 0, 1)
        assert (whole.files, whole.failed, whole.absent) == (6, 0, 0)
        assert watch.faults == []

    try_out(scenario, house, other)


def test_a_host_that_is_away_is_named_and_the_others_are_drilled(house, other, try_out):
    async def scenario(watch):
        watch.sight.away.add(house.peer)
        done = await drill(watch)
        assert [host.files for host in done.hosts] == [5]
        assert [left.peer_id for left in done.left_out] == [format_peer_id(house.peer)]
        with pytest.raises(NotFoundError):
            await drill(watch, "nobody")

    try_out(scenario, house, other)


def test_a_drill_that_is_cancelled_leaves_nothing(house, try_out):
    async def scenario(watch):
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def wait(channel, message):
            asked.set()
            await go_on.wait()
            await watch.crooks[house.peer].honest._answer(watch.vault._keys.peer, channel, message)

        watch.crooks[house.peer].handlers[GetRange] = wait
        running = asyncio.create_task(drill(watch))
        await asked.wait()
        assert leftovers(watch)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert leftovers(watch) == []
        go_on.set()

    try_out(scenario)
