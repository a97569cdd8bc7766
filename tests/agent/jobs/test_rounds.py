"""Audits that the agent makes by itself: when, of whom, and what they never hold up."""

import asyncio

import pytest

from agent.watches import watching
from backuppeer.agent.jobs.audit import AuditJob, describe_all, describe_hosts
from backuppeer.agent.jobs.rounds import Rounds
from backuppeer.agent.reporter import reporting
from backuppeer.clock import format_time
from backuppeer.control.auditing import AuditRequest
from backuppeer.errors import NotFoundError, PeerUnreachable, RefusedError
from backuppeer.limits import AUDIT_EVERY_S, MIB
from backuppeer.trust.evidence import Kind
from backuppeer.wire.auditing import AskAudit
from backuppeer.wire.messages import GetHead

DAY_MS = 86_400_000


class Trial:
    """The rounds of one home whose jitter a test sets: 1 = exactly a day."""

    def __init__(self, watch) -> None:
        self.watch, self.factor, self.wanted = watch, 1.0, True
        self.rounds = Rounds(watch.vault, watch.auditor, is_wanted=lambda: self.wanted, pick=lambda *_: self.factor)

    def due_days(self, house) -> float:
        account = self.watch.auditor.account(self.watch.partner(house).agreement)
        return (account.due_ms - self.watch.days.now_ms()) / DAY_MS

    async def look(self) -> list[bytes]:
        return await self.rounds.look()

    def asked(self, house) -> int:
        return sum(isinstance(one, GetHead) for one in self.watch.crooks[house.peer].asked)


@pytest.fixture
def try_out(house, other, owner, tree, tmp_path):
    def run(scenario, *houses):
        async def whole():
            async with watching(owner, tmp_path / "watch", *(houses or [house])) as watch:
                await watch.back_up(tree())
                for crook in watch.crooks.values():
                    crook.asked.clear()
                await scenario(Trial(watch))

        asyncio.run(whole())

    return run


def test_each_host_is_audited_once_a_day_and_not_within_the_first_hour(house, try_out):
    async def scenario(trial):
        assert await trial.look() == []
        assert 1 / 24 <= trial.due_days(house) <= 1 + 1 / 24
        trial.watch.pass_days(25 / 24 + 0.01)
        assert await trial.look() == [house.peer]
        assert trial.due_days(house) == pytest.approx(1, abs=0.01)
        for _ in range(3):
            assert await trial.look() == []
        trial.watch.restart()
        trial = Trial(trial.watch)
        assert await trial.look() == [], "a restart repeats nothing"
        trial.watch.pass_days(1.01)
        assert await trial.look() == [house.peer]
        assert Kind.AUDITED in trial.watch.seen(house)

    try_out(scenario)


def test_a_host_that_is_away_is_dialled_ever_more_seldom_and_audited_when_it_comes(house, try_out):
    async def scenario(trial):
        watch, waits = trial.watch, []
        await trial.look()
        watch.sight.away.add(house.peer)
        for _ in range(5):
            watch.pass_days(trial.due_days(house) + 0.001)
            assert await trial.look() == []
            waits.append(round(trial.due_days(house)))
        assert waits == [1, 2, 4, 7, 7]
        watch.sight.away.clear()
        assert await trial.look() == [], "it is not known to be back"
        trial.rounds.wake(house.peer)
        assert await trial.look() == [house.peer]
        assert trial.due_days(house) == pytest.approx(1, abs=0.01)
        trial.rounds.wake(house.peer)
        assert await trial.look() == [], "each day once, however often it comes"

    try_out(scenario)


def test_nothing_is_asked_while_a_backup_or_prune_runs_nor_when_a_person_said_off(house, try_out):
    async def scenario(trial):
        watch = trial.watch
        await trial.look()
        watch.pass_days(2)
        for lock in (watch.vault.busy, watch.vault.pruning):
            async with lock:
                assert await trial.look() == []
        trial.wanted = False
        assert await trial.look() == []
        assert trial.asked(house) == 0
        trial.wanted = True
        assert await trial.look() == [house.peer]

    try_out(scenario)


