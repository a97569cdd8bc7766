"""requirements.lock pins what pyproject.toml asks for, with hashes, and names no index and no machine.

So does what draws the simulator's plots, in a file of its own.
"""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PLOTS = (ROOT / "bench" / "simulation" / "requirements.txt").read_text("utf-8")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; (.+?))? \\$")


def _pins(lock: str = LOCK) -> dict[str, str]:
    found = (PIN.match(line) for line in lock.splitlines())
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def _wanted() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = project["dependency-groups"]
    return [*project["project"]["dependencies"], *groups["dev"], *groups["build"], *project["build-system"]["requires"]]


@pytest.mark.parametrize("text", _wanted())
def test_everything_the_project_asks_for_is_pinned_within_its_range(text):
    wanted = Requirement(text)
    assert wanted.specifier.contains(_pins()[canonicalize_name(wanted.name)])


def test_what_draws_plots_is_pinned_within_its_range_and_not_in_the_lock():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for wanted in map(Requirement, project["dependency-groups"]["plots"]):
        assert wanted.specifier.contains(_pins(PLOTS)[canonicalize_name(wanted.name)])
        assert canonicalize_name(wanted.name) not in _pins()


@pytest.mark.parametrize("lock", [LOCK, PLOTS], ids=["lock", "plots"])
def test_every_pin_has_a_hash_and_every_line_is_a_pin_a_hash_or_a_comment(lock):
    lines = lock.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if PIN.match(line):
            assert following.startswith("    --hash=sha256:")
        else:
            assert line.startswith("#") or re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)


@pytest.mark.parametrize("lock", [LOCK, PLOTS], ids=["lock", "plots"])
def test_the_lock_names_no_index_no_url_and_no_path(lock):
    assert not re.search(r"://|--(extra-)?index|--find-links|file:|/home/|/roo[t]/|/tmp/", lock)
