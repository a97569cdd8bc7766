"""Advice that names commands: each must exist."""

import ast
import re
from pathlib import Path

import pytest

import backuppeer
from backuppeer.cli.main import VERBS
from backuppeer.cli.render import write_peer
from cli.rows import run

SOURCE = Path(backuppeer.__file__).parent
NAMED = re.compile(r"backup-peer ([a-z]+)")
IN_BACKTICKS = re.compile(r"`backup-peer ([a-z]+)")


@pytest.mark.parametrize(
    "path", [*sorted((SOURCE / "cli").glob("*.py")), SOURCE / "signaling" / "pool.py"], ids=lambda path: path.stem
)
def test_every_verb_that_a_text_names_exists(path):
    assert set(NAMED.findall(path.read_text())) <= set(VERBS)


def test_every_verb_that_a_hint_anywhere_names_in_backticks_exists():
    named = {(path.name, verb) for path in SOURCE.rglob("*.py") for verb in IN_BACKTICKS.findall(path.read_text())}
    assert len(named) > 20
    assert {pair for pair in named if pair[1] not in VERBS} == set()


FILLED = re.compile(r"`backup-peer [^`]*")
VALUE = re.compile(r"\{([^}]*)\}")
AS_THEY_ARE = re.compile(
    r"quote|write_peer|size|more|SIZE|request|\bown\b|peer_id|_SORTS|place|called|fitting|contact|\bback\b|record|\btyped\b|as_what|"
    r"number|row\.job"
)
"""Sizes, ids, numbers have nothing that a shell would split; the words `place` to `typed`: quoted a line above."""


def test_whatever_a_person_named_is_quoted_in_commands():
    loose = [
        (path.name, value)
        for path in SOURCE.rglob("*.py")
        for command in FILLED.findall(path.read_text())
        for value in VALUE.findall(command)
        if not AS_THEY_ARE.search(value)
    ]
    assert loose == []


@pytest.mark.parametrize(("alias", "shown"), [("old alice", "'old alice'"), ("alice", "alice"), ("", "bp1abcdefghij")])
def test_a_name_with_a_space_is_one_word_of_a_command(alias, shown):
    assert write_peer("bp1abcdefghijklmnop", alias) == shown


FOR_PEOPLE = {"UserError", "NotFoundError", "IncompleteError"}
"""What a person did or asked for: who says that it can't be says what to do instead."""


@pytest.mark.parametrize("room", ["cli", "agent/commands", "agent/home", "agent/jobs"])
def test_who_tells_people_that_something_can_not_be_says_what_to_do(room):
    bare = [
        f"{path.name}:{call.lineno}"
        for path in (SOURCE / room).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in FOR_PEOPLE
        if not any(given.arg == "hint" for given in call.keywords)
    ]
    assert bare == []


def test_who_asks_for_nothing_is_shown_a_whole_command(capsys):
    code, _, err = run(capsys, "connect", "alice", "--storage", "0")
    assert code == 2
    assert "`backup-peer connect PEER --storage 10GB" in err
