"""`host --move-store`: what is said of where the store lies."""

import os

import pytest

from backuppeer.control.ending import MoveResult
from cli.rows import ask, run
from control.dummy import telling

MOVED = MoveResult(
    source="/home/a/store", target="/mnt/b\x1big", files=9, bytes=10**9, seconds=1.5, renamed=False, cleared=True
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "the store lies in /mnt/b\\u001big now: 1 GB in 9 files copied and verified"),
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


def as_dict(result: MoveResult) -> dict[str, object]:
    return {name: getattr(result, name) for name in result.__struct_fields__}
