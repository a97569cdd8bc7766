"""Sets that were not backed up for too long: which count, from when on, and after how long."""

import asyncio

import pytest

from agent.watches import watching
from backuppeer.agent.home.notify import NotifySettings
from backuppeer.agent.home.sets import BackupSet
from backuppeer.agent.overview.overdue import Made, list_overdue, plan_overdue
from backuppeer.agent.overview.owned import find_overdue
from backuppeer.control.scheduling import OverdueSet

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000
UNSET, SET = NotifySettings(), NotifySettings(after="3d")


def days_ago(days):
    return NOW_MS - int(days * DAY_MS)


@pytest.mark.parametrize(
    ("schedule", "settings", "days", "is_told"),
    [
        ("daily 03:00", UNSET, 2.9, False),
        ("daily 03:00", UNSET, 3, True),
        ("hourly", UNSET, 3, True),
        ("weekly sun 03:00", UNSET, 7.9, False),
        ("weekly sun 03:00", UNSET, 8, True),
        ("monthly", UNSET, 31, True),
        ("weekly", NotifySettings(after="30d"), 29, False),
        ("", UNSET, 400, False),
        ("", SET, 3, True),
        ("", SET, 2.9, False),
    ],
)
def test_it_is_an_alarm_once_no_snapshot_came_for_longer_than_may_be(schedule, settings, days, is_told):
    sets = {"photos": BackupSet(paths=["/p"], schedule=schedule)}
    found = plan_overdue(sets, settings, Made({"photos": days_ago(days)}, {}), NOW_MS)
    assert [row.set for row in found] == (["photos"] if is_told else [])


def test_a_set_that_was_never_backed_up_counts_from_when_it_was_seen_first():
    sets = {"photos": BackupSet(paths=["/p"], schedule="hourly")}
    (row,) = plan_overdue(sets, UNSET, Made({}, {"photos": days_ago(4)}), NOW_MS)
    assert (row.days, row.last) == (4, "")
    assert plan_overdue(sets, UNSET, Made({}, {}), NOW_MS) == []


def test_snapshots_of_no_set_count_where_a_person_asked_for_it_and_there_is_no_set():
    made = Made({"": days_ago(5)}, {})
    assert plan_overdue({}, UNSET, made, NOW_MS) == []
    (row,) = plan_overdue({}, SET, made, NOW_MS)
    assert (row.set, row.days) == ("", 5)
    assert (
        plan_overdue({"other": BackupSet(paths=["/p"])}, SET, Made({**made.newest, "other": NOW_MS}, {}), NOW_MS) == []
    )


def test_a_home_with_real_snapshots_has_the_alarm_after_days_without_one(house, owner, tree, tmp_path):
    async def scenario():
        async with watching(owner, tmp_path / "watch", house) as watch:
            watch.home.config.write_text(f'[sets.photos]\npaths = ["{tree()}"]\nschedule = "daily"\n')

            def overdue():
                return list_overdue(watch.home, watch.state, watch.vault)

            assert overdue() == []
            watch.pass_days(4)
            (never,) = overdue()
            assert (never.set, never.days, never.last) == ("photos", 4, "")
            watch.pass_days(-4)
            await watch.back_up(tree())
            watch.home.config.write_text("[notify]\nafter = '2d'\n")
            assert overdue() == []
            watch.pass_days(2.5)
            (loose,) = overdue()
            assert (loose.set, loose.days) == ("", 2)

    asyncio.run(scenario())


def test_a_set_that_is_overdue_is_told_with_its_last_day():
    (never, once) = find_overdue(
        [OverdueSet(set="photos", days=4), OverdueSet(set="", days=1, last="2026-11-29T03:00:00Z")]
    )
    assert never.text == "the set photos was not backed up for 4 days, and never yet"
    assert once.text == "this machine was not backed up for a day, last on 2026-11-29"
