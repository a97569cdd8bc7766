"""Old snapshots that go by themselves, and what hosts keep for nothing any more (ADR 88)."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from msgspec import structs

from agent.jobs.test_prune import held
from agent.jobs.test_prune_unfinished import break_off
from agent.jobs.test_timekeeper import Trial
from agent.watches import watching
from backuppeer.agent.jobs.housekeeping import Housekeeping
from backuppeer.backup.archiver import Archiver
from backuppeer.backup.browse import list_snapshots
from backuppeer.errors import RefusedError
from backuppeer.limits import MIB, PRUNE_AGAIN_S, PRUNE_BY_ITSELF_BYTES, PRUNE_BY_ITSELF_S, SHRUNK_TIMES
from cli.rows import BACKED_UP

RULES = "[sets.default.retention]\nlast = 1\n"


def local(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()


class Yard(Trial):
    """A home with one set that keeps one snapshot."""

    def say(self, *, rules=RULES, more="", every="2h") -> None:
        self.watch.home.config.write_text(
            f'[sets.default]\npaths = ["{self.source}"]\nschedule = "every {every}"\n{more}\n{rules}'
        )

    def change(self, number: int) -> None:
        (self.source / "changing").write_bytes(bytes([number]) * MIB)

    async def pass_by(self, *, hours: float = 2.1) -> list[str]:
        self.later(hours)
        return await self.keeper.look()


@pytest.fixture
def try_out(house, owner, tree, tmp_path):
    def run(scenario, **how):
        async def whole():
            async with watching(owner, tmp_path / "watch", house) as watch:
                yard = Yard(watch, tree())
                yard.say(**how)
                await scenario(yard)

        asyncio.run(whole())

    return run


def test_old_snapshots_go_after_a_scheduled_backup_and_status_says_so(try_out):
    async def scenario(yard):
        await yard.keeper.look()
        assert (yard.made(), yard.row().forgot) == (1, 0)
        assert await yard.pass_by() == ["default"]
        assert (yard.made(), yard.row().forgot, yard.row().kept_why) == (1, 1, "")
        assert yard.row().forgot_time

    try_out(scenario)


@pytest.mark.parametrize("how", [{"rules": ""}, {"more": "auto_forget = false"}])
def test_without_rules_or_where_a_person_wants_to_do_it_nothing_goes(try_out, how):
    async def scenario(yard):
        await yard.keeper.look()
        await yard.pass_by()
        assert (yard.made(), yard.row().forgot) == (2, 0)

    try_out(scenario, **how)


def test_a_backup_that_could_not_read_everything_lets_nothing_go(try_out):
    async def scenario(yard):
        await yard.keeper.look()
        yard.watch.home.config.write_text(
            yard.watch.home.config.read_text().replace('paths = ["', 'paths = ["/nowhere/at/all", "')
        )
        await yard.pass_by()
        assert yard.made() == 2
        assert "could not read everything" in yard.row().kept_why

    try_out(scenario)


def test_a_backup_with_too_few_copies_lets_nothing_go(try_out):
    async def scenario(yard):
        await yard.keeper.look()
        await yard.pass_by()
        assert yard.made() == 2
        assert "too few copies" in yard.row().kept_why

    try_out(scenario, more="copies = 2")


def test_a_backup_that_failed_lets_nothing_go(try_out):
    async def scenario(yard):
        await yard.keeper.look()
        yard.say(rules="")
        await yard.pass_by()
        yard.say()
        yard.watch.sight.away.update(yard.watch.sight.sessions)
        assert await yard.pass_by() == ["default"]
        assert yard.row().failure
        assert yard.made() == 2

    try_out(scenario)


def test_a_folder_that_is_suddenly_empty_lets_nothing_go_until_a_person_says_so(try_out):
    async def scenario(yard):
        for number in range(2 * SHRUNK_TIMES):
            yard.change(number)
            (yard.source / f"more{number}").write_bytes(bytes(1000))
        await yard.keeper.look()
        for path in sorted(yard.source.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        (yard.source / "left").write_text("a")
        await yard.pass_by()
        assert yard.made() == 2
        assert "one that would go" in yard.row().kept_why
        await yard.pass_by()
        assert yard.made() == 3, "nor later, as long as one that would go has more"

    try_out(scenario)


def test_a_disk_that_is_away_lets_nothing_go_when_the_rest_is_large(try_out):
    async def scenario(yard):
        yard.change(1)
        (yard.source / "photos").mkdir()
        for number in range(20 * SHRUNK_TIMES):
            (yard.source / "photos" / f"{number}").write_bytes(bytes(10))
        await yard.keeper.look()
        for path in (yard.source / "photos").iterdir():
            path.unlink()
        await yard.pass_by()
        assert yard.made() == 2
        assert "one that would go" in yard.row().kept_why

    try_out(scenario)


def test_a_folder_that_is_empty_and_was_not_lets_nothing_go_however_small_it_was(try_out):
    async def scenario(yard):
        (yard.source / "photos").mkdir()
        (yard.source / "photos" / "one").write_text("one")
        await yard.keeper.look()
        (yard.source / "photos" / "one").unlink()
        await yard.pass_by()
        assert yard.made() == 2
        assert f"{yard.source}/photos is empty now, and was not" in yard.row().kept_why
        (yard.source / "photos" / "one").write_text("back")
        await yard.pass_by()
        assert (yard.made(), yard.row().kept_why) == (1, "")

    try_out(scenario)


@pytest.fixture
def stamped(monkeypatch):
    """Return a call after which snapshots have the time of a yard's clock."""

    def stamp(yard):
        class Stamped(Archiver):
            def __init__(self, *given, options, **more):
                options = replace(options, now_ns=lambda: yard.watch.days.now_ms() * 10**6)
                super().__init__(*given, options=options, **more)

        monkeypatch.setattr("backuppeer.agent.jobs.backup.Archiver", Stamped)

    return stamp


