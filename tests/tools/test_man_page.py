"""man/backup-peer.1 says what `--help` says."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from backuppeer.cli.main import VERBS

_SPEC = importlib.util.spec_from_file_location(
    "man_page", Path(__file__).resolve().parents[2] / "tools" / "man_page.py"
)
man_page = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(man_page)


def test_the_manual_is_that_of_the_verbs():
    assert man_page.PAGE.read_text() == man_page.render(), "run python tools/man_page.py"


def test_the_manual_has_every_verb():
    text = man_page.PAGE.read_text()
    assert set(re.findall(r"^\.SS ([a-z]+)", text, flags=re.MULTILINE)) == set(VERBS)


def test_groff_finds_nothing_wrong_with_the_manual():
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    command = ["groff", "-man", "-Tutf8", "-ww", "-z", str(man_page.PAGE)]
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""
