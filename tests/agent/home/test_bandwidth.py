"""Caps in the settings: speeds as people write them, and which hold when."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from agent.loops import SetClock
from backuppeer.agent.home.bandwidth import BandwidthSettings, Caps, find_caps, parse_speed
from backuppeer.agent.home.cap_reader import CapReader
from backuppeer.agent.home.config import change_config, parse_config, value_of
from backuppeer.agent.home.config_writer import write_config
from backuppeer.agent.home.home import Home
from backuppeer.errors import UserError
from backuppeer.limits import BANDWIDTH_LEAST_BYTES_PER_S, BANDWIDTH_MOST_BYTES_PER_S

BERLIN = ZoneInfo("Europe/Berlin")


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "speed"),
    [
        ("5MB/s", 5_000_000),
        ("5 mb/s", 5_000_000),
        ("1.5MB", 1_500_000),
        ("500kB/s", 500_000),
        ("4MiB/s", 4 * 2**20),
        ("40Mbit/s", 5_000_000),
        ("1gbit/s", 125_000_000),
        ("250000B/s", 250_000),
        ("unlimited", 0),
    ],
)
def test_a_speed_is_taken_as_people_write_it(text, speed):
    assert parse_speed(text) == speed


@pytest.mark.parametrize(
    "text", ["", "5", "fast", "0", "0MB/s", "-1MB/s", "5Mb/s", "5 Gb", "5MB/h", "200kB/s", "9999TB/s"]
)
def test_what_is_no_speed_is_refused_with_what_to_write(text):
    with pytest.raises(UserError) as caught:
        parse_speed(text)
    assert "unlimited" in caught.value.hint or "Mbit/s" in caught.value.hint


def test_the_lowest_and_the_highest_cap_are_caps():
    assert parse_speed(f"{BANDWIDTH_LEAST_BYTES_PER_S}B/s") == BANDWIDTH_LEAST_BYTES_PER_S
    assert parse_speed(f"{BANDWIDTH_MOST_BYTES_PER_S}B/s") == BANDWIDTH_MOST_BYTES_PER_S
    for text in (f"{BANDWIDTH_LEAST_BYTES_PER_S - 1}B/s", f"{BANDWIDTH_MOST_BYTES_PER_S + 1}B/s"):
        with pytest.raises(UserError):
            parse_speed(text)


def test_quiet_hours_have_caps_of_their_own_as_far_as_they_are_set():
    settings = BandwidthSettings(
        up="5MB/s", down="9MB/s", quiet="22:00-07:00", quiet_up="1MB/s", host_up="2MB/s", quiet_host_up="unlimited"
    )
    day, night = ms("2026-11-28 12:00"), ms("2026-11-28 23:00")
    assert find_caps(settings, day, BERLIN) == Caps(
        up=5_000_000, down=9_000_000, host_up=2_000_000, until_ms=ms("2026-11-28 22:00")
    )
    assert find_caps(settings, night, BERLIN) == Caps(
        up=1_000_000, down=9_000_000, host_up=0, until_ms=ms("2026-11-29 07:00")
    )


def test_quiet_hours_without_caps_of_their_own_change_nothing():
    assert find_caps(BandwidthSettings(up="5MB/s", quiet="22:00-07:00"), 0, BERLIN) == Caps(up=5_000_000)
    assert find_caps(BandwidthSettings(up="5MB/s", quiet_up="1MB/s"), 0, BERLIN) == Caps(up=5_000_000)
    assert find_caps(None, 0, BERLIN) == Caps()


def test_settings_of_one_table_are_set_and_unset_one_by_one():
    config = change_config(parse_config(""), "bandwidth.up", "5MB/s")
    config = change_config(config, "bandwidth.quiet", "22:00-07:00")
    assert value_of(config, "bandwidth.up") == "5MB/s"
    config = change_config(change_config(config, "bandwidth.quiet", ""), "bandwidth.up", "")
    assert config == parse_config("")


@pytest.mark.parametrize(("key", "text"), [("bandwidth.up", "fast"), ("bandwidth.quiet", "at night")])
def test_a_cap_that_can_not_be_meant_names_its_key(key, text):
    with pytest.raises(UserError, match=key):
        change_config(parse_config(""), key, text)
    table, name = key.split(".")
    with pytest.raises(UserError, match=key):
        parse_config(f'[{table}]\n{name} = "{text}"\n')


def test_a_change_of_the_file_holds_at_the_next_look_and_one_that_can_not_be_read_changes_nothing(tmp_path):
    home = Home(tmp_path)
    reader = CapReader(home, SetClock())
    assert reader.read() == Caps()
    write_config(home, change_config(parse_config(""), "bandwidth.up", "5MB/s"))
    assert reader.read().up == 5_000_000
    home.config.write_text("[bandwidth]\nup = 'fast'\n")
    assert reader.read().up == 5_000_000
    home.config.write_text("[bandwidth]\nup = '1MB/s'\n")
    assert reader.read().up == 1_000_000
    home.config.unlink()
    assert reader.read() == Caps()
