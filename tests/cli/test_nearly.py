"""Words that fit no place: what was meant is proposed, whatever was typed, and nothing is done."""

import pytest

from backuppeer.cli.main import VERBS
from backuppeer.limits import TYPED_CHARS
from cli.rows import run


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["bakcup"], "no such command: 'bakcup'", "did you mean `backup-peer backup"),
        (["peers", "sett"], "no such command: 'sett'", "did you mean `backup-peer peers set"),
        (["config", "servers", "ad"], "no such command: 'ad'", "did you mean `backup-peer config servers add"),
        (["host", "--storrage", "5GB"], "no such option: --storrage", "did you mean `--storage`"),
        (["status", "--jsn"], "no such option: --jsn", "did you mean `--json`"),
        (["--hoem", "x", "status"], "no such option: --hoem", "did you mean `--home`?"),
        (["--storage", "5GB", "host"], "no such option: --storage", "options of a verb stand behind its name"),
        (["host", "--storage"], "--storage needs a value", "for example: `--storage 50GB`"),
        (["backup", "x", "-e"], "-e needs a value", "for example: `--exclude '*.jpg'`"),
        (["status", "--home"], "--home needs a value", "for example: `--home ~/other-home`"),
        (["ls"], "missing argument 'SNAPSHOT[:PATH]'", "for example: `backup-peer ls latest"),
        (["status", "x"], "unexpected extra argument", "for example: `backup-peer status"),
        (["x" * 10**6], "no such command", "lists the verbs"),
        (["status", "--" + "x" * 10**6], "no such option", "`backup-peer status"),
        (["two\nlines\x1b[2J"], "no such command", "lists the verbs"),
        ([""], "no such command", "lists the verbs"),
        (["ünïcödé\udcff"], "no such command", "lists the verbs"),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode(),
)
def test_what_fits_nowhere_is_named_and_something_is_proposed(capsys, home, words, said, hint):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    message, _, advice = err.partition("hint:")
    assert said in message
    assert hint in advice
    assert "\x1b" not in err
    assert len(err) < 1000
    assert list(home.iterdir()) == []


def test_a_word_like_no_other_proposes_nothing(capsys):
    assert "did you mean" not in run(capsys, "nonsense")[2]


@pytest.mark.parametrize("verb", VERBS)
def test_options_of_all_verbs_may_stand_before_or_behind_the_verb(capsys, home, verb):
    at = str(home / "x\0y")
    before = run(capsys, "--json", "--home", at, verb)
    behind = run(capsys, verb, "--home", at, "--json")
    assert before == behind
    assert before[0] == 2
    assert "--home" in before[2]


def test_the_longest_value_is_taken_and_one_longer_is_not(capsys):
    longest = run(capsys, "ls", "x" * TYPED_CHARS)[2]
    longer = run(capsys, "ls", "x" * (TYPED_CHARS + 1))[2]
    assert "too many" not in longest
    assert "SNAPSHOT[:PATH]: 65,537 characters are too many" in longer


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("set", "bandwith.up", "3MB/s"), "did you mean `bandwidth.up`?"),
        (("get", "bandwith.up"), "did you mean `bandwidth.up`?"),
        (("set", "sets.default.schedule", "daily"), "sets are changed with `backup-peer config edit"),
        (("set", "colour", "red"), "`backup-peer config list"),
    ],
)
def test_a_setting_that_there_is_not_proposes_what_was_meant_and_not_all_there_are(capsys, home, words, hint):
    code, _, err = run(capsys, "config", *words)
    assert code == 2
    assert hint in err
    assert "notify.after" not in err
