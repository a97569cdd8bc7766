"""Backups that the agent makes by itself: when, what is caught up, and what happens when they fail (U5)."""

import asyncio

import pytest

from agent.watches import watching
from backuppeer.agent.jobs.housekeeping import Housekeeping
from backuppeer.agent.jobs.timekeeper import Timekeeper
from backuppeer.backup.archiver import Archiver
from backuppeer.backup.browse import SnapshotFilter, list_snapshots
from backuppeer.clock import format_time
from backuppeer.limits import SCHEDULE_RETRY_MOST_S, SCHEDULE_RETRY_S

HOUR_MS = 3_600_000


class Trial:
    """A home with one set, and a timekeeper whose jitter a test sets."""

    def __init__(self, watch, source) -> None:
        self.watch, self.source, self.share, self.heard = watch, source, 0.0, 0
        self.start()

    def start(self) -> None:
        """As an agent that starts."""

        async def hear() -> None:
            self.heard += 1

        def pick(least: float, most: float) -> float:
            return least + self.share * (most - least)

        watch = self.watch
        keeping = Housekeeping(watch.vault, watch.home, watch.state)
        self.keeper = Timekeeper(watch.vault, watch.home, before=hear, housekeeping=keeping, pick=pick)

    def write(self, schedule: str, name: str = "default") -> None:
        line = f'schedule = "{schedule}"\n' if schedule else ""
        self.watch.home.config.write_text(f'[sets.{name}]\npaths = ["{self.source}"]\n{line}')

    def made(self) -> int:
        return len(list_snapshots(self.watch.vault.repository.index, SnapshotFilter(set_name="default")))

    def row(self):
        (row,) = self.keeper.describe()
        return row

    def find_one_made_by_hand(self) -> None:
        """As if the set's newest snapshot were of now, by the clock of the test."""
        made_ms = self.watch.days.now_ms()
        self.keeper._list_last = lambda: {"default": made_ms}

    def later(self, hours: float) -> None:
        self.watch.pass_days(hours / 24)


@pytest.fixture
def try_out(house, owner, tree, tmp_path):
    def run(scenario):
        async def whole():
            async with watching(owner, tmp_path / "watch", house) as watch:
                trial = Trial(watch, tree())
                trial.write("every 2h")
                await scenario(trial)

        asyncio.run(whole())

    return run


def test_a_set_that_was_never_backed_up_is_due_at_once_and_then_as_its_schedule_says(try_out):
    async def scenario(trial):
        assert trial.row().last == ""
        assert await trial.keeper.look() == ["default"]
        assert (trial.made(), trial.heard) == (1, 1)
        assert await trial.keeper.look() == []
        trial.later(1.9)
        assert await trial.keeper.look() == []
        trial.later(0.2)
        assert await trial.keeper.look() == ["default"]
        assert trial.made() == 2

    try_out(scenario)


def test_times_that_passed_meanwhile_are_caught_up_once(try_out):
    async def scenario(trial):
        await trial.keeper.look()
        trial.later(100)
        assert trial.row().late
        assert await trial.keeper.look() == ["default"]
        assert await trial.keeper.look() == []
        assert not trial.row().late

    try_out(scenario)


def test_a_restart_neither_forgets_nor_repeats_one(try_out):
    async def scenario(trial):
        await trial.keeper.look()
        trial.watch.restart()
        trial.start()
        assert await trial.keeper.look() == []
        trial.later(2.1)
        assert await trial.keeper.look() == ["default"]

    try_out(scenario)


def test_a_backup_made_by_hand_counts(try_out):
    async def scenario(trial):
        trial.write("daily 03:00")
        await trial.keeper.look()
        course = trial.keeper._courses["default"]
        course.last_ms -= 48 * HOUR_MS
        course.start_ms = trial.watch.days.now_ms() - 1
        assert await trial.keeper.look() == [], "its snapshot is newer than what the course knew"
        assert trial.made() == 1

    try_out(scenario)


