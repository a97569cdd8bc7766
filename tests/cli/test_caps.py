"""What people read of caps on what is sent and received."""

import time

import pytest
from msgspec import structs

from backuppeer.cli.caps import describe_caps
from backuppeer.control.bandwidth import CapState
from cli.rows import ask, run
from cli.test_sessions import BUSY
from control.dummy import given

MB = 1_000_000


def cap(direction, role="all", speed=2 * MB, until=""):
    return CapState(direction=direction, role=role, bytes_per_s=speed, until=until)


@pytest.fixture
def in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("caps", "words"),
    [
        ([], ""),
        ([cap("up")], "capped at 2 MB/s up"),
        (
            [cap("up", until="2026-11-29T07:00:00Z"), cap("down", speed=9 * MB, until="2026-11-29T07:00:00Z")],
            "capped at 2 MB/s up and 9 MB/s down until 07:00",
        ),
        (
            [cap("up", "own"), cap("up", "host", 500_000), cap("down", speed=9 * MB)],
            "capped at 9 MB/s down, 2 MB/s up for your own backups, 500 kB/s up for those you keep",
        ),
    ],
)
def test_caps_are_told_in_one_line(in_utc, caps, words):
    assert describe_caps(caps) == words


def test_sessions_says_by_what_the_work_is_capped(in_utc, capsys, agent):
    agent({"sessions": given([structs.replace(BUSY, caps=[cap("up", until="2026-11-29T07:00:00Z")])])})
    code, out, _ = run(capsys, "sessions")
    assert code == 0
    assert "capped at 2 MB/s up until 07:00" in out
    assert ask(capsys, "sessions")[1][0][0]["caps"][0]["bytes_per_s"] == 2 * MB


def test_a_cap_of_quiet_hours_says_that_there_are_none_until_there_are(capsys, home):
    assert "none are set" in run(capsys, "config", "set", "bandwidth.quiet_up", "1MB/s")[2]
    assert run(capsys, "config", "set", "bandwidth.quiet", "22:00-07:00")[2] == ""
    assert run(capsys, "config", "set", "bandwidth.quiet_down", "1MB/s")[2] == ""
