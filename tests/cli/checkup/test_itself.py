"""What goes on by itself: kept, late, failing; and whether a restart of the machine ends it."""

from backuppeer.cli.checkup.findings import State, choose_code
from backuppeer.cli.checkup.itself import judge_overdue, judge_schedules, judge_service
from backuppeer.control.scheduling import OverdueSet, ScheduledSet

NEXT, LAST = "2026-11-29T03:00:00Z", "2026-11-28T03:00:00Z"


def judge(**fields):
    (found,) = judge_schedules([ScheduledSet(set="default", next=NEXT, **fields)])
    return found


def test_a_schedule_that_is_kept_is_well():
    assert judge(last=LAST).state == State.OK
    assert "never backed up yet" in judge().text


def test_one_that_is_late_should_be_known():
    found = judge(last=LAST, late=True)
    assert (found.state, choose_code([found])) == (State.WARNING, 0)
    assert "backup --set default" in found.fix


def test_one_without_any_host_is_never_begun_and_is_not_said_to_be_next():
    found = judge(last=LAST, idle="you ended the agreements with all your hosts\x1b")
    assert (found.state, choose_code([found])) == (State.WARNING, 0)
    assert "nothing new is backed up: you ended the agreements" in found.text
    assert "next" not in found.text
    assert "\x1b" not in found.text


def test_old_snapshots_that_stay_should_be_known_with_why_and_what_to_look_at():
    found = judge(last=LAST, kept_why="the newest backup has too few copies: all stay\x1b")
    assert (found.state, choose_code([found])) == (State.WARNING, 0)
    assert "old snapshots: the newest backup has too few copies" in found.text
    assert "forget --set default" in found.fix
    assert "\x1b" not in found.text


def test_one_that_fails_is_broken_and_says_why():
    found = judge(last=LAST, failed=LAST, failure="alice can't be reached\x1b[31m")
    assert (found.state, choose_code([found])) == (State.BROKEN, 3)
    assert "alice can't be reached" in found.text
    assert "\x1b" not in found.text


def test_a_service_that_is_missing_matters_where_something_goes_on_by_itself():
    missing = judge_service(is_installed=False, is_running=False, is_needed=True)
    assert missing.state == State.WARNING
    assert "service install" in missing.fix
    assert judge_service(is_installed=False, is_running=False, is_needed=False).state == State.NONE
    assert judge_service(is_installed=True, is_running=False, is_needed=True).state == State.WARNING
    assert judge_service(is_installed=True, is_running=True, is_needed=True).state == State.OK


def test_a_set_that_was_not_backed_up_for_days_breaks_the_chain():
    (found, loose) = judge_overdue([OverdueSet(set="my photos", days=4), OverdueSet(set="", days=1, last=LAST)])
    assert (found.state, choose_code([found])) == (State.BROKEN, 3)
    assert found.text == "the set my photos was not backed up for 4 days: never yet"
    assert "backup --set 'my photos'" in found.fix
    assert loose.text.startswith("this machine was not backed up for 1 day: last ")


def test_one_that_waits_for_power_should_be_known():
    found = judge(last=LAST, waiting="this machine runs on its battery")
    assert (found.state, choose_code([found])) == (State.WARNING, 0)
    assert found.text.endswith("due, and waits: this machine runs on its battery")
