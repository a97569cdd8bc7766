"""docs/errors-seen.md is what tests saw of E1 to E9, and may not outlive the words of the source."""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

from backuppeer.errors import ExitCode

TOOLS = Path(__file__).resolve().parents[2] / "tools"
LEAST = 12
"""Letters that a text of the source must have to stand for a message."""


def load(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


errors_seen, errors_page = load("errors_seen"), load("errors_page")
ROWS = errors_seen.read_page(errors_seen.PAGE.read_text())


def count_letters(text):
    return len(re.sub(r"[^A-Za-z]", "", text))


@cache
def texts():
    """All texts of the source: the parts of each that are fixed, and how many letters it has."""
    found = set()
    for path in errors_page.SOURCE.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        found |= {errors_page._read(node) for node in nodes if isinstance(node, ast.JoinedStr | ast.Constant)}
    # `{…}`: of a text that is filled in later.
    return [(re.split(r"…|\{[a-z_]*\}", text), letters) for text in found if (letters := count_letters(text)) >= LEAST]


def stands_in(parts, text):
    """Whether these parts stand in a text, one after the other."""
    at = 0
    for part in parts:
        if (at := text.find(part, at)) < 0:
            return False
        at += len(part)
    return True


def is_said(text):
    """Whether a text of the source stands in it that is more than a word or two of it."""
    least = max(LEAST, count_letters(text) // 4)
    return any(letters >= least and stands_in(parts, text) for parts, letters in texts())


def test_each_case_was_seen():
    assert list(dict.fromkeys(row.case for row in ROWS)) == list(errors_seen.CASES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.case}-{row.how[:40]}")
def test_what_was_seen_is_what_the_source_says_and_has_a_code_of_ours_and_a_way_out(row):
    assert is_said(row.message), "make error-table"
    assert is_said(row.hint), "make error-table"
    assert row.code in set(ExitCode)
    assert row.way_out


def test_a_message_that_is_in_no_source_is_told_from_one_that_is():
    row = ROWS[0]
    assert not is_said("the moon is in the way, and everything else is as well")
    assert is_said(row.message)


def test_a_page_read_back_is_the_page():
    assert errors_seen.render(ROWS) == errors_seen.PAGE.read_text()


def test_a_case_that_nobody_saw_is_told():
    with pytest.raises(SystemExit, match="E9"):
        errors_seen.render([row for row in ROWS if row.case != "E9"])
