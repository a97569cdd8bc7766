"""`peers replace`: looked at first, shown as a plan, then asked."""

import msgspec
import pytest

from backuppeer.control.replacing import ReplacePlan, ReplaceResult
from backuppeer.errors import NotFoundError, RefusedError
from cli.rows import ask, run
from control.dummy import PEER, telling

REPLACED = ReplaceResult(old=PEER, new=PEER, packs=3, bytes=10**9, until="2027-01-22T12:00:00Z", told=False)
PLAN = ReplacePlan(
    old=PEER,
    new=PEER,
    old_name="alice",
    new_name="bob b",
    packs=3,
    bytes=10**9,
    copy_packs=2,
    copy_bytes=7 * 10**8,
    free_bytes=5 * 10**9,
    until="2027-01-22T12:00:00Z",
    is_ended=False,
    told=False,
)


def scripted(agent, plan=PLAN):
    return agent({"peers/replace/plan": telling([], plan), "peers/replace": telling([], REPLACED)})


def routes(dummy) -> list[str]:
    return [route for route, _ in dummy.requests]


def test_it_shows_what_is_copied_and_until_when_the_first_keeps_all_and_asks_then(capsys, agent, terminal):
    dummy = scripted(agent)
    shown = terminal("n\n")
    code, out, _ = run(capsys, "peers", "replace", "alice", "bob")
    assert (code, routes(dummy)) == (13, ["peers/replace/plan"])
    said = " ".join(out.split())
    assert "copy 2 packs, 700 MB, to bob b, which has 5 GB free" in said
    assert "verify 3 packs, 1 GB: bob b signs for each" in said
    assert "end the agreement with alice, with notice: it keeps all until 2027-01-22 at least, then its disk" in said
    question = "copy 700 MB to bob b, have bob b answer for all of it, then end the agreement with alice? [y/N]"
    assert question in " ".join(shown.getvalue().split())


def test_sets_that_name_the_old_host_are_in_the_plan_and_in_what_is_told(capsys, agent, terminal):
    plan = msgspec.structs.replace(PLAN, sets=["default"])
    done = msgspec.structs.replace(REPLACED, sets=["default"])
    agent({"peers/replace/plan": telling([], plan), "peers/replace": telling([], done)})
    terminal("y\n")
    said = " ".join(run(capsys, "peers", "replace", "alice", "bob")[1].split())
    assert "sets default: bob b in the place of alice" in said
    assert "bob b took the place of alice in: default" in said


def test_after_a_yes_who_was_shown_is_meant_and_it_says_what_was_done(capsys, agent, terminal):
    dummy = scripted(agent)
    terminal("y\n")
    code, out, _ = run(capsys, "peers", "replace", "alice", "bob")
    said = " ".join(out.split())
    assert code == 0
    assert "bob b has everything, 3 packs of 1 GB" in said
    assert "it keeps all until 2027-01-22 at least; it could not be reached" in said
    assert "`backup-peer peers renew alice --home" in said
    request = dummy.requests[-1][1]
    assert (request.old, request.new, request.confirmed) == (PEER, PEER, True)


@pytest.mark.parametrize("error", [NotFoundError("no peer is called 'nobody'"), RefusedError("bob has no room")])
def test_what_can_not_be_is_said_without_asking_for_a_yes(capsys, agent, error):
    dummy = agent({"peers/replace/plan": telling([], error)})
    code, _, err = run(capsys, "peers", "replace", "nobody", "bob")
    assert code == error.exit_code
    assert error.message in err
    assert "--yes" not in err
    assert routes(dummy) == ["peers/replace/plan"]


def test_without_a_terminal_nobody_is_asked_and_the_plan_is_shown_all_the_same(capsys, agent):
    dummy = scripted(agent)
    code, out, err = run(capsys, "peers", "replace", "alice", "bob")
    assert (code, routes(dummy)) == (2, ["peers/replace/plan"])
    assert "copy    2 packs" in out
    assert "--yes" in err


def test_a_dry_run_says_what_would_be_done_and_does_nothing(capsys, agent):
    dummy = scripted(agent)
    code, out, _ = run(capsys, "peers", "replace", "alice", "bob", "-n")
    assert (code, routes(dummy)) == (0, ["peers/replace/plan"])
    assert "would copy 700 MB to bob b, have bob b answer for all of it, then end the agreement with alice" in out
    lines = ask(capsys, "peers replace", "alice", "bob", "--dry-run")[1]
    assert [line["event"] for line in lines] == ["plan", "done"]
    assert (lines[0]["copy_packs"], lines[1]["packs"]) == (2, 3)


def test_with_yes_a_no_of_the_host_is_13_and_all_of_it_is_0(capsys, agent):
    agent({"peers/replace/plan": telling([], PLAN), "peers/replace": telling([], RefusedError("bob lacks 3 packs"))})
    assert run(capsys, "peers", "replace", "alice", "bob", "--yes")[0] == 13
    scripted(agent)
    assert ask(capsys, "peers replace", "alice", "bob", "--yes")[1][-1]["packs"] == 3


def test_when_nothing_is_left_to_copy_and_notice_was_given_it_says_so(capsys, agent):
    scripted(agent, msgspec.structs.replace(PLAN, copy_packs=0, copy_bytes=0, is_ended=True))
    _, out, _ = run(capsys, "peers", "replace", "alice", "bob", "-n")
    said = " ".join(out.split())
    assert "copy nothing: bob b has all that there is" in said
    assert "alice was given notice before, and is told when it is met" in said
    assert "would have bob b answer for all of it" in said


def test_a_name_that_is_missing_is_shown_in_the_whole_command(capsys):
    code, _, err = run(capsys, "peers", "replace", "alice")
    assert code == 2
    assert "for example: `backup-peer peers replace ALICE BOB --home" in " ".join(err.split())
    assert "for example: `backup-peer peers end ALIAS --home" in " ".join(run(capsys, "peers", "end")[2].split())
