"""Every verb's help ends with calls of it, and each of them is one that this version takes."""

import io
import shlex

import pytest

from backuppeer.cli.examples import EXAMPLES, list_examples
from backuppeer.cli.further import ITSELF
from backuppeer.cli.main import VERBS, build_command
from backuppeer.cli.screen import Screen
from cli.rows import run
from docs.test_commands import parse


def walk(command, verb=""):
    """Yield the words of every verb."""
    below = getattr(command, "commands", {})
    if verb and ITSELF not in below:
        yield verb
    for name, each in below.items():
        yield from walk(each, verb if name == ITSELF else f"{verb} {name}".strip())


APP = build_command(Screen((io.StringIO(), io.StringIO(), io.StringIO()), json=False, yes=False))
ALL = sorted(set(walk(APP)))


def first_of(verb):
    return VERBS[verb].example if verb in VERBS else ""


def test_there_are_many_verbs():
    assert len(ALL) > 70


@pytest.mark.parametrize("verb", ALL)
def test_each_verb_has_examples_which_are_calls_of_it_that_are_taken(verb):
    calls = list_examples(verb, first_of(verb))
    assert calls, "a line in cli/examples.py"
    for call in calls:
        words = shlex.split(call.partition(" > ")[0])[1:]
        # The first example of a group is of one of those below it.
        assert words[: len(verb.split())] == verb.split()
        parse(words)
        assert len(f"    {call}") <= 80


@pytest.mark.parametrize("verb", ALL)
def test_help_shows_the_examples_as_they_are_typed(capsys, verb):
    code, out, _ = run(capsys, *verb.split(), "--help")
    assert code == 0
    section = out.partition("Examples:")[2]
    assert [line.strip() for line in section.splitlines() if line.strip()] == list(list_examples(verb, first_of(verb)))


def test_there_are_no_examples_of_verbs_that_are_no_more():
    assert set(EXAMPLES) <= {*ALL, *VERBS}
