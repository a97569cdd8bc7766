"""The near end of the chain, in real homes."""

import os
import subprocess
from typing import NamedTuple

import pytest

from backuppeer import limits
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import create_identity
from backuppeer.cli.checkup import here
from backuppeer.cli.checkup.findings import State
from backuppeer.clock import SystemClock


@pytest.fixture
def made(tmp_path):
    """A home as `init` makes it."""
    home = Home(tmp_path / "home")
    create_identity(home, b"m" * 32, SystemClock())
    return home


def test_a_sound_home_is_for_its_user_alone_and_says_what_opens_its_keys(made):
    assert here.examine_home(made).state == State.OK
    told = here.examine_identity(made)
    assert (told.state, told.text[:3]) == (State.OK, "bp1")
    assert "open to whoever can read this home" in told.text
    assert here.examine_settings(made).text == "none are set: the defaults hold"


def test_where_there_is_no_home_the_way_to_one_is_named(tmp_path):
    told = here.examine_home(Home(tmp_path / "nowhere"))
    assert (told.state, told.code) == (State.BROKEN, 10)
    assert "`backup-peer init`" in told.fix


@pytest.mark.parametrize(
    ("place", "mode", "state", "below"),
    [
        ("", 0o750, State.BROKEN, ""),
        ("keys/working", 0o644, State.WARNING, "/keys"),
        ("keys", 0o755, State.WARNING, "/keys"),
    ],
)
def test_what_others_may_open_is_named_with_the_command_that_ends_it(made, place, mode, state, below):
    (made.path / place).chmod(mode)
    told = here.examine_home(made)
    assert told.state == state
    assert str(made.path / place) in told.text
    assert told.fix.endswith(f"go= {made.path}{below}`")
    subprocess.run(told.fix.strip("`").split(), check=True)
    assert here.examine_home(made).state == State.OK


def test_settings_that_an_editor_left_readable_are_well_in_a_closed_home(made):
    made.config.write_text("")
    made.config.chmod(0o644)
    assert here.examine_home(made).state == State.OK


def test_a_damaged_key_file_is_a_broken_link_and_no_traceback(made):
    (made.keys / "working").write_bytes(b"nonsense")
    told = here.examine_identity(made)
    assert (told.state, told.code) == (State.BROKEN, 15)


@pytest.mark.parametrize(
    ("text", "named"),
    [("serverz = []", "serverz"), ('servers = ["http://x"]', "http://x"), ("[sets.a]\npaths = 3", "sets.a.paths")],
)
def test_a_bad_key_of_the_settings_is_named(made, text, named):
    made.config.write_text(text)
    told = here.examine_settings(made)
    assert (told.state, told.code) == (State.BROKEN, 2)
    assert named in told.text
    assert told.fix


class Room(NamedTuple):
    f_bavail: int
    f_frsize: int
    f_files: int
    f_favail: int


@pytest.mark.parametrize(
    ("free", "files", "state"),
    [
        (limits.HOME_LOW_BYTES, 9, State.OK),
        (limits.HOME_LOW_BYTES - 1, 9, State.WARNING),
        (limits.HOME_FULL_BYTES, 9, State.WARNING),
        (limits.HOME_FULL_BYTES - 1, 9, State.BROKEN),
        (limits.HOME_LOW_BYTES, 0, State.BROKEN),
    ],
)
def test_a_disk_that_is_nearly_full_is_told_before_it_is(made, monkeypatch, free, files, state):
    monkeypatch.setattr(os, "statvfs", lambda _: Room(free, 1, 10, files))
    (told,) = here.examine_disks(made, None)
    assert (told.state, told.code) == (state, 13 if state == State.BROKEN else 0)
    assert bool(told.fix) == (state != State.OK)


def test_a_store_at_its_floor_takes_no_more(made, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda _: Room(limits.FREE_DISK_FLOOR_BYTES, 1, 10, 9))
    told = list(here.examine_disks(made, tmp_path))
    assert [(each.name, each.state) for each in told] == [("home", State.OK), ("store", State.WARNING)]
    assert "no more are taken" in told[1].text
