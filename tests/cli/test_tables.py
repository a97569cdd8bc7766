"""What all lists look like: on a real terminal of 80 columns, with long and wide names, coloured or not, and piped."""

import os
import pty
import sys
import threading

import msgspec
import pytest

from backuppeer.cli import render
from backuppeer.cli.main import main
from backuppeer.control import api
from backuppeer.control.browsing import BrowseDone
from cli import rows as shared
from cli import test_invite, test_reputation, test_sessions
from control.dummy import PEER, given, telling

LONG = "東京の古い友達のバックアップ用サーバー、地下室にある二番目の方"
"""Each sign takes two columns."""
SNAPSHOT = api.SnapshotRow(
    snapshot="3fa9c1d2" * 8,
    time="2026-11-22T23:30:00Z",
    paths=[f"/home/{LONG}/{LONG}", "/home/photos"],
    files=123_456,
    bytes=10**12,
    peers=[PEER],
    host=LONG,
    tags=["休日", "仕事"],
    set="写真",
)
HOSTING = api.HostingState(offering=True, storage_bytes=10**12, agreements=2, agreed_bytes=10**12, used_bytes=10**11)
STATUS = api.StatusResult(
    peer_id=PEER,
    agent="running",
    servers=[],
    sessions=3,
    hosting=HOSTING,
    snapshots=3,
    notes=[f"ALARM: {LONG} has lost a pack", f"{LONG}: on trial"],
)
PEERS = [shared.make_peer(alias=LONG, role="both", used_bytes=10**11, hosted_bytes=10**12, ends="2027-01-22T12:00:00Z")]
SESSIONS = (test_sessions.BUSY, test_sessions.LOST)
OFFER = msgspec.structs.replace(shared.ROW, alias=LONG)
LISTS = {
    "peers": {"peers": given(PEERS)},
    "snapshots": {"snapshots": given([SNAPSHOT])},
    "status": {"status": given(STATUS)},
    "sessions": {
        "sessions": given(
            [msgspec.structs.replace(row, alias=LONG) for row in (test_sessions.BUSY, test_sessions.LOST)]
        )
    },
    "requests": {"requests": given([msgspec.structs.replace(shared.PENDING, alias=LONG)])},
    "invite list": {"invite": given([msgspec.structs.replace(test_invite.ROW, name=LONG)])},
    "reputation": {"reputation": given([msgspec.structs.replace(test_reputation.ROW, alias=LONG)])},
    "browse": {"browse": given([OFFER]), "browse/live": telling([], BrowseDone(offers=[OFFER]))},
}


class Terminal:
    """A pseudo-terminal in place of standard output and error, or of one of them; what it shows is read meanwhile."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.file = os.fdopen(slave, "w", encoding="utf-8")
        self._shown = bytearray()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def close(self) -> str:
        self.file.close()
        self._thread.join(10)
        os.close(self._master)
        return self._shown.decode().replace("\r\n", "\n")

    def _read(self) -> None:
        try:
            while piece := os.read(self._master, 65536):
                self._shown += piece
        except OSError:  # how Linux tells that the other end is closed
            return


@pytest.fixture
def show(monkeypatch, agent):
    """Run a list verb with its output, its errors or both on a terminal; return what the terminal showed."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(verb, *streams, **environment):
        agent(LISTS[verb])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        terminal = Terminal()
        for stream in streams:
            monkeypatch.setattr(sys, stream, terminal.file)
        try:
            assert main(verb.split()) == 0
        finally:
            shown = terminal.close()
        return shown

    return run


@pytest.mark.parametrize("verb", LISTS)
def test_with_wide_and_long_names_no_line_is_wider_than_the_terminal(show, verb):
    shown = show(verb, "stdout", "stderr", NO_COLOR="1")
    lines = [line.rpartition("\r\x1b[K")[2] for line in shown.split("\n")]
    wide = [line for line in lines if render.measure_width(line) > 80 and "`backup-peer" not in line]
    # A path or an alias is one word, which stays whole so that it can be copied.
    assert [line for line in wide if LONG not in line] == []
    table = [line for line in lines if "…" in line]
    assert all(render.measure_width(line) <= 80 for line in table)


@pytest.mark.parametrize("verb", LISTS)
@pytest.mark.parametrize("how", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colour_gets_no_escape_at_all(show, verb, how):
    shown = show(verb, "stdout", "stderr", **how)
    assert "\x1b[0m" not in shown
    assert "\x1b" not in shown.replace("\r\x1b[K", "")  # a line that is drawn anew is no colour
    assert how != {"TERM": "dumb"} or "\x1b" not in shown


@pytest.mark.parametrize("verb", LISTS)
def test_a_pipe_beside_a_terminal_gets_no_colours(show, verb, capsys):
    show(verb, "stderr")
    out = capsys.readouterr().out
    assert out
    assert "\x1b" not in out


def test_a_terminal_that_has_colours_gets_them(show):
    assert "\x1b[1m" in show("peers", "stdout", "stderr")
    assert "\x1b[" in show("status", "stdout", "stderr")