def test_a_clock_that_is_ahead_for_a_while_lets_nothing_go_and_no_new_backup_after_it(try_out, stamped):
    async def scenario(yard):
        stamped(yard)
        for _ in range(3):
            await yard.pass_by()
        assert yard.made() == 3
        yard.later(40 * 24)
        for _ in range(2):
            assert await yard.pass_by() == ["default"]
        assert (yard.made(), yard.row().forgot) == (5, 0), "what is near in time of use stays"
        yard.later(-40 * 24)
        for _ in range(2):
            assert await yard.pass_by() == ["default"]
        assert yard.made() == 7, "by the rule the new ones would be too old"
        assert "is to come: all stay" in yard.row().kept_why
        assert "`backup-peer forget " in yard.row().kept_why

    try_out(scenario, rules='[sets.default.retention]\nwithin = "30d"\n')


def test_a_clock_that_is_behind_lets_nothing_go(try_out, stamped):
    async def scenario(yard):
        stamped(yard)
        await yard.keeper.look()
        await yard.pass_by()
        assert yard.made() == 2
        yard.later(-40 * 24)
        assert await yard.pass_by() == ["default"]
        assert yard.made() == 3
        assert "is to come: all stay" in yard.row().kept_why
        yard.later(40 * 24)
        assert await yard.pass_by() == ["default"]
        assert (yard.made(), yard.row().kept_why) == (2, ""), "the clock is right again"

    try_out(scenario, rules="[sets.default.retention]\nlast = 2\n")


def test_what_truly_grew_old_goes_by_within(try_out, stamped):
    async def scenario(yard):
        stamped(yard)
        await yard.keeper.look()
        for _ in range(6):
            await yard.pass_by(hours=6.5)
        assert yard.made() == 5

    try_out(scenario, rules='[sets.default.retention]\nwithin = "24h"\n', every="6h")


