"""Who is proposed, what a trial asks for, and what a newcomer is told."""

import msgspec
import pytest

from backuppeer.control.choosing import BestChoice
from backuppeer.control.saving import LeftOut
from backuppeer.errors import NotFoundError
from cli.rows import BACKED_UP, CONNECTED, PLAN, ROW, STATES, ask, make_peer, run
from control.dummy import PEER, given, telling

SECOND = msgspec.structs.replace(ROW, peer_id="bp1second" + "q" * 52, alias="bob", trust=0.61, trust_level="fair")


def offering(best=ROW, runner_up=SECOND, plan=PLAN):
    choice = BestChoice(best=best, next=runner_up, seen=7)
    return {"connect/best": given(choice), "connect/plan": given(plan), "connect": telling(STATES, CONNECTED)}


def test_the_best_host_is_shown_with_its_reason_and_the_runner_up_and_nothing_goes_on_without_a_word(
    capsys, agent, terminal
):
    dummy = agent(offering())
    shown = terminal("n\n")
    assert run(capsys, "connect", "--best", "--region", "EU")[0] == 13
    said = " ".join(shown.getvalue().split())
    assert "bp1qqqsyqcyq5, 0.83 trusted (kept 12.9 GB for 90 days), 50 GB free, EU" in said
    assert "before bob (bp1secondqqqq), 0.61 fair" in said
    assert [route for route, _ in dummy.requests] == ["connect/best", "connect/plan"]
    assert (dummy.requests[0][1].storage, dummy.requests[0][1].region) == (10**10, "EU")


def test_with_yes_it_is_connected_to_by_its_full_id(capsys, agent):
    dummy = agent(offering(runner_up=None))
    code, lines = ask(capsys, "connect", "--best", "--storage", "20GB", "--yes", "--wait", "5s")
    assert code == 0
    assert (lines[0]["event"], lines[0]["best"]["peer_id"]) == ("proposed", PEER)
    assert lines[-1]["event"] == "done"
    assert (dummy.requests[-1][1].peer, dummy.requests[-1][1].storage) == (PEER, 20 * 10**9)


def test_programs_that_did_not_agree_beforehand_are_told_who_was_proposed_all_the_same(capsys, agent):
    agent(offering())
    code, lines = ask(capsys, "connect", "--best")
    assert code == 2
    assert [line["event"] for line in lines] == ["proposed", "error"]
    assert lines[0]["next"]["alias"] == "bob"


def test_where_nobody_can_be_proposed_the_code_is_10_with_advice(capsys, agent):
    refusal = NotFoundError("of 5 hosts on offer none is one to propose: 5 below 0.50", hint="a friend")
    agent({"connect/best": _failing(refusal)})
    code, _, err = run(capsys, "connect", "--best", "--yes")
    assert code == 10
    assert "5 below 0.50" in err


def _failing(error):
    async def handler(request, emit):
        raise error

    return handler


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "storage is missing"),
        (["--storage", "1GB"], "which host?"),
        (["alice", "--best"], "not both"),
        (["alice", "--storage", "1GB", "--region", "EU"], "--region goes with --best"),
        (["alice", "--trial", "--storage", "2GB"], "a trial is 1.07 GB at most"),
        (["alice", "--trial", "--term", "1y"], "a trial is for 30 days"),
    ],
)
def test_words_that_contradict_each_other_are_refused_before_anybody_is_asked(capsys, agent, words, message):
    dummy = agent(offering())
    code, _, err = run(capsys, "connect", *words, "--yes")
    assert (code, message in err) == (2, True), err
    assert dummy.requests == []


def test_a_trial_asks_for_one_gib_for_thirty_days_with_the_terms_of_others(capsys, agent):
    dummy = agent(offering())
    assert run(capsys, "connect", "alice", "--trial", "--yes")[0] == 0
    request = dummy.requests[-1][1]
    assert (request.storage, request.term_s, request.lock_s) == (2**30, 30 * 86400, 30 * 86400)


def test_a_host_of_ones_own_is_asked_for_no_trial(capsys, agent):
    dummy = agent(offering(plan=msgspec.structs.replace(PLAN, agreed=True, alias="alice")))
    code, _, err = run(capsys, "connect", "alice", "--trial", "--yes")
    assert code == 2
    assert "has an agreement with you already" in err
    assert "peers show alice" in err
    assert [route for route, _ in dummy.requests] == ["connect/plan"]


