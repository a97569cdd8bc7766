"""Advice that names commands: each must exist."""

import re
from pathlib import Path

import pytest

import backuppeer
from backuppeer.cli.main import VERBS

SOURCE = Path(backuppeer.__file__).parent
NAMED = re.compile(r"backup-peer ([a-z]+)")


@pytest.mark.parametrize(
    "path", [*sorted((SOURCE / "cli").glob("*.py")), SOURCE / "signaling" / "pool.py"], ids=lambda path: path.stem
)
def test_every_verb_that_a_text_names_exists(path):
    assert set(NAMED.findall(path.read_text())) <= set(VERBS)