def test_a_backup_that_is_not_the_newest_of_its_set_lets_nothing_go(try_out):
    async def scenario(yard):
        await yard.keeper.look()
        yard.say(rules="")
        await yard.pass_by()
        yard.say()
        first, _ = list_snapshots(yard.watch.vault.repository.index)[0]
        keeping = yard.keeper.housekeeping
        older = structs.replace(BACKED_UP, set="default", snapshot=first.hex(), files=9**9, bytes=9**9)
        await keeping.forget("default", older)
        assert yard.made() == 2
        assert "not the newest" in keeping.forgotten("default").problem

    try_out(scenario)


def test_a_home_that_may_only_read_lets_nothing_go(try_out, monkeypatch):
    async def scenario(yard):
        await yard.keeper.look()
        yard.say(rules="")
        await yard.pass_by()
        yard.say()
        obstacle = RefusedError("this home may only read")
        monkeypatch.setattr(type(yard.watch.vault.writer), "_find_obstacle", lambda _: obstacle)
        assert await yard.pass_by() == []
        keeping, whole = yard.keeper.housekeeping, structs.replace(BACKED_UP, set="default", files=9**9, bytes=9**9)
        await keeping.forget("default", whole)
        assert yard.made() == 2
        assert "may only read" in keeping.forgotten("default").problem
        keeping._book.forgot_ms = yard.watch.days.now_ms()
        assert await keeping.prune_if_due()
        assert "may only read" in keeping.describe().failure

    try_out(scenario)


def test_what_only_forgotten_snapshots_held_is_pruned_once_a_week(try_out):
    async def scenario(yard):
        keeping = yard.keeper.housekeeping
        yard.change(1)
        await yard.keeper.look()
        assert await yard.keeper.look() == []
        assert keeping.describe().time == "", "nothing was forgotten"
        yard.change(2)
        await yard.pass_by()
        assert await yard.keeper.look() == []
        first = keeping.describe()
        assert first.time
        assert first.freed_bytes > 0
        yard.change(3)
        await yard.pass_by()
        await yard.keeper.look()
        assert keeping.describe() == first, "not before a week is over"
        yard.later(PRUNE_BY_ITSELF_S / 3600)
        assert await yard.keeper.look() == ["default"]
        await yard.keeper.look()
        assert keeping.describe().time > first.time

    try_out(scenario)


def test_a_prune_that_failed_is_tried_again_hours_later_and_told(try_out):
    async def scenario(yard):
        keeping = yard.keeper.housekeeping
        await yard.keeper.look()
        yard.change(1)
        await yard.pass_by()
        yard.watch.sight.away.update(yard.watch.sight.sessions)
        await yard.keeper.look()
        failed = keeping.describe()
        assert (failed.time, bool(failed.failure)) == ("", True)
        yard.watch.sight.away.clear()
        assert not await keeping.prune_if_due()
        yard.later(PRUNE_AGAIN_S / 3600 + 0.01)
        assert await keeping.prune_if_due()
        assert keeping.describe().failure == ""
        assert keeping.describe().time

    try_out(scenario)


def test_a_clock_that_was_ahead_holds_up_no_prune(try_out):
    async def scenario(yard):
        keeping = yard.keeper.housekeeping
        await yard.keeper.look()
        yard.later(40 * 24)
        yard.change(1)
        await yard.keeper.look()
        assert await keeping.prune_if_due()
        yard.later(-40 * 24)
        await yard.pass_by()
        yard.change(2)
        await yard.pass_by()
        assert yard.made() == 1
        ahead = keeping.describe().time
        yard.later(PRUNE_BY_ITSELF_S / 3600 + 0.1)
        assert await keeping.prune_if_due()
        assert (keeping.describe().time < ahead, keeping.describe().failure) == (True, "")

    try_out(scenario)


def test_what_a_backup_that_broke_off_has_sent_stays_for_it_to_go_on_from(try_out, tmp_path, house):
    async def scenario(yard):
        await yard.keeper.look()
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "film").write_bytes(random.Random(1).randbytes(3 * MIB))
        before = held(house)
        await break_off(yard.watch, tmp_path / "other")
        assert (sent := held(house) - before)
        yard.change(1)
        await yard.pass_by()
        assert await yard.keeper.look() == []
        assert yard.keeper.housekeeping.describe().time, "it was pruned"
        assert sent <= held(house)

    try_out(scenario)


