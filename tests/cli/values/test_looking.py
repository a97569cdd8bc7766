"""Nonsense for every option and argument that there is: said to whom it belongs, with an example, before all work."""

import io
from dataclasses import dataclass

import pytest

from backuppeer.backup.kinds import KIND_NAMES
from backuppeer.backup.retention import GROUP_FIELDS
from backuppeer.cli import selection
from backuppeer.cli.browse import _SORTS
from backuppeer.cli.further import ITSELF
from backuppeer.cli.host import _POLICIES
from backuppeer.cli.main import build_command
from backuppeer.cli.screen import Screen
from backuppeer.cli.values import kinds, table
from backuppeer.cli.values.looking import name_argument, name_parameter
from backuppeer.limits import TYPED_CHARS
from cli.rows import run

WORD_OF_ITS_OWN = ["nonsense", "x,y", "ünïcödé", "-1"]
NO_NUMBERS = ["nonsense", "1.5", "1e3", "0x10", "٣", "1_000", "9" * 40, "--", "∞"]
NONSENSE = {
    kinds.check_number: NO_NUMBERS,
    kinds.parse_size: ["lots", "5XB", "-1GB", "1,5GB", "9" * 40, "10EB", "٣GB", "1e9"],
    kinds.check_span: ["nonsense", "60", "-2h", "2 moons", "h2", "999y", "0s", "٣h"],
    kinds.parse_duration: ["nonsense", "60", "-2h", "2 moons", "h2", "999y", "٣h"],
    kinds.parse_share: ["nonsense", "1.1", "101%", "-0.1", "nan", "inf", "٣"],
    kinds.check_availability: ["nonsense", "1.1", "101%", "-0.1", "nan", "1%"],
    kinds.check_moment: ["soon", "2026-13-01", "22.11.2026", "30", "9" * 50],
    kinds.check_times: ["nonsense", "-1", "1/2", "9999", "nan", "٣"],
    kinds.check_region: ["eu", "nonsense", "EU EU", "ÉU", "-1"],
    kinds.check_regions: ["nonsense", "EU EU", "ÉU", "-1"],
    kinds.check_alias: ["bp1alice", "a/b", " alice", "x" * 65, "-alice", "\u202ealice"],
    kinds.check_peer: ["bp1", "bp1zz", "bp1" + "q" * 58, "BP1" + "q" * 70],
    kinds.check_contact: ["nonsense", "bp1abcdefgh", "bp1" + "q" * 58, "x@y@z"],
    kinds.check_set: ["two words", "a/b", "x" * 65, "ünïcödé"],
    kinds.check_tag: ["one,two", "x" * 5000],
    kinds.check_server: ["nonsense", "http://x", "ws://", "wss://user@x", "wss://x:99999", "wss://" + "x" * 300],
    kinds.check_proxy: ["nonsense", "wss://x", "socks5://", "http://x/path", "socks5://me:secret@x:1"],
    kinds.check_cluster: ["nonsense", "http://x", "valkey://:secret@x", "valkey://[x"],
    kinds.check_listen: ["nonsense", "x:y", "x:99999", "x:-1", "x:٣"],
    kinds.check_limit: ["nonsense", "connections", "connections=-1", "connections=nan", "network-pages=1"],
    kinds.check_network: ["nonsense", "10.0.0.0/99", "::/-1"],
    kinds.check_observe: ["nonsense", "name:1", "1.2.3.4:99999"],
    kinds.check_rate: ["nonsense", "20", "-1", "5XB"],
    kinds.check_relay_url: ["nonsense", "wss://x/path", "http://x"],
    kinds.check_cap: ["nonsense", "-1", "all"],
    kinds.check_unused: ["nonsense", "100%", "5", "-5%", "101%"],
    kinds.check_subset: ["nonsense", "0%", "101%", "3/2", "0/5", "-5%", "0"],
    kinds.check_key: ["nonsense", "sets", "trust", "Servers"],
    kinds.check_folder: ["/etc/passwd", "/etc/passwd/below", "/tmp/" + "x" * 300],
    kinds.check_file: ["/etc", "/etc/passwd/below", "/tmp/" + "x" * 300],
    kinds.check_anything: [],
}
LIST_OF_WORDS = {"one_of.<locals>.check", "some_of.<locals>.check"}
"""Kinds that are made for one option each."""


