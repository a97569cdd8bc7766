"""Advice that names commands: each must exist."""

import re
from pathlib import Path

import pytest

import backuppeer
from backuppeer.cli.main import VERBS

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
