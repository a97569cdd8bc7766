"""`peers lock`, `peers purge`: what is shown before the 24 words are typed, and where they do not go."""

import msgspec
import pytest

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import recover_identity
from backuppeer.control.terms import TermsResult
from backuppeer.control.waiving import LockPlan, PurgePart, PurgePlan, PurgeResult
from backuppeer.crypto.keys import derive_authority
from backuppeer.crypto.words import encode_words
from backuppeer.errors import RefusedError
from backuppeer.proof.statements import open_statement
from backuppeer.proof.waivers import EndWaiver, LockWaiver, PurgeWaiver
from cli.rows import ask, run
from cli.terminal import FakePipe
from control.dummy import PEER, given, telling

MASTER = bytes(32)
WORDS = encode_words(MASTER)
AUTHORITY = derive_authority(MASTER).public
DAY_S = 86400
LOCK = LockPlan(
    peer_id=PEER,
    name="al\x1bice",
    now_s=30 * DAY_S,
    lock_s=7 * DAY_S,
    deleted_bytes=10**9,
    agreement="a1" * 16,
    host="b2" * 32,
    terms="c3" * 32,
)
AGREED = TermsResult(
    peer_id=PEER, alias="alice", revision=2, quota_bytes=1, term_s=1, lock_s=7 * DAY_S, until="2027-01-22T12:00:00Z"
)
PART = PurgePart(agreement="a1" * 16, host="b2" * 32, terms="c3" * 32, packs=9, packs_root="d4" * 32, notice=3)
PURGE = PurgePlan(
    peer_id=PEER,
    name="alice",
    deleted=True,
    packs=9,
    bytes=10**9,
    until="2027-01-22T12:00:00Z",
    is_mass=False,
    parts=[PART],
)
END = msgspec.structs.replace(PURGE, deleted=False)
PURGED = PurgeResult(peer_id=PEER, alias="alice", packs=9, bytes=10**9, ended=False)


@pytest.fixture
def words(monkeypatch, home):
    """The home is of these words; what is typed, one answer after the other."""
    recover_identity(Home(home), MASTER)
    typed = []
    monkeypatch.setattr("getpass.getpass", lambda _: typed.pop(0))
    return typed


def locking(agent, plan=LOCK):
    return agent({"peers/lock/plan": given(plan), "peers/lock": telling([], AGREED)})


def purging(agent, plan=PURGE, result=PURGED):
    return agent({"peers/purge/plan": given(plan), "peers/purge": given(result)})


def routes(dummy) -> list[str]:
    return [route for route, _ in dummy.requests]


def told(dummy) -> str:
    return "".join(str(request) for _, request in dummy.requests)


def test_lowering_shows_what_it_takes_away_asks_then_takes_the_words_and_signs_here(capsys, agent, terminal, words):
    dummy = locking(agent)
    shown = terminal("y\n")
    words.append(WORDS)
    code, out, _ = run(capsys, "peers", "lock", "alice", "7d")
    assert code == 0
    said = " ".join(shown.getvalue().split())
    assert "al\\u001bice keeps what you delete for 30 d. With a lock of 7 d:" in said
    assert "so is the 1 GB deleted already" in said
    assert "a thief of this machine can have your backups erased that much sooner" in said
    assert "keeps what you delete for 7 d from now on, not 30 d" in " ".join(out.split())
    request = dummy.requests[-1][1]
    waiver = open_statement(LockWaiver, request.waiver, AUTHORITY)
    assert (waiver.lock_s, waiver.agreement, waiver.host) == (7 * DAY_S, b"\xa1" * 16, b"\xb2" * 32)
    assert (waiver.terms, request.peer, request.lock_s) == (b"\xc3" * 32, PEER, 7 * DAY_S)
    assert not any(word in told(dummy) for word in WORDS.split() if len(word) > 5)


@pytest.mark.parametrize("argv", [("peers", "lock", "alice", "7d"), ("peers", "purge", "alice", "--deleted")])
def test_a_no_asks_for_no_words_and_changes_nothing(capsys, agent, terminal, words, argv):
    del words
    dummy = agent({"peers/lock/plan": given(LOCK), "peers/purge/plan": given(PURGE)})
    terminal("n\n")
    assert run(capsys, *argv)[0] == 13
    assert len(dummy.requests) == 1


@pytest.mark.parametrize("argv", [("peers", "lock", "alice", "7d"), ("peers", "purge", "alice")])
def test_without_a_terminal_and_without_yes_it_is_a_question_that_nobody_answered(capsys, agent, words, argv):
    del words
    dummy = agent({"peers/lock/plan": given(LOCK), "peers/purge/plan": given(END)})
    code, _, err = run(capsys, *argv)
    assert code == 2
    assert "there is no terminal to ask on" in err
    assert len(dummy.requests) == 1