@dataclass
class Place:
    """One option or argument of one verb, and what stands before it there."""

    verb: str
    param: object
    before: tuple[str, ...]

    @property
    def name(self):
        return name_parameter(self.param)

    @property
    def kind(self):
        names = tuple(self.param.opts) if self.is_option else (name_argument(self.param),)
        return table.find_kind(self.verb, names)

    @property
    def is_option(self):
        return self.param.param_type_name == "option"

    def words(self, text):
        """Return a command line with this value."""
        verb = self.verb.split() or ["status"]
        return [*verb, f"{self.name}={text}"] if self.is_option else [*verb, *self.before, "--", text]


def walk(command, verb=""):
    """Yield every place that takes a value."""
    before = ()
    for param in command.params:
        if getattr(param, "is_flag", False):
            continue
        place = Place(verb, param, before)
        yield place
        if not place.is_option and place.kind is not None:
            before += (place.kind.example,)
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, verb if name == ITSELF else f"{verb} {name}".strip())


SCREEN = Screen((io.StringIO(), io.StringIO(), io.StringIO()), json=False, yes=False)
PLACES = list(walk(build_command(SCREEN)))


def list_nonsense(kind):
    """Yield what is no value of a kind, with what is none of any."""
    yield "x" * (TYPED_CHARS + 1)
    yield "a\0b"
    if not kind.may_be_empty:
        yield ""
    if kind.is_line:
        yield from ("two\nlines", "a\x1b[2Jb", "a\x7f")
    if kind.check.__qualname__ in LIST_OF_WORDS:
        yield from WORD_OF_ITS_OWN
    else:
        yield from NONSENSE[kind.check]


def test_there_are_many_places_for_values():
    assert len(PLACES) > 200


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.verb} {place.name}".strip())
def test_nonsense_is_refused_by_name_with_an_example_before_anything_is_done(capsys, home, place):
    assert place.kind is not None, "a line in cli/values/table.py says what it takes"
    for text in list_nonsense(place.kind):
        code, out, err = run(capsys, *place.words(text))
        assert (code, out) == (2, ""), (text[:80], err)
        said, _, hint = err.partition("hint:")
        assert place.name in said, (text[:80], err)
        shows = (place.kind.example, place.param.metavar or "x", "did you mean `")
        assert any(each in hint for each in shows), (text[:80], err)
        assert "Traceback" not in err
        assert "secret" not in err
        assert len(err) < 2000, len(err)
        assert list(home.iterdir()) == []


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.verb} {place.name}".strip())
def test_the_example_in_the_hint_is_a_good_value(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    if "…" not in place.kind.example:
        place.kind.look_at(place.kind.example.strip("'"))


def test_each_line_of_the_table_is_of_an_option_or_argument_that_there_is():
    seen = {id(place.kind) for place in PLACES}
    unused = [name for name, kind in (table.OPTIONS | table.ARGUMENTS).items() if id(kind) not in seen]
    # A kind without a change of its own is the same for several names: then by name.
    named = {name for place in PLACES for name in [*place.param.opts, f"{place.verb} {place.name}", place.name]}
    assert [name for name in unused if name not in named] == []
    assert [name for name in table.OPTIONS | table.ARGUMENTS if name not in named] == []


def test_choices_are_those_of_the_rooms_that_know_them():
    assert set(table.OPTIONS["--type"].words) == set(KIND_NAMES.values())
    assert table.OPTIONS["--group-by"].words == GROUP_FIELDS == tuple(selection.GROUPS.split(","))
    assert table.OPTIONS["--sort"].words == tuple(_SORTS)
    assert table.OPTIONS["--accept"].words == _POLICIES
