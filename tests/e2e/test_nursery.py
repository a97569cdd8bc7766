"""A verb that is forked is, to whoever looks at it, one that was started: the other tests rest on that."""

import subprocess

import pytest

from e2e.harness import NURSERY, Home, World

pytestmark = pytest.mark.slow


def run_anew(home: Home, *words: str, stdin: str = "") -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        home._command(words), env=home.environment(), input=stdin.encode(), capture_output=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("id",), id="done"),
        pytest.param(("peers", "show", "nobody"), id="no such thing"),
        pytest.param(("id", "--no-such-option"), id="usage"),
        pytest.param(("recover", "--yes"), id="words"),
        pytest.param(("backup", "bad\udcffname"), id="bytes"),
    ],
)
def test_a_forked_verb_says_and_ends_as_one_that_was_started(
    world: World, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
):
    home, given = world.peer("anybody", servers="")[0], "abandon " * 24
    monkeypatch.chdir(world.path)
    assert NURSERY.fits(home.environment(), given.encode())
    forked = NURSERY.run(("--json", *words), home.environment(), given.encode(), 60)
    assert forked == run_anew(home, *words, stdin=given)


def test_a_verb_that_takes_too_long_is_killed_and_one_of_another_environment_is_not_forked(world: World):
    home = world.peer("anybody", servers="")[0]
    with pytest.raises(subprocess.TimeoutExpired):
        NURSERY.run(("agent", "run"), home.environment(), b"", 0.5)
    assert not NURSERY.fits(home.environment() | {"LANG": "xx"}, b"")