@pytest.mark.parametrize("argv", [("peers lock", "alice", "7d"), ("peers purge", "alice", "--deleted")])
def test_words_of_another_identity_or_none_sign_nothing(capsys, agent, words, monkeypatch, argv):
    del words
    dummy = agent({"peers/lock/plan": given(LOCK), "peers/purge/plan": given(PURGE)})
    for typed, why, expected in (
        (encode_words(b"2" * 32), "another identity", 12),
        ("", "24 words", 2),
        ("abandon " * 24, "", 2),
    ):
        monkeypatch.setattr("sys.stdin", FakePipe(typed))
        code, lines = ask(capsys, *argv, "--yes")
        assert code == expected
        assert why in lines[-1]["message"] + lines[-1]["hint"]
    assert len(dummy.requests) == 3


def test_with_yes_the_words_come_from_standard_input(capsys, agent, words, monkeypatch):
    del words
    dummy = locking(agent)
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    code, lines = ask(capsys, "peers lock", "alice", "7d", "--yes")
    assert (code, lines[-1]["event"], lines[-1]["lock_s"]) == (0, "done", 7 * DAY_S)
    open_statement(LockWaiver, dummy.requests[-1][1].waiver, AUTHORITY)


@pytest.mark.parametrize("now_s", [DAY_S, 7 * DAY_S])
def test_raising_a_lock_or_leaving_it_takes_no_words_and_no_question(capsys, agent, now_s):
    dummy = locking(agent, msgspec.structs.replace(LOCK, now_s=now_s))
    code, out, _ = run(capsys, "peers", "lock", "alice", "7d")
    assert (code, routes(dummy)) == (0, ["peers/lock/plan", "peers/lock"])
    assert dummy.requests[-1][1].waiver == b""
    assert ("from now on, not 1 d" if now_s == DAY_S else "as before") in " ".join(out.split())


def test_purging_shows_what_goes_for_good_and_signs_just_that(capsys, agent, terminal, words):
    dummy = purging(agent)
    shown = terminal("y\n")
    words.append(WORDS)
    code, out, _ = run(capsys, "peers", "purge", "alice", "--deleted")
    assert code == 0
    said = " ".join(shown.getvalue().split())
    assert "alice holds 1 GB that you deleted, in 9 packs, the last until 2027-01-22. Erased now:" in said
    assert "none of it can be had back any more" in said
    assert "Was that not you" not in said
    assert "erases 1 GB in 9 packs now" in " ".join(out.split())
    request = dummy.requests[-1][1]
    waiver = open_statement(PurgeWaiver, request.waivers[0], AUTHORITY)
    assert (waiver.packs, waiver.packs_root, request.deleted) == (9, b"\xd4" * 32, True)


def test_what_a_thief_may_have_deleted_is_said_to_be_looked_at_first(capsys, agent, terminal, words):
    del words
    purging(agent, msgspec.structs.replace(PURGE, is_mass=True))
    shown = terminal("n\n")
    assert run(capsys, "peers", "purge", "alice", "--deleted")[0] == 13
    assert "Was that not you, say no, and see `backup-peer peers undelete alice" in " ".join(shown.getvalue().split())


def test_ending_early_says_that_all_of_it_is_lost_for_good(capsys, agent, terminal, words):
    dummy = purging(agent, END, msgspec.structs.replace(PURGED, ended=True))
    shown = terminal("y\n")
    words.append(WORDS)
    code, out, _ = run(capsys, "peers", "purge", "alice")
    assert code == 0
    assert "all of it, for good: what no other host has is lost" in shown.getvalue()
    assert "erase everything at alice now? [y/N]" in shown.getvalue()
    assert "is over: it erases all 1 GB now" in " ".join(out.split())
    assert open_statement(EndWaiver, dummy.requests[-1][1].waivers[0], AUTHORITY).notice == 3


def test_an_end_that_the_host_had_heard_before_asks_for_no_words_again(capsys, agent, words):
    del words
    dummy = purging(agent, msgspec.structs.replace(END, parts=[], is_over=True))
    code, out, _ = run(capsys, "peers", "purge", "alice")
    assert (code, routes(dummy)) == (0, ["peers/purge/plan"])
    assert "alice had heard you before: the agreement is over" in " ".join(out.split())
    (*_, last) = ask(capsys, "peers purge", "alice", "--json")[1]
    assert (last["event"], last["ended"]) == ("done", True)


def test_what_can_not_go_is_told_by_the_plan_before_any_word_is_typed(capsys, agent, words, monkeypatch):
    del words

    async def refuse(request, emit):
        del request, emit
        raise RefusedError("the agreement with alice goes on", hint="`backup-peer peers end alice` first")

    agent({"peers/purge/plan": refuse})
    monkeypatch.setattr("sys.stdin", FakePipe(WORDS))
    assert ask(capsys, "peers purge", "alice", "--yes")[0] == 13


def test_a_set_that_names_a_host_which_is_purged_is_named(capsys, agent):
    purging(agent, msgspec.structs.replace(END, is_over=True, sets=["default"]))
    code, out, _ = run(capsys, "peers", "purge", "alice")
    assert code == 0
    assert "set default still names alice" in " ".join(out.split())
