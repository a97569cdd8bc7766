import msgspec
import pytest

from backuppeer.control.ending import EndPlan, EndResult
from backuppeer.control.terms import TermsResult
from backuppeer.errors import UserError
from cli.rows import ask, make_peer, run
from control.dummy import PEER, given, telling

PLAN = EndPlan(peer_id=PEER, name="alice", side="owner", used_bytes=10**9, until="2027-01-22T12:00:00Z")
ENDED = EndResult(peer_id=PEER, alias="alice", side="owner", until="2027-01-22T12:00:00Z", told=True)


def ending(agent, plan=PLAN, ended=ENDED):
    return agent({"peers/end/plan": given(plan), "peers/end": given(ended)})


def test_it_shows_until_when_all_is_kept_and_a_no_ends_nothing(capsys, agent, terminal):
    dummy = ending(agent)
    shown = terminal("n\n")
    assert run(capsys, "peers", "end", "alice")[0] == 13
    text = " ".join(shown.getvalue().split())
    assert "alice keeps 1 GB of your backups, until 2027-01-22 at least; then they are erased there" in text
    assert "end the agreement with alice? [y/N]" in text
    assert [route for route, _ in dummy.requests] == ["peers/end/plan"]


def test_without_a_terminal_it_is_a_question_that_nobody_answered(capsys, agent):
    dummy = ending(agent)
    assert run(capsys, "peers", "end", "alice")[0] == 2
    assert [route for route, _ in dummy.requests] == ["peers/end/plan"]


def test_a_yes_gives_notice_to_just_who_was_shown_and_says_how_it_is_taken_back(capsys, agent, terminal):
    dummy = ending(agent, msgspec.structs.replace(PLAN, side="host"))
    shown = terminal("y\n")
    code, out, _ = run(capsys, "peers", "end", "ali", "--as", "host")
    assert code == 0
    assert "you keep 1 GB for alice" in shown.getvalue()
    assert "all is kept until 2027-01-22 at least" in out
    assert "`backup-peer peers renew alice" in out
    request = dummy.requests[-1][1]
    assert (request.peer, request.side, request.confirmed) == (PEER, "host", True)


def test_a_set_that_names_the_host_still_is_named_with_where_that_is_changed(capsys, agent):
    ending(agent, msgspec.structs.replace(PLAN, sets=["default"]))
    said = " ".join(run(capsys, "peers", "end", "alice", "--yes")[1].split())
    assert "set default still names alice" in said
    assert "`peers` under [sets.default] in config.toml" in said


def test_who_could_not_be_told_is_said_to_be_told_later(capsys, agent):
    ending(agent, ended=msgspec.structs.replace(ENDED, told=False))
    assert "it is told when it is met" in " ".join(run(capsys, "peers", "end", "alice", "--yes")[1].split())
    code, lines = ask(capsys, "peers end", "alice", "--yes")
    assert (code, lines[-1]["told"]) == (0, False)


def test_what_was_ended_already_is_told_by_the_plan(capsys, agent):
    async def refuse(request, emit):
        del request, emit
        raise UserError("you ended this agreement already", hint="`backup-peer peers renew PEER`")

    agent({"peers/end/plan": refuse})
    assert run(capsys, "peers", "end", "alice", "--yes")[0] == 2


@pytest.mark.parametrize(
    ("ours", "words"),
    [(True, "you ended the agreement"), (False, "it ends the agreement; all is kept until 2027-01-22")],
)
def test_peers_tells_which_agreements_end_and_when(capsys, agent, ours, words):
    row = msgspec.structs.replace(make_peer(), ends="2027-01-22T12:00:00Z", ended_by_us=ours)
    agent({"peers": given([row])})
    assert words in " ".join(run(capsys, "peers")[1].split())


def test_taking_it_back_says_that_it_goes_on(capsys, agent):
    back = TermsResult(
        peer_id=PEER,
        alias="alice",
        revision=1,
        quota_bytes=1,
        term_s=1,
        lock_s=1,
        until="2027-01-22T12:00:00Z",
        taken_back=True,
    )
    dummy = agent({"peers/renew": telling([], back)})
    assert "goes on" in run(capsys, "peers", "renew", "alice", "--as", "owner")[1]
    request = dummy.requests[-1][1]
    assert (request.term_s, request.side) == (None, "owner")
