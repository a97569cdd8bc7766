"""When a set is due: days, weeks and months of the machine's own time."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.agent.home.schedule import next_after_ms, parse_schedule, period_s

BERLIN = ZoneInfo("Europe/Berlin")
WORDS = ["hourly", "every 6h", "daily 03:00", "weekly sun 03:00", "monthly 28 03:30", "daily 02:30", "monthly 1"]


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp() * 1000)


@pytest.mark.parametrize(
    ("words", "last", "following"),
    [
        ("hourly", "2026-11-28 22:10", "2026-11-28 23:10"),
        ("every 6h", "2026-11-28 22:10", "2026-11-29 04:10"),
        ("daily 03:00", "2026-11-28 22:10", "2026-11-29 03:00"),
        ("daily 03:00", "2026-11-28 03:00", "2026-11-29 03:00"),
        ("daily 03:00", "2026-11-28 02:59", "2026-11-28 03:00"),
        ("weekly sun 03:00", "2026-11-28 22:10", "2026-11-29 03:00"),
        ("weekly sat 03:00", "2026-11-28 22:10", "2026-12-05 03:00"),
        ("monthly 1", "2026-11-28 22:10", "2026-12-01 00:00"),
        ("monthly 28 23:00", "2026-11-28 23:00", "2026-12-28 23:00"),
        ("daily 03:00", "2026-12-31 12:00", "2027-01-01 03:00"),
    ],
)
def test_a_set_is_due_at_the_next_such_time(words, last, following):
    assert next_after_ms(parse_schedule(words), ms(last), BERLIN) == ms(following)


def test_a_time_that_the_change_of_clocks_leaves_out_is_not_left_out():
    due = next_after_ms(parse_schedule("daily 02:30"), ms("2026-03-28 12:00"), BERLIN)
    assert datetime.fromtimestamp(due / 1000, BERLIN).strftime("%d %H:%M") == "29 03:30"


def test_a_time_that_comes_twice_is_taken_once():
    schedule = parse_schedule("daily 02:30")
    first = next_after_ms(schedule, ms("2026-10-24 12:00"), BERLIN)
    second = next_after_ms(schedule, first, BERLIN)
    assert second - first == 25 * 3_600_000


@given(st.sampled_from(WORDS), st.integers(0, 4 * 10**12))
def test_the_next_time_is_later_and_no_further_than_a_period_and_a_day(words, last_ms):
    schedule = parse_schedule(words)
    due = next_after_ms(schedule, last_ms, BERLIN)
    assert last_ms < due <= last_ms + 1000 * (period_s(schedule) + 2 * 86_400)
