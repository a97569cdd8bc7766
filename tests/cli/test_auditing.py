"""`audit` in front of people and programs, against a scripted agent."""

import msgspec
import pytest

from backuppeer.control.auditing import AuditedHost, AuditResult, DrilledHost, DrillResult
from backuppeer.control.events import Event, EventName, Fault
from backuppeer.control.proven import AuditRow
from backuppeer.control.saving import LeftOut
from cli.rows import PROGRESS, ask, run
from control.dummy import PEER, telling

ROW = AuditRow(
    peer_id=PEER,
    alias="alice",
    state="proven",
    audited="2026-11-22T21:30:00Z",
    proven="2026-11-21T21:30:00Z",
    next="2026-11-23T21:30:00Z",
    stored_bytes=10**9,
    proven_bytes=999_999_999,
    packs=60,
    acknowledged=60,
)
HOST = AuditedHost(peer_id=PEER, alias="alice", asked=31, shown=31, shown_bytes=31 * 16384)
DONE = AuditResult(hosts=[HOST], asked=31, shown=31, shown_bytes=31 * 16384, left_out=[], seconds=1.5)
CAUGHT = msgspec.structs.replace(
    HOST, shown=30, lost=1, faults=["packs that it keeps are not shown any more: 1\x1b[2J"], proofs=["/h/a.proof"]
)
FAULT = Event(
    event=EventName.FAULT,
    data=msgspec.to_builtins(Fault(peer_id=PEER, name="alice", message="it lost something", hint="do this")),
)
GONE = LeftOut(peer_id=PEER, name="alice", reason="no answer", hint="")


def done_with(*hosts: AuditedHost, **changes) -> AuditResult:
    return msgspec.structs.replace(DONE, hosts=list(hosts), **changes)


def test_without_now_it_shows_how_hosts_stand_and_asks_nobody(capsys, agent):
    dummy = agent({"audit/hosts": telling_rows([ROW])})
    code, out, _ = run(capsys, "audit", "alice")
    assert code == 0
    head, line = out.splitlines()
    assert head.split()[:3] == ["host", "last", "audit"]
    assert "alice" in line
    assert "99.9 %" in line, "never rounded up to all"
    assert [request.peers for route, request in dummy.requests if route == "audit/hosts"] == [["alice"]]
    code, out, _ = run(capsys, "audit", "--json")
    assert (code, msgspec.json.decode(out)) == (0, [msgspec.to_builtins(ROW)])


def telling_rows(rows):
    async def answer(_, __):
        return rows

    return answer


def test_what_a_host_was_caught_at_stays_on_the_screen(capsys, agent, home):
    caught = msgspec.structs.replace(
        ROW, state="caught", fault="it lied\x1b[2J", fault_time="2026-11-22T21:30:00Z", spoiled=1
    )
    old = AuditRow(peer_id=PEER, alias="", state="deaf")
    agent({"audit/hosts": telling_rows([caught, old, msgspec.structs.replace(old, state="never")])})
    (home / "proofs").mkdir()
    (home / "proofs" / "a.proof").write_bytes(b"")
    code, out, err = run(capsys, "audit")
    assert code == 0
    assert "✗ alice (bp1qqqsyqcyq5), 2026-11-22" in out
    assert "it lied\\u001b[2J" in out
    assert "can't be audited: its program is an older version" in out
    assert "asks at once" in err
    assert "proofs, for anybody to judge, lie in" in out


def test_an_audit_now_says_what_was_shown(capsys, agent):
    dummy = agent({"audit": telling([PROGRESS], DONE)})
    code, out, _ = run(capsys, "audit", "--now")
    assert (code, out.splitlines()[0]) == (0, "✓ alice (bp1qqqsyqcyq5): showed 31 of 31 samples")
    assert "508 kB verified" in out
    code, lines = ask(capsys, "audit --bulk", "alice")
    assert (code, lines[-1]) == (0, {"event": "done", **msgspec.to_builtins(DONE)})
    last = dummy.requests[-1][1]
    assert (last.peers, last.bulk) == (["alice"], True)
    assert run(capsys, "audit", "--now", "--bulk")[0] == 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"shown": 30, "owed": 2}, "! alice (bp1qqqsyqcyq5): showed 30 of 31 samples, owes 2, and is asked again"),
        ({"over_budget": True}, "! alice (bp1qqqsyqcyq5): showed 31 of 31 samples, and answers no more today"),
        ({"deaf": True}, "! alice (bp1qqqsyqcyq5) can't be audited: its program is an older version"),
        ({"skipped": "nothing of yours lies there yet"}, "! alice (bp1qqqsyqcyq5): nothing of yours lies there yet"),
    ],
)
def test_what_is_no_evidence_is_told_without_alarm(capsys, agent, changes, expected):
    agent({"audit": telling([], done_with(msgspec.structs.replace(HOST, **changes)))})
    code, out, err = run(capsys, "audit", "--now")
    assert (code, out.splitlines()[0]) == (0, expected)
    assert "alarm" not in err


def test_a_host_that_is_caught_ends_it_with_15_and_its_proof_is_named(capsys, agent):
    agent({"audit": telling([FAULT], done_with(CAUGHT))})
    code, out, err = run(capsys, "audit", "--now")
    assert code == 15
    assert "alarm: alice: it lost something" in err
    assert "✗ alice (bp1qqqsyqcyq5): packs that it keeps are not shown any more: 1\\u001b[2J" in out
    assert "a proof of it, for anybody to judge: /h/a.proof" in out
    code, lines = ask(capsys, "audit --now")
    assert (code, [line["event"] for line in lines]) == (15, ["fault", "done"])


@pytest.mark.parametrize(("hosts", "expected"), [(1, 11), (2, 3)])
def test_hosts_that_could_not_be_heard_are_named(capsys, agent, hosts, expected):
    away = msgspec.structs.replace(HOST, asked=0, shown=0)
    there = msgspec.structs.replace(HOST, peer_id=f"{PEER}2", alias="bob")
    agent({"audit": telling([], done_with(*[away, there][:hosts], left_out=[GONE]))})
    code, out, err = run(capsys, "audit", "--now")
    assert code == expected
    assert out.startswith("! alice (bp1qqqsyqcyq5) could not be heard: no answer\n")
    assert "alice: no answer" in err
    _, lines = ask(capsys, "audit --now")
    assert [line["event"] for line in lines] == ["done", "error"]


@pytest.mark.parametrize(
    ("failed", "left_out", "hosts", "expected"), [(0, [], 1, 0), (2, [], 1, 15), (0, [GONE], 0, 11), (0, [GONE], 1, 3)]
)
def test_a_drill_says_what_came_back_from_whom(capsys, agent, failed, left_out, hosts, expected):  # noqa: PLR0917
    there = DrilledHost(peer_id=f"{PEER}2", alias="bob", files=7, bytes=10**6, failed=failed)
    done = DrillResult(snapshot="ab" * 32, hosts=[there][:hosts], files=7, bytes=10**6, left_out=left_out, seconds=1)
    agent({"audit/drill": telling([FAULT] if failed else [], done)})
    code, out, err = run(capsys, "audit", "--drill")
    assert code == expected
    if hosts:
        assert ("7 files came back as saved, 2 did not" in out) == bool(failed)
        assert ("✓ bob (bp1qqqsyqcyq5): 7 files (1 MB) came back as saved" in out) == (not failed)
    assert ("alice: no answer" in err) == bool(left_out)
    _, lines = ask(capsys, "audit --drill")
    assert lines[-1]["event"] == ("error" if left_out else "done")
    assert run(capsys, "audit", "--drill", "--now")[0] == 2
