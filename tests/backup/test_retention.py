"""What policies keep: the rules one by one, and what holds for all of them."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.backup.retention import (
    ALL,
    Group,
    Policy,
    check_group_by,
    group_snapshots,
    judge,
    pick_latest,
    plan_retention,
)
from backuppeer.errors import ExitCode, UserError
from backuppeer.ids import SnapshotId
from backuppeer.repo.snapshot import Snapshot

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 3, 2, 12, tzinfo=UTC)
PERIODS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
NO_FIELDS = check_group_by([])
ALL_FIELDS = check_group_by(["paths", "host", "set"])
MADE = Snapshot(
    tree=bytes(32),
    time_ns=0,
    paths=[b"/a"],
    host="h",
    user="u",
    tags=[],
    set="",
    files=0,
    dirs=0,
    bytes=0,
    program="",
)


def at(number, moment, **fields):
    time_ns = int(moment.timestamp()) * 10**9
    return SnapshotId(number.to_bytes(32)), msgspec.structs.replace(MADE, time_ns=time_ns, **fields)


def series(*moments, **fields):
    return [at(number, moment, **fields) for number, moment in enumerate(moments)]


def kept(members, policy, zone=UTC):
    """Return {number of snapshot: its reasons} of what stays."""
    return {int.from_bytes(v.snapshot): list(v.reasons) for v in judge(members, policy, zone) if v.is_kept}


def test_last_keeps_the_newest_and_verdicts_come_oldest_first():
    days = series(*(START + timedelta(days=n) for n in range(4)))
    assert kept(days, Policy(last=2)) == {2: ["last"], 3: ["last"]}
    assert [v.snapshot for v in judge(days, Policy(last=2), UTC)] == [name for name, _ in days]


def test_daily_keeps_the_newest_of_each_day_that_has_one_and_days_without_count_nothing():
    members = series(*(START + timedelta(days=10 * n, hours=h) for n in range(3) for h in (0, 5)))
    assert kept(members, Policy(daily=2)) == {3: ["daily"], 5: ["daily"]}


def test_while_periods_are_fewer_than_wanted_the_oldest_stays_too():
    members = series(*(START + timedelta(hours=h) for h in range(3)), START + timedelta(days=1))
    assert kept(members, Policy(daily=3)) == {0: ["oldest daily"], 2: ["daily"], 3: ["daily"]}
    assert kept(members, Policy(daily=2)) == {2: ["daily"], 3: ["daily"]}


def test_weeks_are_iso_weeks_also_where_a_year_ends_in_one():
    friday, sunday, monday = (datetime(2027, 1, day, 12, tzinfo=UTC) for day in (1, 3, 4))
    thursday = datetime(2026, 12, 31, 12, tzinfo=UTC)
    members = series(thursday, friday, sunday, monday)
    assert kept(members, Policy(weekly=2)) == {2: ["weekly"], 3: ["weekly"]}
    assert kept(members, Policy(yearly=2)) == {0: ["yearly"], 3: ["yearly"]}
    assert kept(members, Policy(monthly=1)) == {3: ["monthly"]}


def test_within_counts_back_from_the_newest_snapshot_not_from_now():
    members = series(*(START + timedelta(days=n) for n in range(5)))
    assert kept(members, Policy(within_s=2 * 86400)) == {2: ["within"], 3: ["within"], 4: ["within"]}


def test_tags_keep_whatever_their_age_and_a_snapshot_tells_all_its_reasons():
    old, new = at(0, START, tags=["a", "b"]), at(1, START + timedelta(days=400))
    assert kept([old, new], Policy(last=1, tags=("b", "c", "b"))) == {0: ["tag b"], 1: ["last"]}
    assert kept([new, old], Policy(last=2, daily=2, tags=("a",)))[0] == ["last", "daily", "tag a"]


def test_a_group_never_loses_its_last_snapshot_to_tags_that_none_has():
    members = series(START, START + timedelta(days=1))
    assert kept(members, Policy(tags=("none",))) == {1: ["the only one left"]}
    assert kept([], Policy(tags=("none",))) == {}


def test_minus_one_keeps_all_periods():
    members = series(*(START + timedelta(hours=12 * n) for n in range(6)))
    assert len(kept(members, Policy(daily=ALL))) == len({(START + timedelta(hours=12 * n)).date() for n in range(6)})
    assert len(kept(members, Policy(last=ALL))) == 6


@pytest.mark.parametrize("policy", [Policy(), Policy(last=-2, daily=1), Policy(within_s=-1), Policy(monthly=-5)])
def test_a_policy_without_a_rule_or_with_a_number_that_means_nothing_is_refused(policy):
    with pytest.raises(UserError) as caught:
        plan_retention(series(START), policy, zone=UTC, fields=ALL_FIELDS)
    assert caught.value.exit_code is ExitCode.USAGE


# --- zones
def test_a_day_is_one_of_the_zone_that_was_passed_in():
    late, early = datetime(2026, 7, 1, 21, 30, tzinfo=UTC), datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    assert kept(series(late, early), Policy(daily=1)) == {1: ["daily"]}
    assert kept(series(late, early), Policy(daily=2), BERLIN) == {0: ["daily"], 1: ["daily"]}


def test_the_hour_that_clocks_repeat_in_autumn_is_two_hours_and_its_day_one_of_25():
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 summer time, and an hour later 02:30 again
    members = series(first, first + timedelta(hours=1))
    assert kept(members, Policy(hourly=2), BERLIN) == {0: ["hourly"], 1: ["hourly"]}
    day = datetime(2026, 10, 24, 22, tzinfo=UTC)  # midnight in Berlin
    members = series(*(day + timedelta(hours=h) for h in range(25)), day + timedelta(hours=25))
    assert kept(members, Policy(daily=2), BERLIN) == {24: ["daily"], 25: ["daily"]}


def test_a_day_that_clocks_go_back_into_counts_once():
    zone = ZoneInfo("America/St_Johns")  # until 2011 its clocks went back at 00:01, into the day before
    members = series(*(datetime(2010, 11, 7, 2, minute, tzinfo=UTC) for minute in (0, 30, 32, 59)))
    assert kept(members, Policy(daily=2), zone) == {1: ["daily"], 3: ["daily"]}


def test_without_a_zone_this_process_s_own_counts(monkeypatch):
    late, early = datetime(2026, 7, 1, 21, 30, tzinfo=UTC), datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        assert kept(series(late, early), Policy(daily=2), None) == {0: ["daily"], 1: ["daily"]}
    finally:
        monkeypatch.undo()
        time.tzset()


# --- groups
def test_one_sets_rules_never_forget_anothers_snapshots():
    mine = [at(n, START + timedelta(days=n), set="mine") for n in range(3)]
    yours = [at(10 + n, START - timedelta(days=n), set="yours", host="other", paths=[b"/b", b"/a"]) for n in range(2)]
    plan = plan_retention([*mine, *yours], Policy(last=1), zone=UTC, fields=ALL_FIELDS)
    assert list(plan) == [Group("mine", "h"), Group("yours", "other")]
    assert [[v.is_kept for v in verdicts] for verdicts in plan.values()] == [[False, False, True], [False, True]]
    (one,) = plan_retention([*mine, *yours], Policy(last=1), zone=UTC, fields=NO_FIELDS).items()
    assert one[0] == Group()
    assert sum(v.is_kept for v in one[1]) == 1


def test_the_order_of_paths_makes_no_other_group_and_only_known_fields_do():
    pair = [at(0, START, paths=[b"/a", b"/b"]), at(1, START, paths=[b"/b", b"/a"])]
    assert len(group_snapshots(pair, ALL_FIELDS)) == 1
    with pytest.raises(UserError, match="'tags'"):
        check_group_by(["host", "tags"])


def test_the_latest_are_picked_per_group_and_come_oldest_first():
    members = [at(n, START + timedelta(days=n), host="ab"[n % 2]) for n in range(6)]
    assert [int.from_bytes(name) for name, _ in pick_latest(members, 2, ALL_FIELDS)] == [2, 3, 4, 5]
    assert [int.from_bytes(name) for name, _ in pick_latest(members, 1, NO_FIELDS)] == [5]
    assert pick_latest(members, 0, ALL_FIELDS) == members
    with pytest.raises(UserError):
        pick_latest(members, -1, ALL_FIELDS)


# --- what holds for all policies
counts = st.integers(ALL, 6)
policies = st.builds(
    Policy,
    **dict.fromkeys(PERIODS, counts),
    within_s=st.sampled_from([0, 3600, 86400 * 3]),
    tags=st.sampled_from([(), ("a",), ("a", "b")]),
).filter(lambda policy: policy.has_rule)
moments = st.integers(0, 3 * 365 * 24).map(lambda hours: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours / 4))
histories = st.lists(st.tuples(moments, st.sampled_from(["", "a", "b"])), min_size=1, max_size=30).map(
    lambda rows: [at(n, moment, tags=[tag] if tag else []) for n, (moment, tag) in enumerate(rows)]
)
zones = st.sampled_from([UTC, BERLIN, ZoneInfo("America/St_Johns"), ZoneInfo("Australia/Lord_Howe")])


@given(histories, policies, zones)
def test_no_policy_with_a_rule_forgets_everything(members, policy, zone):
    assert kept(members, policy, zone)


@given(histories, policies, zones)
def test_applied_twice_a_policy_changes_nothing(members, policy, zone):
    first = kept(members, policy, zone)
    again = [member for member in members if int.from_bytes(member[0]) in first]
    assert kept(again, policy, zone).keys() == first.keys()


@given(histories, policies, zones, st.data())
def test_forgotten_in_parts_the_rest_is_forgotten_and_nothing_more(members, policy, zone, data):
    first = kept(members, policy, zone)
    victims = [member for member in members if int.from_bytes(member[0]) not in first]
    gone = data.draw(st.sets(st.sampled_from([name for name, _ in victims]))) if victims else set()
    rest = [member for member in members if member[0] not in gone]
    assert kept(rest, policy, zone).keys() == first.keys()


@given(histories, policies, zones, st.sampled_from(PERIODS), st.integers(1, 3))
def test_a_larger_number_never_forgets_more(members, policy, zone, rule, more):
    before = getattr(policy, rule)
    larger = replace(policy, **{rule: ALL if before == ALL else before + more})
    assert kept(members, policy, zone).keys() <= kept(members, larger, zone).keys()
    assert kept(members, larger, zone).keys() <= kept(members, replace(policy, **{rule: ALL}), zone).keys()


@given(histories, policies, zones, st.randoms())
def test_the_verdict_hangs_on_no_order(members, policy, zone, chance):
    shuffled = list(members)
    chance.shuffle(shuffled)
    assert judge(shuffled, policy, zone) == judge(members, policy, zone)


def test_a_set_is_one_group_whatever_its_paths_were_and_paths_without_a_set_are_not():
    grown = [at(n, START + timedelta(days=n), set="mine", paths=[b"/a", b"/b"][: n + 1]) for n in range(2)]
    loose = [at(10 + n, START + timedelta(days=n), paths=[b"/a", b"/b"][: n + 1]) for n in range(2)]
    plan = plan_retention([*grown, *loose], Policy(last=1), zone=UTC, fields=ALL_FIELDS)
    assert list(plan) == [Group("", "h", (b"/a",)), Group("", "h", (b"/a", b"/b")), Group("mine", "h")]
    assert [verdict.is_kept for verdict in plan[Group("mine", "h")]] == [False, True]
    assert len(group_snapshots(grown, frozenset({"host", "paths"}))) == 2