def test_status_knows_of_a_backup_made_by_hand_at_once(try_out):
    async def scenario(trial):
        await trial.keeper.look()
        before = trial.row()
        trial.later(1)
        trial.find_one_made_by_hand()
        row = trial.row()
        assert row.last > before.last
        assert row.next > before.next
        trial.later(1.5)
        assert await trial.keeper.look() == []

    try_out(scenario)


def test_a_backup_made_by_hand_ends_what_is_told_of_one_that_failed(try_out):
    async def scenario(trial):
        trial.watch.sight.away.update(trial.watch.sight.sessions)
        await trial.keeper.look()
        trial.watch.sight.away.clear()
        assert trial.row().failure
        trial.later(0.05)
        trial.find_one_made_by_hand()
        row = trial.row()
        assert (row.failure, row.failed, row.failures) == ("", "", 0)

    try_out(scenario)


def test_where_no_host_is_left_no_next_time_is_told(try_out):
    async def scenario(trial):
        await trial.keeper.look()
        assert trial.row().idle == ""
        for agreement, _, _ in trial.watch.state.agreements():
            trial.watch.state.end_agreement(agreement)
        assert trial.row().idle == "no host keeps backups of yours"

    try_out(scenario)


def test_the_time_that_status_tells_is_the_one_at_which_it_begins(try_out):
    async def scenario(trial):
        await trial.keeper.look()
        trial.later(0.01)  # the next time goes by when that one ended
        trial.share = 1.0
        told = trial.row().next
        trial.share = 0.0
        trial.later(2.05)
        assert await trial.keeper.look() == []
        assert trial.row().next == told
        trial.later(0.1)
        assert await trial.keeper.look() == ["default"]

    try_out(scenario)


def test_sets_start_within_a_while_after_they_are_due(try_out):
    async def scenario(trial):
        trial.share = 1.0
        assert await trial.keeper.look() == []
        trial.later(0.09)
        assert await trial.keeper.look() == []
        trial.later(0.02)
        assert await trial.keeper.look() == ["default"]

    try_out(scenario)


def test_one_that_failed_is_told_and_tried_again_later_and_later(try_out):
    async def scenario(trial):
        trial.watch.sight.away.update(trial.watch.sight.sessions)
        waits = []
        for _ in range(9):
            now_ms = trial.watch.days.now_ms()
            assert await trial.keeper.look() == ["default"]
            waits.append((trial.keeper._courses["default"].start_ms - now_ms) / 1000)
            row = trial.row()
            assert row.failure
            assert row.failed
            assert await trial.keeper.look() == []
            trial.later(waits[-1] / 3600 + 0.001)
        assert waits[0] == pytest.approx(SCHEDULE_RETRY_S, abs=20)
        assert waits[1] == pytest.approx(2 * SCHEDULE_RETRY_S, abs=20)
        assert waits[-1] == pytest.approx(SCHEDULE_RETRY_MOST_S, abs=20)
        trial.watch.sight.away.clear()
        assert await trial.keeper.look() == ["default"]
        assert trial.row().failure == ""
        assert trial.made() == 1

    try_out(scenario)


def test_what_runs_already_is_not_run_beside(try_out):
    async def scenario(trial):
        async with trial.watch.vault.busy:
            assert await trial.keeper.look() == []
        assert await trial.keeper.look() == ["default"]

    try_out(scenario)


def test_a_set_without_a_schedule_is_left_to_its_person(try_out):
    async def scenario(trial):
        trial.write("")
        assert await trial.keeper.look() == []
        assert trial.keeper.describe() == []

    try_out(scenario)


def test_a_schedule_that_was_changed_counts_at_once(try_out):
    async def scenario(trial):
        await trial.keeper.look()
        trial.write("every 15m")
        trial.later(0.3)
        assert await trial.keeper.look() == ["default"]

    try_out(scenario)


def test_settings_that_can_not_be_read_end_nothing(try_out):
    async def scenario(trial):
        trial.watch.home.config.write_text("[sets")
        assert await trial.keeper.look() == []
        assert trial.keeper.describe() == []

    try_out(scenario)


