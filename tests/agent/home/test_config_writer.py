"""What a person wrote into the settings stays as it is, except for just the values that a command changes."""

import contextlib
import copy
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.agent.home.config import Config, change_config, read_config
from backuppeer.agent.home.config_writer import amend, revise_config, write_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.sets import BackupSet
from backuppeer.errors import LocalError, UserError

TEXT = """\
# my settings
servers = ["wss://a.example"]  # the first

# photos come first
[sets.photos]   # all of them
paths = [
    "/home/bob/photos",  # mine
    "/home/bob/scans",   # old ones
]
# not these
excludes = ["*.tmp"]

[sets.photos.hooks]
# dump
before = "true"  # nothing


# the rest
[sets.default]
paths = ["/home/bob/documents"]
"""
NAMES = st.sampled_from(["a", "photos", "x-y", "2"])
SETS = st.dictionaries(
    NAMES,
    st.builds(
        lambda paths, excludes, copies, hook: {"paths": paths, **excludes, **copies, **hook},
        st.lists(st.text(max_size=6), max_size=4),
        st.one_of(st.just({}), st.builds(lambda e: {"excludes": e}, st.lists(st.text(max_size=4), max_size=3))),
        st.one_of(st.just({}), st.builds(lambda n: {"copies": n}, st.integers(1, 9))),
        st.one_of(st.just({}), st.builds(lambda t: {"hooks": {"before": t}}, st.text(max_size=4))),
    ),
    max_size=3,
)
VALUES = st.builds(
    lambda top, sets: {**top, **({"sets": sets} if sets else {})},
    st.one_of(st.just({}), st.just({"servers": []}), st.just({"servers": ["wss://b"], "region": "EU"})),
    SETS,
)


def values():
    return tomllib.loads(TEXT)


def test_nothing_changes_when_nothing_is_changed():
    assert amend(TEXT, values()) == TEXT
    assert amend(TEXT.replace("\n", "\r\n"), values()) == TEXT.replace("\n", "\r\n")


def test_a_path_that_comes_and_one_that_goes_are_all_that_changes():
    wanted = values()
    wanted["sets"]["photos"]["paths"] = ["/home/bob/scans", "/music"]
    assert amend(TEXT, wanted) == TEXT.replace('    "/home/bob/photos",  # mine\n', "").replace(
        "# old ones\n", '# old ones\n    "/music",\n'
    )


def test_a_set_that_goes_leaves_the_others_as_they_are():
    wanted = values()
    del wanted["sets"]["photos"]
    amended = amend(TEXT, wanted)
    assert amended.startswith('# my settings\nservers = ["wss://a.example"]  # the first\n')
    assert amended.endswith('[sets.default]\npaths = ["/home/bob/documents"]\n')


def test_a_new_set_comes_last_and_a_new_setting_first():
    wanted = copy.deepcopy(values())
    wanted["region"] = "EU"
    wanted["sets"]["music"] = {"paths": ["/m"]}
    amended = amend(TEXT, wanted)
    assert amended.startswith('region = "EU"\n' + TEXT)
    assert amended.endswith('[sets.music]\npaths = ["/m"]\n')


@pytest.mark.parametrize(
    "text",
    [
        'sets = {a = {paths = ["/a"]}}  # all\n',
        'sets.a.paths = ["/a"]  # all\n',
        '[sets]\na = {paths = ["/a"]}  # all\n',
    ],
)
def test_sets_may_be_written_in_any_manner_of_toml(text):
    wanted = {"region": "EU", "sets": {"a": {"paths": ["/a", "/b"]}, "b": {"paths": ["/c"]}}}
    amended = amend(text, wanted)
    assert tomllib.loads(amended) == wanted
    assert "# all" in amended


@given(VALUES, VALUES, st.booleans())
def test_whatever_was_there_the_new_values_and_no_others_are_read_again(before, after, has_comments):
    text = tomlkit.dumps(before)
    if has_comments:
        text = "".join(f"{line} # {n}\n" if "=" in line or "[" in line else f"{line}\n" for n, line in _lines(text))
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError:  # a text with line ends in it was cut through
            text = tomlkit.dumps(before)
    assert tomllib.loads(amend(text, after)) == after


def _lines(text):
    return enumerate(text.split("\n"))


def test_a_file_that_is_no_toml_is_refused_and_stays():
    with pytest.raises(LocalError, match="can't be changed") as caught:
        amend("servers = [", {})
    assert "by hand" in caught.value.hint


def test_the_file_itself_keeps_comments_through_commands(tmp_path):
    home = Home(tmp_path)
    home.config.write_text(TEXT)
    write_config(home, change_config(read_config(home), "servers", "wss://b.example"))
    assert home.config.read_text() == TEXT.replace("wss://a.example", "wss://b.example")
    write_config(home, Config(sets={"music": BackupSet(paths=["/m"])}))
    assert read_config(home).sets == {"music": BackupSet(paths=["/m"])}
    assert home.config.read_text().startswith("# my settings\n")


def test_changes_at_the_same_moment_are_all_kept(tmp_path):
    home, both_are_there = Home(tmp_path), threading.Barrier(2)

    def set_one(key):
        def change(config):
            with contextlib.suppress(threading.BrokenBarrierError):
                both_are_there.wait(timeout=0.2)  # whoever comes in beside the other has read what that one changes
            return change_config(config, key, "1MB/s")

        return revise_config(home, change)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(set_one, ["bandwidth.up", "bandwidth.down"]))
    kept = read_config(home).bandwidth
    assert (kept.up, kept.down) == ("1MB/s", "1MB/s")


def test_a_change_that_is_refused_leaves_the_file_and_the_lock_free(tmp_path):
    home = Home(tmp_path)
    home.config.write_text(TEXT)
    with pytest.raises(UserError, match="no setting called"):
        revise_config(home, lambda config: change_config(config, "nonsense", "1"))
    assert home.config.read_text() == TEXT
    revise_config(home, lambda config: change_config(config, "region", "EU"))
    assert read_config(home).region == "EU"
