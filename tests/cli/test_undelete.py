"""`peers undelete` on the command line: what it shows, what it asks the agent for, how it ends."""

import msgspec
import pytest

from backuppeer.control.saving import LeftOut
from backuppeer.control.undeleting import DeletedSnapshot, UndeletePlan, UndeleteResult
from cli.rows import PEER, ask, run
from cli.terminal import check_output
from control.dummy import telling

ROW = DeletedSnapshot(
    snapshot="3fa9c1d2" * 8,
    time="2026-11-22T21:30:00Z",
    host="desk\x1b",
    paths=["/home/me"],
    files=1234,
    bytes=2 * 10**9,
)
PLAN = UndeletePlan(
    peer_id=PEER,
    name="alice",
    packs=12,
    bytes=10**9,
    first="2026-12-22T21:30:00Z",
    last="2027-01-21T21:30:00Z",
    unreadable=1,
    snapshots=[ROW],
)
DONE = UndeleteResult(snapshots=[ROW.snapshot], incomplete=[], kept=5, packs=7, bytes=10**9, peers=[PEER])


def ask_list(capsys):
    code, out, _ = run(capsys, "peers", "undelete", "--json", "alice", "--list")
    return code, check_output("peers undelete --list", out)


def test_the_list_is_one_line_of_json(capsys, agent):
    agent({"peers/deleted": telling([], PLAN)})
    code, lines = ask_list(capsys)
    assert (code, lines) == (0, [{"event": "done", **msgspec.to_builtins(PLAN)}])


@pytest.mark.parametrize("words", [(), ("--list",)])
def test_without_ids_it_shows_what_could_be_had_back_and_until_when(capsys, agent, words):
    dummy = agent({"peers/deleted": telling([], PLAN)})
    code, out, err = run(capsys, "peers", "undelete", "alice", *words)
    assert code == 0
    assert "alice keeps 12 deleted packs of 1 GB, the first until 2026-12-22" in out
    assert "at the soonest" in out
    assert "3fa9c1d2" in out
    assert "desk\\u001b" in out
    assert "1 pack of it can't be read" in out + err
    assert "`backup-peer peers undelete alice SNAPSHOT" in out + err
    assert [route for route, _ in dummy.requests] == ["peers/deleted"]


def test_a_host_that_keeps_nothing_deleted_says_so(capsys, agent):
    agent({"peers/deleted": telling([], msgspec.structs.replace(PLAN, packs=0, unreadable=0, snapshots=[]))})
    _, out, _ = run(capsys, "peers", "undelete", "alice")
    assert "alice keeps nothing that was deleted" in out
    assert "no snapshot can be had back" in out


def test_ids_or_all_are_had_back_without_a_question(capsys, agent):
    away = LeftOut(peer_id=PEER, name="carol", reason="away", hint="the next backup tells it")
    dummy = agent({"peers/undelete": telling([], msgspec.structs.replace(DONE, left_out=[away]))})
    code, out, err = run(capsys, "peers", "undelete", "alice", "3fa9", "77aa")
    assert code == 0
    assert "1 snapshot back in the list, which has 5 now" in out
    assert "1 GB that were deleted are kept as before" in out
    assert "carol still has the old list" in out + err
    assert run(capsys, "peers", "undelete", "alice", "--all")[0] == 0
    (_, some), (_, everything) = dummy.requests
    assert (some.peer, some.snapshots, some.all) == ("alice", ["3fa9", "77aa"], False)
    assert (everything.snapshots, everything.all) == ([], True)


def test_what_stays_out_is_named_and_ends_with_3(capsys, agent):
    agent({"peers/undelete": telling([], msgspec.structs.replace(DONE, incomplete=["77aa" * 16]))})
    code, lines = ask(capsys, "peers undelete", "alice", "--all")
    assert code == 3
    assert [line["event"] for line in lines] == ["done", "error"]
    assert "77aa77aa" in lines[-1]["message"]


@pytest.mark.parametrize(
    "words", [(), ("alice", "--all", "3fa9"), ("alice", "--list", "--all"), ("alice", "--list", "3fa9")]
)
def test_what_contradicts_itself_is_exit_2_and_asks_nobody(capsys, agent, words):
    dummy = agent({})
    assert run(capsys, "peers", "undelete", *words)[0] == 2
    assert dummy.requests == []
