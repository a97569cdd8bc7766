"""docs/errors.md is the catalogue of what the program says when something goes wrong (U4)."""

import importlib.util
import re
from functools import cache
from pathlib import Path

from backuppeer.errors import MEANINGS, DeclinedError, ExitCode, NotFoundError, PeerUnreachable

_SPEC = importlib.util.spec_from_file_location(
    "errors_page", Path(__file__).resolve().parents[2] / "tools" / "errors_page.py"
)
page_tool = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(page_tool)
render = cache(page_tool.render)
"""It reads all of the source, which takes seconds."""


def test_the_catalogue_is_that_of_the_source():
    assert page_tool.PAGE.read_text() == render(), "run python tools/errors_page.py"


def test_each_exit_code_has_a_cause_and_each_that_is_an_error_has_a_remedy():
    assert set(MEANINGS) == set(ExitCode)
    assert all(meaning.cause for meaning in MEANINGS.values())
    bare = {code for code, meaning in MEANINGS.items() if not meaning.remedy}
    assert bare == {ExitCode.DONE, ExitCode.INTERRUPTED, ExitCode.OUTPUT_CLOSED}
    assert [meaning for meaning in MEANINGS.values() if "VERB" in meaning.remedy] == [], "no command that can be typed"


def test_the_page_for_scripts_has_the_same_codes():
    page = (page_tool.ROOT / "docs" / "scripts.md").read_text()
    for code, meaning in MEANINGS.items():
        assert f"| {int(code)} | {meaning.cause.replace('|', chr(92) + '|')} |" in page


def test_the_catalogue_has_messages_of_each_code_with_what_to_do():
    page = render()
    for code in (1, 2, 3, 10, 11, 12, 13, 14, 15):
        part = re.split(r"^## ", page, flags=re.MULTILINE)
        (own,) = [each for each in part if each.startswith(f"{code}\n")]
        assert own.count("\n| ") > 2, code


def test_an_error_without_a_hint_of_its_own_advises_what_helps_with_its_code():
    assert "same command goes on" in PeerUnreachable("alice went away").advice
    assert NotFoundError("no snapshot 1", hint="look").advice == "look"


def test_who_said_no_is_not_advised():
    assert DeclinedError("you said no").advice == ""