def test_status_says_when_it_is_next(try_out):
    async def scenario(trial):
        await trial.keeper.look()
        await trial.keeper.look()
        row = trial.row()
        assert row.last
        assert row.next > format_time(trial.watch.days.now_ms())

    try_out(scenario)


def test_a_snapshot_of_the_future_stops_nothing(try_out):
    async def scenario(trial):
        trial.later(30 * 24)
        await trial.keeper.look()
        ahead_ms = trial.watch.days.now_ms()
        trial.later(-30 * 24)
        keeper = trial.keeper
        keeper._list_last = lambda: {"default": ahead_ms} if trial.watch.days.now_ms() >= ahead_ms else {}
        assert await keeper.look() == ["default"]
        trial.later(2.1)
        assert await keeper.look() == ["default"]

    try_out(scenario)


def test_a_clock_that_was_ahead_for_one_look_stops_nothing(try_out):
    async def scenario(trial):
        await trial.keeper.look()
        trial.share = 1.0
        trial.later(365 * 24)
        assert await trial.keeper.look() == []
        trial.later(-365 * 24 + 2.2)
        assert await trial.keeper.look() == []
        trial.later(0.2)
        assert await trial.keeper.look() == ["default"]

    try_out(scenario)


def test_what_is_being_backed_up_is_said_to_be(try_out):
    async def scenario(trial):
        seen = []

        async def hear() -> None:
            seen.append(trial.row().running)

        trial.keeper._before = hear
        await trial.keeper.look()
        assert seen[0]
        assert trial.row().running == ""

    try_out(scenario)


def test_one_that_a_person_cancelled_waits_for_its_next_time(try_out):
    async def scenario(trial):
        trial.write("every 2h")
        look = asyncio.create_task(trial.keeper.look())
        while not trial.keeper.board.live():  # noqa: ASYNC110 - threads look before
            await asyncio.sleep(0)
        await trial.keeper.board.cancel(None)
        assert await look == ["default"]
        row = trial.row()
        assert (trial.made(), row.running) == (0, "")
        assert row.failure == "cancelled by a person"
        trial.later(0.5)
        assert await trial.keeper.look() == [], "not in five minutes"
        trial.later(1.6)
        assert await trial.keeper.look() == ["default"]
        assert trial.made() == 1

    try_out(scenario)


def test_what_the_schedule_makes_is_a_job_that_is_shown_and_was(try_out):
    async def scenario(trial):
        await trial.keeper.look()
        (row,) = trial.keeper.board.rows()
        assert (row.kind, row.of, row.by, row.code) == ("backup", "set default", "schedule", 0)

    try_out(scenario)


def test_a_backup_by_schedule_gives_way_to_others(try_out, monkeypatch):
    asked = []

    class Noted(Archiver):
        def __init__(self, *given, options, **more):
            asked.append(options.gives_way)
            super().__init__(*given, options=options, **more)

    monkeypatch.setattr("backuppeer.agent.jobs.backup.Archiver", Noted)

    async def scenario(trial):
        assert await trial.keeper.look() == ["default"]
        await trial.watch.back_up(trial.source)
        assert asked == [True, False]

    try_out(scenario)


def test_nothing_is_begun_while_something_stands_in_the_way_and_status_says_what(try_out):
    async def scenario(trial):
        trial.keeper.find_obstacle = lambda: "this machine runs on its battery"
        assert await trial.keeper.look() == []
        assert trial.row().waiting == "this machine runs on its battery"
        trial.keeper.find_obstacle = str
        assert await trial.keeper.look() == ["default"]
        trial.keeper.find_obstacle = lambda: "this machine runs on its battery"
        assert trial.row().waiting == "", "it is not due"
        pruned = []

        async def prune():
            pruned.append(True)

        trial.keeper.housekeeping.prune_if_due = prune
        assert await trial.keeper.look() == []
        assert pruned == [], "space is freed when nothing stands in the way"
        trial.keeper.find_obstacle = str
        assert await trial.keeper.look() == []
        assert pruned == [True]

    try_out(scenario)
