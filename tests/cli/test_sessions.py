"""`sessions` and `disconnect`, as people and programs see them."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec import structs

from backuppeer.cli import sessions as sessions_module
from backuppeer.cli.render import measure_width
from backuppeer.control.sessions import DisconnectResult, SessionRow
from backuppeer.errors import NotFoundError
from cli.rows import ask, run
from cli.terminal import FakeTerminal
from control.dummy import PEER, given


def ago(**span):
    return (datetime.now(UTC) - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


BUSY = SessionRow(
    peer_id=PEER,
    alias="alice",
    state="transferring",
    path="direct",
    rtt_ms=12.0,
    sent_bytes=1_234_567_890,
    received_bytes=2_345_678,
    since=ago(hours=2, minutes=5),
    bytes_per_s=2_000_000,
    now_bytes_per_s=11_200_000,
    loss=0.0,
    quality="good",
    quality_reason="direct, 12 ms",
    work=["sending 3 packs", "asking 1 question"],
)
FAR = msgspec.structs.replace(
    BUSY,
    peer_id=PEER[:-1] + "q",
    alias="bob's old machine in the cellar",
    state="idle",
    quality="fair",
    quality_reason="an answer takes 212 ms\x1b[31m",
    rtt_ms=212.0,
    work=[],
    now_bytes_per_s=0,
)
LOST = SessionRow(
    peer_id=PEER[:-1] + "p",
    alias="",
    state="reconnecting",
    path="none",
    rtt_ms=0,
    sent_bytes=0,
    received_bytes=0,
    since=ago(minutes=1),
    reason="it stopped answering",
    next_try=ago(seconds=-30),
)


class Tape:
    """A handler that answers with one list after the other, and with Ctrl-C at its end."""

    def __init__(self, monkeypatch, *lists):
        self.lists, self.shown = list(lists), 0
        monkeypatch.setattr(sessions_module, "_ask", self.next)
        monkeypatch.setattr(sessions_module.time, "sleep", lambda _: None)

    def next(self, _):
        if self.shown == len(self.lists):
            raise KeyboardInterrupt
        self.shown += 1
        return self.lists[self.shown - 1]


def test_programs_get_every_field(capsys, agent):
    agent({"sessions": given([BUSY, LOST])})
    assert ask(capsys, "sessions") == (0, [msgspec.to_builtins([BUSY, LOST])])


def test_a_person_sees_speed_quality_work_and_why(capsys, agent):
    busy, lost = structs.replace(BUSY, since=ago(hours=2, minutes=5)), structs.replace(LOST, next_try=ago(seconds=-30))
    agent({"sessions": given([busy, FAR, lost])})
    code, out, _ = run(capsys, "sessions")
    lines = out.splitlines()
    assert code == 0
    assert "11.2 MB/s" in lines[1]
    assert "2 h 5 m" in lines[1]
    assert "alice: sending 3 packs, asking 1 question; 2 MB/s on average" in lines
    assert any(line.endswith(": fair, as an answer takes 212 ms\\u001b[31m") for line in lines)
    assert any("it stopped answering; next try in " in line for line in lines)
    assert "\x1b" not in out


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_list_fits_the_terminal_and_keeps_what_matters(capsys, agent, monkeypatch, columns):
    agent({"sessions": given([BUSY, FAR, LOST])})
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = FakeTerminal()
    monkeypatch.setattr(sys, "stdout", shown)
    assert run(capsys, "sessions")[0] == 0
    lines = shown.getvalue().splitlines()
    assert max(map(measure_width, lines)) <= columns
    assert {"peer", "state", "rtt", "now", "quality"} <= set(lines[0].split())
    assert "reconnecting" in shown.getvalue()


def test_a_watched_list_is_redrawn_in_place_without_being_wiped(capsys, agent, monkeypatch, terminal):
    agent({})
    terminal()
    shown = FakeTerminal()
    monkeypatch.setattr(sys, "stdout", shown)
    Tape(monkeypatch, [BUSY, FAR], [BUSY], [])
    assert run(capsys, "sessions", "--watch")[0] == 130
    first, second, third = shown.getvalue().split("\x1b[J")[:3]
    assert first.count("\n") == 6
    assert "\x1b[2J" not in shown.getvalue()
    assert second.startswith(f"\x1b[{first.count(chr(10))}A")
    assert "no open sessions" in third


def test_what_is_higher_than_the_terminal_is_counted(capsys, agent, monkeypatch, terminal):
    agent({})
    terminal()
    shown = FakeTerminal()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("LINES", "5")
    Tape(monkeypatch, [BUSY, FAR, LOST])
    assert run(capsys, "sessions", "--watch")[0] == 130
    assert shown.getvalue().count("\n") == 4
    assert "lines more" in shown.getvalue()


def test_elsewhere_each_change_is_a_line(capsys, agent, monkeypatch):
    agent({})
    moved = msgspec.structs.replace(BUSY, sent_bytes=BUSY.sent_bytes + 1, rtt_ms=13.0)
    idle = msgspec.structs.replace(BUSY, state="idle", work=[])
    Tape(monkeypatch, [BUSY], [moved], [idle, LOST], [LOST], [])
    code, out, _ = run(capsys, "sessions", "--watch")
    told = [line.partition("  ")[2] for line in out.splitlines()]
    assert code == 130
    assert told == [
        "alice  transferring; direct, 12 ms, good; sending 3 packs; asking 1 question",
        "alice  idle; direct, 12 ms, good",
        f"{PEER[:13]}  reconnecting; it stopped answering",
        "alice  no session",
        f"{PEER[:13]}  no session",
    ]


def test_programs_get_a_list_for_each_change(capsys, agent, monkeypatch):
    agent({})
    Tape(monkeypatch, [], [BUSY], [BUSY], [])
    code, out, _ = run(capsys, "sessions", "--watch", "--json")
    assert code == 130
    assert [len(json.loads(line)) for line in out.splitlines()] == [0, 1, 0]


def test_who_looks_at_nothing_is_told_so(capsys, agent, monkeypatch):
    agent({"sessions": given([])})
    assert run(capsys, "sessions")[1] == "no open sessions\n"
    Tape(monkeypatch, [])
    assert run(capsys, "sessions", "--watch")[1].endswith("  no open sessions\n")
    assert time.time() > 0


@pytest.mark.parametrize(
    ("words", "result", "lines"),
    [
        ((), DisconnectResult(peer_id=PEER, closed=True, rest_s=600), ["disconnected from", "leaves it alone"]),
        (
            ("--now",),
            DisconnectResult(peer_id=PEER, closed=True, cut=2, rest_s=600),
            ["disconnected from", "2 requests under way broken off", "for 10 m"],
        ),
        ((), DisconnectResult(peer_id=PEER, closed=False, rest_s=600), ["was being looked for", "10 m"]),
    ],
)
def test_an_end_says_what_it_meant(capsys, agent, words, result, lines):
    dummy = agent({"disconnect": given(result)})
    code, out, err = run(capsys, "disconnect", "alice", *words)
    assert (code, err) == (0, "")
    assert dummy.requests[-1][1].now is bool(words)
    assert all(line in told for line, told in zip(lines, out.splitlines(), strict=True))


def test_where_there_is_no_session_the_code_says_so(capsys, agent):
    agent({"disconnect": given(NotFoundError("there is no session with alice", hint="see `backup-peer sessions`"))})
    assert run(capsys, "disconnect", "alice")[0] == 10