def test_peers_says_until_when_a_host_is_on_trial_and_how_it_stays(capsys, agent):
    agent({"peers": given([make_peer(trial=True, until="2026-12-28T12:00:00Z")])})
    assert "alice: on trial until 2026-12-28; `backup-peer peers renew alice" in run(capsys, "peers")[1]


def test_who_sees_nobody_pass_is_told_how_many_there_are_the_best_and_what_to_do(capsys, agent):
    unknown = msgspec.structs.replace(ROW, trust=0.098, trust_level="unproven", reason="nothing known")
    agent({"browse": _passing([unknown, unknown])})
    code, out, _ = run(capsys, "browse", "--min-trust", "0.8")
    assert code == 0
    assert "none of the 2 hosts passes 0.80; the best, bp1qqqsyqcyq5, has 0.10 unproven: nothing known" in out
    for number, advice in enumerate(("a friend", "strangers, on trial", "then wait"), 1):
        assert f"{number}. {advice}" in out
    assert "connect bp1qqqsyqcyq5 --trial" in out
    mine = make_peer(role="host", peer_id=PEER)
    agent(
        {
            "browse": _passing([unknown, msgspec.structs.replace(unknown, peer_id=SECOND.peer_id)]),
            "peers": given([mine]),
        }
    )
    assert "connect bp1secondqqqq --trial" in run(capsys, "browse", "--min-trust", "0.8")[1]
    agent({"browse": _passing([unknown]), "peers": given([mine])})
    out = run(capsys, "browse", "--min-trust", "0.8")[1]
    assert ("--trial" in out, "2. then wait" in out) == (False, True)


def test_where_no_score_is_the_reason_that_nobody_is_shown_no_newcomer_is_advised(capsys, agent):
    agent({"browse": _passing([ROW])})
    _, out, err = run(capsys, "browse", "--min-storage", "9TB")
    assert "1 host is on offer without the filters" in out
    assert "--trial" not in out + err
    assert "loosen the filters" in err


def _passing(rows):
    """Answer a filtered browse with nobody, any other with all."""

    async def handler(request, emit):
        return [] if request.min_trust or request.min_storage else rows

    return handler


def test_the_plan_says_what_the_cap_of_a_stranger_means_for_what_is_asked(capsys, agent, terminal):
    agent(offering(plan=msgspec.structs.replace(PLAN, cap_bytes=2**30)))
    shown = terminal("n\nn\n")
    run(capsys, "connect", "alice", "--storage", "10GB")
    assert "your backups put 1.07 GB there at most until audits have seen it" in " ".join(shown.getvalue().split())
    before = len(shown.getvalue())
    run(capsys, "connect", "alice", "--storage", "1GB")
    assert "at most until audits" not in shown.getvalue()[before:]


@pytest.mark.parametrize(
    ("cap", "sent", "said"),
    [("10GB", "10000000000", "up to 10 GB"), ("none", "none", "as is agreed on"), ("default", "default", "as every")],
)
def test_the_cap_of_one_peer_is_set_as_a_size_none_or_default(capsys, agent, cap, sent, said):
    dummy = agent({"peers/set": given(make_peer())})
    code, out, _ = run(capsys, "peers", "set", "alice", "--cap", cap)
    assert (code, dummy.requests[-1][1].cap, said in out) == (0, sent, True)
    assert run(capsys, "peers", "set", "alice", "--cap", "much")[0] == 2


def test_a_backup_that_a_stranger_did_not_get_ends_with_3_also_where_there_are_copies_enough(capsys, agent):
    full = LeftOut(peer_id=PEER, name="alice", reason="alice is a stranger to you: 1 GB", hint="--cap", capped=True)
    agent({"backup": telling([], msgspec.structs.replace(BACKED_UP, left_out=[full]))})
    code, _, err = run(capsys, "backup", "/etc")
    assert code == 3
    assert "stands with 1 copy, but not with all of your hosts (alice is a stranger to you: 1 GB)" in err
    assert "1 of 1" not in err
    assert "alice: alice" not in err


def test_copies_of_hosts_that_may_be_one_count_once(capsys, agent):
    one = LeftOut(peer_id=PEER, name="bob", reason="bob and alice may be one machine: one copy", hint="browse")
    result = msgspec.structs.replace(BACKED_UP, peers=[PEER, PEER], copies=2, together=[one])
    agent({"backup": telling([], result)})
    code, _, err = run(capsys, "backup", "/etc", "--copies", "2")
    assert code == 3
    assert "has 1 of 2 copies (bob and alice may be one machine" in err
    agent({"backup": telling([], msgspec.structs.replace(result, copies=1))})
    assert run(capsys, "backup", "/etc")[0] == 0
