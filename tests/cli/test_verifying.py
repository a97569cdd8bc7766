import msgspec
import pytest

from backuppeer.control.alarms import SeenAlarms
from backuppeer.control.api import StatusResult
from backuppeer.control.blocking import BlockPlan, BlockResult
from backuppeer.control.verifying import VerifyPlan, VerifyResult
from cli.rows import WORDS, ask, run
from control.dummy import PEER, given

PLAN = VerifyPlan(peer_id=PEER, alias="alice", safety_words=WORDS, verified=False)
STATUS = StatusResult(peer_id=PEER, agent="running", servers=[], sessions=0, hosting={}, snapshots=0)
FRIEND = VerifyResult(
    peer_id=PEER,
    alias="alice",
    verified=True,
    trust_before=0.098,
    trust_level_before="unproven",
    trust=0.551,
    trust_level="fair",
)
DOUBTED = msgspec.structs.replace(
    FRIEND, verified=False, trust_before=0.551, trust_level_before="fair", trust=0.098, trust_level="unproven"
)


def answers(plan=PLAN, result=FRIEND):
    blocked = BlockResult(peer_id=PEER, alias="alice", blocked=True, reason="", until="")
    return {
        "peers/verify/plan": given(plan),
        "peers/verify": given(result),
        "block/plan": given(BlockPlan(peer_id=PEER, name="alice", ends=[])),
        "block": given(blocked),
    }


def routes(dummy):
    return [route for route, _ in dummy.requests]


def test_the_same_words_make_a_friend_and_the_screen_says_what_that_changed(capsys, agent, terminal):
    dummy = agent(answers())
    shown = terminal("yes\n")
    code, out, _ = run(capsys, "peers", "verify", "alice")
    assert code == 0
    assert all(word in shown.getvalue() for word in WORDS.split())
    assert "does the other screen show the same words, in this order? [yes/no]" in " ".join(shown.getvalue().split())
    assert "0.10 unproven → 0.55 fair" in out
    assert dummy.requests[-1][1].same


def test_nothing_is_guessed_without_a_person(capsys, agent):
    dummy = agent(answers())
    code, _, err = run(capsys, "peers", "verify", "alice")
    assert code == 2
    assert "must be compared by a person" in err
    assert routes(dummy) == ["peers/verify/plan"]


@pytest.mark.parametrize("typed", ["\n\n\n", "", "perhaps\nwhat\nhm\n"])
def test_what_is_neither_yes_nor_no_records_nothing(capsys, agent, terminal, typed):
    dummy = agent(answers())
    shown = terminal(typed)
    assert run(capsys, "peers", "verify", "alice")[0] == 2
    assert "nothing was recorded" in shown.getvalue()
    assert routes(dummy) == ["peers/verify/plan"]


def test_yes_beforehand_says_that_they_were_compared(capsys, agent):
    dummy = agent(answers())
    code, lines = ask(capsys, "peers verify", "alice", "--yes")
    assert code == 0
    assert (lines[-1]["verified"], lines[-1]["trust_before"], lines[-1]["trust"]) == (True, 0.098, 0.551)
    assert dummy.requests[-1][1].same


def test_yes_beforehand_never_answers_an_alarm(capsys, agent):
    dummy = agent(answers(msgspec.structs.replace(PLAN, alarms=["ALARM: somebody answered in its place"])))
    code, _, err = run(capsys, "peers", "verify", "alice", "--yes")
    assert code == 12
    assert "--yes is no comparison" in err
    assert "somebody answered in its place" in err
    assert routes(dummy) == ["peers/verify/plan"]


@pytest.mark.parametrize("blocks", [True, False])
def test_other_words_are_an_alarm_that_says_what_it_may_mean_and_offers_to_block(capsys, agent, terminal, blocks):
    dummy = agent(answers(result=DOUBTED))
    shown = terminal("no\ny\n" if blocks else "no\n\n")
    code, out, _ = run(capsys, "peers", "verify", "alice")
    text = " ".join((shown.getvalue() + out).split())
    assert code == 12
    for part in ("the words differ", "somebody stands between", "0.55 fair → 0.10 unproven", "now? [y/N]"):
        assert part in text
    assert routes(dummy)[:2] == ["peers/verify/plan", "peers/verify"]
    assert not dummy.requests[1][1].same
    assert ("block" in routes(dummy)) == blocks
    assert ("it is blocked; `backup-peer unblock alice" if blocks else "until a comparison succeeds") in text


def test_status_shows_an_alarm_as_one_and_says_what_was_seen(capsys, agent):
    result = msgspec.structs.replace(STATUS, notes=["ALARM: somebody answered", "a note"])
    agent({"status": given(result), "status/seen": given(SeenAlarms(seen=["ALARM: somebody answered"]))})
    out = run(capsys, "status", "--seen")[1]
    assert "✓ seen: somebody answered\n" in out
    assert "alarm: somebody answered\n" in out
    assert "note: a note\n" in out


def test_who_is_a_friend_already_stays_one(capsys, agent, terminal):
    same = msgspec.structs.replace(FRIEND, trust_before=0.551, trust_level_before="fair")
    agent(answers(msgspec.structs.replace(PLAN, verified=True), same))
    terminal("y\n")
    code, out, _ = run(capsys, "peers", "verify", "alice")
    assert code == 0
    assert "nothing changed" in out
    assert "→" not in out
