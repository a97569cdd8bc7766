"""`host --move-store`: what is said of where the store lies."""

import os

import pytest

from backuppeer.cli import moving
from backuppeer.control.ending import MovePlace, MoveResult
from backuppeer.errors import LocalError
from cli.rows import ask, run
from control.dummy import telling

MOVED = MoveResult(
    source="/home/a/store", target="/mnt/b\x1big", files=9, bytes=10**9, seconds=1.5, renamed=False, cleared=True
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "the store lies in /mnt/b\\u001big now: 1 GB in 9 files copied and verified"),
        ({"source": MOVED.target}, "the store lies in /mnt/b\\u001big already: nothing to move"),
        ({"renamed": True}, "the store lies in /mnt/b\\u001big now, and is served from there"),
    ],
)
def test_it_says_where_the_store_lies_now_and_whether_it_was_copied(capsys, agent, changes, words):
    agent({"host/move": telling([], MoveResult(**{**as_dict(MOVED), **changes}))})
    code, out, err = run(capsys, "host", "--move-store", "big")
    assert code == 0
    assert words in " ".join(out.split())
    assert "could not be removed" not in err


def test_the_place_is_meant_from_where_the_command_runs(capsys, agent, tmp_path, monkeypatch):
    dummy = agent({"host/move": telling([], MOVED)})
    monkeypatch.chdir(tmp_path)
    code, lines = ask(capsys, "host --move-store", "big")
    assert (code, lines[-1]["bytes"]) == (0, 10**9)
    assert dummy.requests[-1][1].directory == os.fspath(tmp_path / "big")


def test_what_is_left_of_the_old_place_is_told(capsys, agent):
    agent({"host/move": telling([], MoveResult(**{**as_dict(MOVED), "cleared": False}))})
    assert "what is left in /home/a/store could not be removed" in " ".join(
        run(capsys, "host", "--move-store", "b")[2].split()
    )


@pytest.fixture
def stopped(monkeypatch):
    """Have Ctrl-C pressed while the store is moved."""

    def stop(*args, **options):
        del args, options
        raise KeyboardInterrupt

    monkeypatch.setattr(moving, "run_work", stop)


@pytest.mark.usefixtures("stopped")
def test_who_stops_in_time_is_told_that_the_store_lies_where_it_was(capsys, agent, tmp_path):
    agent({"host/move/place": telling([], MovePlace(directory="/home/a/store", cleared=True))})
    code, _, err = run(capsys, "host", "--move-store", str(tmp_path / "new"))
    said = " ".join(err.split())
    assert code == 130
    assert "stopped: the store lies in /home/a/store as before, and is served from there" in said
    assert "goes on with what was copied" in said


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("cleared", [True, False])
def test_who_stops_too_late_is_told_that_it_was_switched_over(capsys, agent, tmp_path, cleared):
    (tmp_path / "link").symlink_to(tmp_path / "new")
    agent({"host/move/place": telling([], MovePlace(directory=str(tmp_path / "new"), cleared=cleared))})
    code, _, err = run(capsys, "host", "--move-store", str(tmp_path / "link"))
    said = " ".join(err.split())
    assert code == 130
    assert "stopped too late: the store had been switched over, all of it" in said
    assert ("is removed when the agent starts next" in said) is not cleared
    assert "as before" not in said


@pytest.mark.usefixtures("stopped")
def test_when_the_agent_can_not_say_where_it_lies_nothing_is_claimed(capsys, agent):
    agent({"host/move/place": telling([], LocalError("broken"))})
    code, _, err = run(capsys, "host", "--move-store", "new")
    assert code == 130
    assert "it is not known whether the store had been switched over" in " ".join(err.split())


def as_dict(result: MoveResult) -> dict[str, object]:
    return {name: getattr(result, name) for name in result.__struct_fields__}