def test_a_prune_by_itself_waits_for_other_jobs_and_moves_no_more_than_its_share(try_out, monkeypatch):
    asked = []

    class Noted:
        def __init__(self, vault, request, reporter):
            asked.append(request)
            self.reporter = reporter

        async def run(self):
            return msgspec.defstruct("Result", [("freed_bytes", int)])(7)

    async def scenario(yard):
        keeping = yard.keeper.housekeeping
        await yard.keeper.look()
        yard.change(1)
        await yard.pass_by()
        monkeypatch.setattr("backuppeer.agent.jobs.housekeeping.PruneJob", Noted)
        async with yard.watch.vault.busy:
            assert not await keeping.prune_if_due()
        async with yard.watch.vault.pruning:
            assert not await keeping.prune_if_due()
        assert await keeping.prune_if_due()
        (request,) = asked
        assert (request.agreed, request.keep_unfinished) == (True, True)
        assert request.max_repack_bytes == PRUNE_BY_ITSELF_BYTES

    try_out(scenario)


def test_a_restart_forgets_nothing_of_that(try_out):
    async def scenario(yard):
        await yard.keeper.look()
        yard.change(1)
        await yard.pass_by()
        await yard.keeper.look()
        before, pruned = yard.row(), yard.keeper.housekeeping.describe()
        watch = yard.watch
        again = Housekeeping(watch.vault, watch.home, watch.state)
        assert again.describe() == pruned
        assert again.forgotten("default").count == before.forgot == 1

    try_out(scenario)


def test_a_window_holds_backups_and_prunes_to_its_hours(try_out):
    async def scenario(yard):
        now = local(yard.watch.days.now_ms())
        begin = (now.hour + 3) % 24
        yard.say(more=f'window = "{begin:02}:00-{(begin + 2) % 24:02}:00"', rules="")
        yard.share = 1.0
        assert await yard.keeper.look() == []
        assert yard.row().window == f"{begin:02}:00-{(begin + 2) % 24:02}:00"
        starts = datetime.fromisoformat(yard.row().next).astimezone()
        assert starts.hour == begin, "the jitter, too, lies within"
        yard.later(2 + 1 / 60 + (60 - now.minute) / 60 + 0.2)
        assert await yard.keeper.look() == ["default"]
        yard.later(2.5)
        assert not yard.keeper._may_prune()
        assert await yard.keeper.look() == [], "due again, but its hours are over"
        yard.later(22)
        assert await yard.keeper.look() == ["default"], "caught up in the next"

    try_out(scenario)


def test_a_start_that_was_slept_through_waits_for_the_next_hours(try_out):
    async def scenario(yard):
        now = local(yard.watch.days.now_ms())
        begin = (now.hour + 3) % 24
        yard.say(more=f'window = "{begin:02}:00-{(begin + 1) % 24:02}:00"', rules="")
        assert await yard.keeper.look() == []
        yard.later(8)
        assert await yard.keeper.look() == []
        assert datetime.fromisoformat(yard.row().next).astimezone().hour == begin

    try_out(scenario)


def test_one_that_failed_is_tried_again_within_its_hours_alone(try_out):
    async def scenario(yard):
        now = local(yard.watch.days.now_ms())
        yard.say(more=f'window = "{now.hour:02}:00-{(now.hour + 1) % 24:02}:00"', rules="")
        yard.watch.sight.away.update(yard.watch.sight.sessions)
        assert await yard.keeper.look() == ["default"]
        yard.keeper._courses["default"].failures = 8
        yard.keeper._courses["default"].start_ms = 0
        assert await yard.keeper.look() == ["default"]
        next_try = datetime.fromisoformat(yard.row().next).astimezone()
        assert next_try.hour == now.hour
        assert next_try.date() > now.date()

    try_out(scenario)
