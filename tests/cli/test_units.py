import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.cli.units import (
    MAX_SIZE_BYTES,
    format_duration,
    format_share,
    format_size,
    parse_moment,
    parse_share,
    parse_size,
)
from backuppeer.clock import MAX_DURATION_S, parse_duration
from backuppeer.errors import ExitCode, UserError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1234", 1234),
        ("50GB", 50 * 10**9),
        ("50 gb", 50 * 10**9),
        ("1.5GB", 1_500_000_000),
        ("1.5GiB", 3 * 2**29),
        ("2K", 2000),
        ("2KiB", 2048),
        ("1TiB", 2**40),
        ("0.1GB", 10**8),
        ("0.3B", 0),
    ],
)
def test_sizes_are_decimal_unless_they_say_i(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", " ", "GB", "-1GB", "1,5GB", "1.GB", ".5GB", "1 G B", "5XB", "5iB", "1e9", "0x10", "٣GB", "9" * 30, "10EB"],
)
def test_nonsense_sizes_are_usage_errors_with_an_example(text):
    with pytest.raises(UserError) as caught:
        parse_size(text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.hint


@pytest.mark.parametrize("text", ["10EB", "10000000000000000000TB"])
def test_a_size_beyond_all_disks_is_called_too_large(text):
    with pytest.raises(UserError, match="too large a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60s", 60),
        ("2m", 120),
        ("2h", 7200),
        ("30d", 30 * 86400),
        ("2w", 14 * 86400),
        ("6mo", 180 * 86400),
        ("1y", 365 * 86400),
        ("1h 30m", 5400),
        ("1h30m", 5400),
        ("1 day", 86400),
        ("30 Days", 30 * 86400),
        ("6 months", 180 * 86400),
        ("5 min", 300),
        ("2 weeks, 3 hrs", 14 * 86400 + 3 * 3600),
        ("0s", 0),
    ],
)
def test_durations_in_every_unit(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "60", "h", "-2h", "2 hounds", "1.5h", "2h x", "999y", "1M0"])
def test_nonsense_durations_are_usage_errors_with_an_example(text):
    with pytest.raises(UserError) as caught:
        parse_duration(text)
    assert caught.value.hint


@given(st.integers(0, MAX_SIZE_BYTES))
def test_a_shown_size_is_within_half_a_per_cent_of_the_size(size):
    assert abs(parse_size(format_size(size)) - size) <= max(size * 0.0051, 0.5) or size > 9.1e18


@given(st.integers(0, 999), st.sampled_from(["B", "kB", "MB", "GB", "TB", "PB"]))
def test_a_round_size_is_shown_as_it_was_typed(number, unit):
    shown = format_size(parse_size(f"{number}{unit}"))
    assert shown == (f"{number} {unit}" if number else "0 B")


@given(st.integers(0, MAX_DURATION_S))
def test_a_shown_duration_never_claims_more_and_misses_less_than_a_unit(seconds):
    shown = parse_duration(format_duration(seconds))
    assert shown <= seconds
    assert seconds - shown <= max(0, seconds * 0.05)


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_a_usage_error(text):
    for parse in (parse_size, parse_duration, parse_share):
        try:
            assert parse(text) >= 0
        except UserError:
            continue


def test_shares_as_number_or_per_cent():
    assert (parse_share("0.8"), parse_share("80%"), parse_share(".5"), parse_share("1")) == (0.8, 0.8, 0.5, 1.0)
    for text in ("1.1", "101%", "-0.1", "nan", "inf", ""):
        with pytest.raises(UserError):
            parse_share(text)


@given(st.floats(0, 1, exclude_max=True))
def test_less_than_everything_is_never_shown_as_100_per_cent(share):
    assert format_share(share) != "100 %"


NOW_S = 1_795_383_000.0  # 2026-11-22T21:30:00Z


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22T21:30:00Z", NOW_S),
        ("2026-11-22 22:30+01:00", NOW_S),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31 23:59:59Z", -1),
        ("30d", NOW_S - 30 * 86400),
        (" 1h 30m ", NOW_S - 5400),
    ],
)
def test_moments_are_times_or_so_long_ago(text, seconds):
    assert parse_moment(text, NOW_S) == seconds * 10**9


def test_a_moment_without_a_zone_is_local(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert parse_moment("2026-11-23 06:30", 0) == NOW_S * 10**9
        assert parse_moment("2026-11-23", 0) == (NOW_S - 6.5 * 3600) * 10**9
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_moment_keeps_microseconds_and_stays_in_64_bits():
    assert parse_moment("2026-11-22T21:30:00.000001Z", 0) == int(NOW_S) * 10**9 + 1000
    assert parse_moment("9999-01-01T00:00:00Z", 0) == MAX_SIZE_BYTES
    assert parse_moment("0001-01-02T00:00:00Z", 0) == -MAX_SIZE_BYTES


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "22.11.2026", "30", "0001-01-01T00:00+14:00", "9" * 50])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(UserError, match="not a time") as caught:
        parse_moment(text, NOW_S)
    assert caught.value.hint
