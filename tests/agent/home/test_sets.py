"""Sets stand in the settings by name, are checked whenever these are read, and grow and shrink by paths."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backuppeer.agent.home.config import Config, change_config, read_config
from backuppeer.agent.home.config_writer import write_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.schedule import Schedule, parse_schedule
from backuppeer.agent.home.sets import BackupSet, Hooks, Retention, add_paths, find_set, remove_paths
from backuppeer.errors import NotFoundError, UserError

WHOLE = """
region = "EU"

[sets.photos]
paths = ["/home/bob/photos"]
excludes = ["*.tmp"]
exclude_larger_than = 1000000
schedule = "daily 03:00"
peers = ["alice"]
copies = 2

[sets.photos.retention]
daily = 7
within = "1mo"
tags = ["keep"]

[sets.photos.hooks]
before = ["/usr/bin/true", "x"]
failed = "echo failed | mail bob"
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_a_set_is_read_whole_and_written_whole(home):
    home.config.write_text(WHOLE)
    config = read_config(home)
    photos = config.sets["photos"]
    assert (photos.paths, photos.copies, photos.schedule) == (["/home/bob/photos"], 2, "daily 03:00")
    assert photos.hooks == Hooks(before=["/usr/bin/true", "x"], failed="echo failed | mail bob")
    policy = photos.retention.policy()
    assert (policy.daily, policy.within_s, policy.tags) == (7, 30 * 86400, ("keep",))
    write_config(home, change_config(config, "region", "US"))
    assert read_config(home).sets == config.sets


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("paths = [", "pahts = ["), "unknown key pahts in sets.photos"),
        (("daily = 7", "dayly = 7"), "unknown key dayly in sets.photos.retention"),
        (("daily = 7", "daily = '7'"), "sets.photos.retention.daily: expected a whole number, got text in quotes"),
        (("paths = [", "one_file_system = 1\nincludes = ["), "sets.photos.one_file_system"),
        (('"/home/bob/photos"', '"photos"'), "sets.photos: not an absolute path"),
        (('["/home/bob/photos"]', "[]"), "sets.photos: paths is empty"),
        (("daily 03:00", "now and then"), "sets.photos: schedule: not a schedule"),
        (("daily 03:00", "every blue moon"), "sets.photos: schedule: not a schedule: 'every blue moon'"),
        (("daily 03:00", "every 1m"), "sets.photos: schedule: the schedule is too often"),
        (("copies = 2", "copies = 0"), "copies is below 1"),
        (('"1mo"', '"long"'), "sets.photos: retention.within: not a duration"),
        (("daily = 7", "daily = -2"), "below -1"),
        (('["/usr/bin/true", "x"]', "[]"), "a hook names no program"),
        (("[sets.photos]", '[sets."a b"]\npaths = ["/a"]\n[sets.photos]'), "not a name of a set"),
        (('excludes = ["*.tmp"]', 'excludes = "*.tmp"'), "sets.photos.excludes: expected a list, got text in quotes"),
    ],
)
def test_what_cannot_be_meant_is_told_at_once_and_names_the_file(home, change, told):
    home.config.write_text(WHOLE.replace(*change))
    with pytest.raises(UserError) as caught:
        read_config(home)
    assert told in caught.value.message
    assert str(home.config) in caught.value.message


def test_a_set_that_cannot_be_meant_is_not_written(home):
    with pytest.raises(UserError):
        write_config(home, Config(sets={"a": BackupSet(paths=["/a"], schedule="whenever")}))
    assert not home.config.exists()


def test_paths_are_added_once_and_those_inside_of_others_not():
    made = add_paths(None, ["/a/b/", "/c"])
    assert made.paths == ["/a/b", "/c"]
    assert add_paths(made, ["/c", "/a", "/a.b"]).paths == ["/c", "/a", "/a.b"]
    with pytest.raises(UserError, match="not UTF-8"):
        add_paths(made, ["/a\udcff"])


def test_paths_are_removed_but_for_the_last():
    made = BackupSet(paths=["/a", "/b"], excludes=["x"])
    assert remove_paths("s", made, ["/a/"]) == BackupSet(paths=["/b"], excludes=["x"])
    with pytest.raises(NotFoundError):
        remove_paths("s", made, ["/c"])
    with pytest.raises(UserError, match="would be empty"):
        remove_paths("s", made, ["/a", "/b"])


def test_a_set_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(NotFoundError, match="nothing to back up yet"):
        find_set({}, "default")
    with pytest.raises(NotFoundError, match="there is a, b"):
        find_set({"b": BackupSet(paths=["/b"]), "a": BackupSet(paths=["/a"])}, "default")


def test_a_set_without_rules_has_none():
    assert not Retention().policy().has_rule


# --- schedule
@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("hourly", Schedule(every_s=3600)),
        ("every 6h", Schedule(every_s=21600)),
        ("Every  15m", Schedule(every_s=900)),
        ("daily", Schedule(minute=0)),
        ("daily 3:05", Schedule(minute=185)),
        ("weekly", Schedule(minute=0, weekday=0)),
        ("weekly Sunday 23:59", Schedule(weekday=6, minute=1439)),
        ("monthly 28 00:00", Schedule(minute=0, day=28)),
    ],
)
def test_schedules_are_read_as_people_write_them(text, meant):
    assert parse_schedule(text) == meant


@given(st.text(max_size=20) | st.sampled_from(["every 14m", "daily 24:00", "monthly 29", "weekly foo", "every", ""]))
def test_what_is_no_schedule_is_refused_and_never_misread(text):
    # Hypothesis tries words that it finds in the source, in any case: these alone are schedules.
    assume(" ".join(text.lower().split()) not in {"hourly", "daily", "weekly", "monthly"})
    with pytest.raises(UserError):
        parse_schedule(text)