def test_the_blocks_of_a_cycle_are_read_once_in_it(house, try_out):
    async def scenario(trial):
        watch = trial.watch
        await watch.stock(house, *[2 * MIB] * 2)
        await trial.look()
        blocks = []
        for _ in range(70):
            watch.pass_days(trial.due_days(house) + 0.001)
            crook = watch.crooks[house.peer]
            crook.asked.clear()
            before = watch.auditor.account(watch.partner(house).agreement).bulk_cycle
            assert await trial.look() == [house.peer]
            blocks += [watch.auditor.account(watch.partner(house).agreement).bulk_cycle != before]
            assert any(isinstance(one, AskAudit) for one in crook.asked)
        assert 2 <= sum(blocks) <= 4

    try_out(scenario)


def test_a_host_that_is_caught_by_night_is_shown_by_day(house, other, try_out):
    async def scenario(trial):
        watch = trial.watch
        [pack] = await watch.stock(house, 2 * MIB)
        watch.pass_days(2)
        assert set(await trial.look()) == set()
        watch.pass_days(2)
        assert set(await trial.look()) == {house.peer, other.peer}
        watch.find_file(house, pack).unlink()
        watch.pass_days(59)
        assert set(await trial.look()) == {house.peer, other.peer}
        mine, theirs = describe_all(watch.vault, watch.auditor)
        assert (mine.state, theirs.state) == ("caught", "proven")
        assert mine.fault == "it reports that it lost packs of yours: 1 (missing)"
        assert mine.fault_time[:10] == format_time(watch.days.now_ms())[:10]
        assert theirs.proven == theirs.audited > ""
        assert watch.auditor.proven_ms([other.peer]) > watch.auditor.proven_ms([house.peer]) > 0
        assert [row.peer_id for row in describe_hosts(watch.vault, watch.auditor, [mine.peer_id])] == [mine.peer_id]
        with pytest.raises(NotFoundError):
            describe_hosts(watch.vault, watch.auditor, ["nobody"])

    try_out(scenario, house, other)


def test_hosts_are_audited_side_by_side_and_those_away_are_named(house, other, try_out):
    async def scenario(trial):
        watch = trial.watch
        watch.sight.away.add(other.peer)
        async with reporting(watch._emit) as reporter:
            done = await AuditJob(watch.vault, watch.auditor, AuditRequest(), reporter).run()
        assert [host.shown > 0 for host in done.hosts] == [True, False]
        assert (done.asked, done.shown) == (done.hosts[0].asked, done.hosts[0].shown)
        [left] = done.left_out
        assert left.reason == "away"
        assert watch.seen(other) == {Kind.STORED, Kind.CONNECT_FAILED}
        async with reporting(watch._emit) as reporter:
            bulk = AuditRequest(peers=[left.peer_id], bulk=True)
            with pytest.raises(NotFoundError):
                await AuditJob(watch.vault, watch.auditor, AuditRequest(peers=["nobody"]), reporter).run()
            assert len((await AuditJob(watch.vault, watch.auditor, bulk, reporter).run()).left_out) == 1

    try_out(scenario, house, other)


def test_a_home_that_may_only_read_accuses_nobody(house, try_out, monkeypatch):
    async def scenario(trial):
        watch = trial.watch
        await trial.look()
        watch.pass_days(3)

        def refuse():
            raise RefusedError("this home may only read")

        monkeypatch.setattr(watch.vault, "check_writable", refuse)
        monkeypatch.setattr(type(watch.vault.writer), "may_write", False)
        assert await trial.look() == []
        with pytest.raises(RefusedError):
            await watch.audit(house)
        assert trial.asked(house) == 0

    try_out(scenario)


def test_a_round_goes_on_after_a_disk_that_refused_and_ends_at_once_when_cancelled(house, try_out, monkeypatch):
    async def scenario(trial):
        looked, once, again = [], asyncio.Event(), asyncio.Event()

        async def look():
            looked.append(1)
            once.set()
            if len(looked) == 1:
                raise PeerUnreachable("no")
            again.set()
            return []

        monkeypatch.setattr(trial.rounds, "look", look)
        running = asyncio.create_task(trial.rounds.run())
        await once.wait()
        trial.rounds.wake(house.peer)
        await again.wait()
        running.cancel()
        assert await asyncio.gather(running, return_exceptions=True)
        assert len(looked) == 2
        assert AUDIT_EVERY_S == 86_400

    try_out(scenario)
