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


@cache
def texts():
    """All texts of the source, as patterns."""
    found = set()
    for path in errors_page.SOURCE.rglob("*.py"):
        nodes = (
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.JoinedStr | ast.Constant)
        )
        found |= {errors_page._read(node) for node in nodes}
    long = [text for text in found if len(re.sub(r"[^a-z]", "", text)) >= LEAST]
    # Longest first: most of them come from calls of errors, whole; `{}` is of a text that is filled in later.
    parts = (re.split(r"…|\{[a-z_]*\}", text) for text in sorted(long, key=len, reverse=True))
    return [re.compile(".*?".join(re.escape(part) for part in each), re.DOTALL) for each in parts]


def is_said(text):
    return any(pattern.search(text) for pattern in texts())


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
