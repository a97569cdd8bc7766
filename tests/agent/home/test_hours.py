"""Hours of a day: over midnight, and on the days on which clocks change."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.agent.home.hours import Hours, find_begin_ms, find_end_ms, fit_ms, parse_hours
from backuppeer.errors import UserError

BERLIN = ZoneInfo("Europe/Berlin")
HOURS = st.sampled_from(["22:00-07:00", "01:00-06:00", "02:15-02:45", "00:00-24:00", "23:59-00:00", "02:30-03:15"])


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp() * 1000)


def say(moment_ms):
    return datetime.fromtimestamp(moment_ms / 1000, BERLIN).strftime("%Y-%m-%d %H:%M") if moment_ms else ""


@pytest.mark.parametrize(
    ("words", "now", "end"),
    [
        ("22:00-07:00", "2026-11-28 21:59", ""),
        ("22:00-07:00", "2026-11-28 22:00", "2026-11-29 07:00"),
        ("22:00-07:00", "2026-11-29 06:59", "2026-11-29 07:00"),
        ("22:00-07:00", "2026-11-29 07:00", ""),
        ("01:00-06:00", "2026-11-29 03:00", "2026-11-29 06:00"),
        ("20:00-24:00", "2026-11-29 23:59", "2026-11-30 00:00"),
        ("20:00 to 00:00", "2026-11-29 20:00", "2026-11-30 00:00"),
        # The clocks go from 2:00 to 3:00, and from 3:00 to 2:00.
        ("22:00-07:00", "2026-03-28 23:00", "2026-03-29 07:00"),
        ("22:00-07:00", "2026-10-24 23:00", "2026-10-25 07:00"),
        ("22:00-02:30", "2026-10-25 01:00", "2026-10-25 02:30"),
        ("02:15-02:45", "2026-03-29 03:20", "2026-03-29 03:45"),
        ("02:30-03:15", "2026-03-29 03:30", "2026-03-29 04:15"),
    ],
)
def test_a_moment_lies_within_hours_until_they_end(words, now, end):
    assert say(find_end_ms(parse_hours(words), ms(now), BERLIN)) == end


def test_hours_that_come_twice_are_the_first():
    hours = parse_hours("02:10-02:50")
    first = ms("2026-10-25 02:30")
    assert find_end_ms(hours, first, BERLIN)
    assert not find_end_ms(hours, first + 3_600_000, BERLIN)


@pytest.mark.parametrize(
    ("due", "begin"),
    [
        ("2026-11-28 03:00", "2026-11-28 03:00"),
        ("2026-11-28 06:00", "2026-11-29 01:00"),
        ("2026-11-28 00:59", "2026-11-28 01:00"),
    ],
)
def test_what_is_due_outside_of_hours_waits_for_them(due, begin):
    assert say(fit_ms(parse_hours("01:00-06:00"), ms(due), BERLIN)) == begin


@given(HOURS.filter(lambda words: words != "00:00-24:00"), st.integers(0, 4 * 10**12))
def test_what_waits_for_hours_lies_within_them_and_no_further_than_two_days(words, due_ms):
    hours = parse_hours(words)
    fitted = fit_ms(hours, due_ms, BERLIN)
    assert due_ms <= fitted <= due_ms + 2 * 86_400_000
    assert find_end_ms(hours, fitted, BERLIN) > fitted
    assert find_begin_ms(hours, due_ms, BERLIN) >= due_ms


@pytest.mark.parametrize(
    "words", ["", "22-07", "22:00", "22:00-22:00", "00:00-24:00", "24:30-01:00", "25:00-01:00", "a-b"]
)
def test_what_are_no_hours_is_refused(words):
    with pytest.raises(UserError, match="hours"):
        parse_hours(words)


def test_hours_are_minutes_of_the_day():
    assert parse_hours(" 9:05 - 17:00 ") == Hours(545, 1020)
