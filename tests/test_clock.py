"""Times are written whatever somebody put into them."""

from datetime import datetime, timedelta, timezone

import pytest

from backuppeer.clock import format_time


def test_a_time_is_written_in_utc_with_whole_seconds():
    assert format_time(1_795_382_999_999) == "2026-11-22T21:29:59Z"
    assert format_time(-1) == "1969-12-31T23:59:59Z"


@pytest.mark.parametrize("time_ms", [2**48, 2**53, 2**60, 2**63 - 1, 2**80, -(2**53), -(2**63), -(2**80)])
def test_a_time_that_no_calendar_has_is_written_as_the_first_or_last_that_can_be_and_read_anywhere(time_ms):
    text = format_time(time_ms)
    assert text[:5] == ("9999-" if time_ms > 0 else "0001-")
    for hours in (-14, 0, 14):
        assert datetime.fromisoformat(text).astimezone(timezone(timedelta(hours=hours)))
