import asyncio
import os
import signal
import threading
from pathlib import Path

import msgspec
import pytest

from backuppeer.cli.connect import StateView
from backuppeer.cli.screen import Screen
from backuppeer.control import api
from backuppeer.control.events import MassDeletionSeen, State
from backuppeer.errors import PendingError, UserError
from cli.rows import CONNECTED, OFFERED, PENDING, PLAN, STATES, WORDS, ask, event, run
from cli.terminal import FakePipe, check_output
from control.dummy import PEER, given, telling


# --- connect
def connecting(events=(), answer=CONNECTED, plan=PLAN):
    return {"connect/plan": given(plan), "connect": telling(list(events), answer)}


def test_connect_with_yes_streams_states_and_ends_with_done(capsys, agent):
    dummy = agent(connecting(STATES))
    code, lines = ask(
        capsys, "connect", "bp1qqqsyq", "--storage", "10GB", "--name", "alice", "--verified", "--yes", "--wait", "5s"
    )
    assert code == 0
    assert [line["event"] for line in lines] == ["state"] * 4 + ["done"]
    assert lines[-1] == {"event": "done", **msgspec.to_builtins(CONNECTED)}
    request = dummy.requests[-1][1]
    # the full id that was shown, not the prefix that was typed
    assert (request.peer, request.storage, request.name, request.verified) == (PEER, 10**10, "alice", True)
    assert (request.confirmed, request.wait_s) == (True, 5.0)


def test_connect_without_terminal_and_without_yes_exits_2_and_asks_nobody(capsys, agent):
    dummy = agent(connecting())
    code, _, err = run(capsys, "connect", "alice", "--storage", "1GB")
    assert code == 2
    assert "--yes" in err
    assert [route for route, _ in dummy.requests] == ["connect/plan"]


def test_connect_to_an_agreed_peer_asks_nothing(capsys, agent):
    agent(connecting(plan=msgspec.structs.replace(PLAN, agreed=True)))
    assert run(capsys, "connect", "alice", "--storage", "1GB")[0] == 0


def test_connect_shows_words_terms_and_risks_and_a_no_refuses(capsys, agent, terminal):
    dummy = agent(connecting())
    shown = terminal("n\n")
    assert run(capsys, "connect", "alice", "--storage", "10GB")[0] == 13
    for part in (PEER, WORDS, "unproven", "10 GB of at least 50 GB", "1 y", "30 d", "nobody you know"):
        assert part in shown.getvalue()
    assert [route for route, _ in dummy.requests] == ["connect/plan"]


def test_connect_warns_before_it_asks_for_more_than_is_listed_as_free(capsys, agent, terminal):
    agent(connecting())
    shown = terminal("n\nn\n")
    run(capsys, "connect", "alice", "--storage", "50GB")
    assert "may refuse" not in shown.getvalue()
    run(capsys, "connect", "alice", "--storage", "60GB")
    assert "60 GB is more than the 50 GB" in " ".join(shown.getvalue().split())
    assert shown.getvalue().index("60 GB is more") < shown.getvalue().index("for 60 GB? [y/N]")


@pytest.mark.parametrize(("words", "is_told"), [([], True), (["--verified"], False)])
def test_connect_tells_how_to_record_a_comparison_that_is_still_to_be_made(capsys, agent, words, is_told):
    agent(connecting())
    code, out, _ = run(capsys, "connect", "alice", "--storage", "10GB", "--yes", *words)
    assert code == 0
    assert ("backup-peer peers verify alice" in out) == is_told


def test_connect_on_a_terminal_waits_as_long_as_the_request_lives(capsys, agent, terminal):
    dummy = agent(connecting(STATES))
    shown = terminal("y\n")
    code, out, _ = run(capsys, "connect", "alice", "--storage", "10GB")
    assert code == 0
    assert dummy.requests[-1][1].wait_s == 7 * 86400
    assert "Ctrl-C keeps the request" in shown.getvalue()
    assert "connected to" in out


@pytest.mark.parametrize("state", ["knocking", "asking"])
def test_while_a_person_is_waited_for_being_asked_again_is_the_same_waiting(state):
    shown = FakePipe()
    states = StateView(Screen((shown, shown, shown), json=False, yes=False), "alice (bp1x)")
    with states:
        for _ in range(3):
            states.on_event(event("state", State(state=state, text="asking alice")))
            states.on_event(event("state", State(state="waiting", text="waiting for alice to answer")))
    assert shown.getvalue() == "asking alice\nwaiting for alice to answer (Ctrl-C keeps the request)\n"
    assert states.state == "waiting"


def test_a_pending_person_is_exit_4(capsys, agent):
    agent(connecting(STATES[:3], PendingError("alice has not answered", hint="backup-peer requests")))
    code, _, err = run(capsys, "connect", "alice", "--storage", "1GB", "--yes")
    assert code == 4
    assert err.endswith("error: alice has not answered\nhint: backup-peer requests\n")


# --- host
def test_host_detached_ends_with_done(capsys, agent):
    dummy = agent({"host": telling([event("offered", OFFERED)], OFFERED)})
    terms = ["--storage", "50GB", "--duration", "2h", "--term", "1y", "--lock", "7d", "--store", "d"]
    code, lines = ask(capsys, "host", *terms, "--detach", "--yes", "--accept", "all")
    assert code == 0
    assert [line["event"] for line in lines] == ["offered", "done"]
    assert set(lines[-1]) == {"event", "peer_id", "storage_bytes", "expires", "servers", "unlisted", "lan"}
    request = dummy.requests[0][1]
    assert (request.storage, request.duration_s, request.lock_s) == (50 * 10**9, 7200, 7 * 86400)
    assert request.store == str(Path.cwd() / "d")


@pytest.mark.parametrize("option", ["--duration", "--term"])
def test_host_refuses_a_time_of_0_that_makes_no_sense(capsys, agent, option):
    dummy = agent({})
    code, _, err = run(capsys, "host", "--storage", "1GB", option, "0s", "--yes")
    assert code == 2
    assert f"{option} is 0" in err
    assert dummy.requests == []


def test_the_lock_shown_is_the_lock_offered_also_a_lock_of_0(capsys, agent):
    dummy = agent({"host": telling([event("offered", OFFERED)], OFFERED)})
    code, _, err = run(capsys, "host", "--storage", "1GB", "--lock", "0s", "--yes", "--detach")
    assert code == 0
    assert "stays another 0 s" in err
    assert dummy.requests[0][1].lock_s == 0


def test_the_terms_shown_are_the_terms_asked_for(capsys, agent):
    month = msgspec.structs.replace(PLAN, term_s=30 * 86400, lock_s=0)
    dummy = agent({**connecting([]), "connect/plan": given(month)})
    code, _, err = run(capsys, "connect", "alice", "--storage", "1GB", "--yes")
    assert code == 0
    assert "kept for 30 d; erased 0 s after a deletion" in err
    assert (dummy.requests[-1][1].term_s, dummy.requests[-1][1].lock_s) == (30 * 86400, 0)


def test_more_than_the_default_is_asked_for_only_when_said(capsys, agent):
    century = msgspec.structs.replace(PLAN, term_s=100 * 365 * 86400)
    dummy = agent({**connecting([]), "connect/plan": given(century)})
    run(capsys, "connect", "alice", "--storage", "1GB", "--yes")
    run(capsys, "connect", "alice", "--storage", "1GB", "--yes", "--term", "2y")
    assert [r.term_s for route, r in dummy.requests if route == "connect"] == [365 * 86400, 2 * 365 * 86400]


@pytest.mark.parametrize("size", ["50", "60MB"])
def test_connect_refuses_to_ask_for_less_than_a_backup_needs(capsys, agent, size):
    dummy = agent(connecting([]))
    code, _, err = run(capsys, "connect", "alice", "--storage", size, "--yes")
    assert code == 2
    assert "the least is 64MiB" in err
    assert [route for route, _ in dummy.requests] == ["connect/plan"]


def test_an_older_and_smaller_agreement_is_still_met(capsys, agent):
    agent(connecting(plan=msgspec.structs.replace(PLAN, agreed=True)))
    assert run(capsys, "connect", "alice", "--storage", "5MB")[0] == 0


def test_connect_refuses_a_term_of_0(capsys, agent):
    dummy = agent(connecting([]))
    assert run(capsys, "connect", "alice", "--storage", "1GB", "--yes", "--term", "0d")[0] == 2
    assert dummy.requests == []


def test_the_host_is_told_when_no_server_shows_its_offer_and_when_one_does_again(capsys, agent, terminal):
    lost = {"state": "unlisted", "text": "no signaling server reachable, trying again …"}
    back = {"state": "listed", "text": "on offer again; waiting for requests …"}
    events = [event("offered", OFFERED), event("state", lost), event("request", PENDING), event("state", back)]
    agent({"host": telling(events, OFFERED), "requests/accept": given(PENDING)})
    shown = terminal("y\ny\n")
    assert run(capsys, "host", "--storage", "1GB")[0] == 0
    words = shown.getvalue()
    asked = words.index("accept bp1")
    assert "no signaling server reachable" in words[:asked]
    assert "no signaling server reachable" in words[asked:], "also after the question"
    assert "on offer again" in words[asked:]


def test_host_without_terminal_and_without_yes_exits_2(capsys, agent):
    dummy = agent({})
    assert run(capsys, "host", "--storage", "1GB")[0] == 2
    assert [route for route, _ in dummy.requests] == ["host/plan"]


def test_host_says_once_that_it_is_on_offer(capsys, agent):
    agent({"host": telling([event("offered", OFFERED)], OFFERED)})
    _, out, _ = run(capsys, "host", "--storage", "50GB", "--detach", "--yes")
    assert out.count("offering 50 GB on 1 server until you stop it") == 1


def test_the_view_of_host_shows_a_mass_deletion(capsys, agent):
    seen = MassDeletionSeen(
        peer_id=PEER, alias="", percent=83, asked_bytes=9, kept_bytes=9, time="", until="", text="bob asked\x1b for it"
    )
    agent({"host": telling([event("offered", OFFERED), event("alarm", seen)], OFFERED)})
    _, out, err = run(capsys, "host", "--storage", "50GB", "--yes")
    assert "note: bob asked\\u001b for it" in out + err
    code, lines = ask(capsys, "host", "--storage", "50GB", "--yes")
    assert (code, lines[1]["percent"]) == (0, 83)


def test_what_can_not_be_offered_is_refused_before_the_terms_are_shown(capsys, agent, terminal):
    refused = UserError("100TB is more than the disk of the store can take: 75GB at most now")
    dummy = agent({"host/plan": given(refused)})
    shown = terminal("y\n")
    assert run(capsys, "host", "--storage", "100TB")[0] == 2
    assert "You offer" not in shown.getvalue()
    assert [route for route, _ in dummy.requests] == ["host/plan"]


@pytest.mark.parametrize(
    ("listed", "agreed", "told"),
    [
        (2**32, 0, ["listed as 4.29 GB free"]),
        (2**32, 10**9, ["1 GB of it are given already", "listed as 4.29 GB free"]),
        (0, 5 * 10**9, ["nothing is left to give", "`backup-peer host --storage 10GB --home"]),
    ],
)
def test_host_says_how_much_is_left_to_give_and_how_it_is_listed(  # noqa: PLR0917 - fixtures and cases
    capsys, agent, terminal, listed, agreed, told
):
    agent({"host/plan": given(api.HostPlan(listed_bytes=listed, agreed_bytes=agreed))})
    shown = terminal("n\n")
    assert run(capsys, "host", "--storage", "5GB")[0] == 13
    words = " ".join(shown.getvalue().split())
    assert all(part in words[: words.index("offer it?")] for part in told)


@pytest.mark.parametrize(("least", "is_told"), [("0.6", False), ("0.8", True)])
def test_whoever_asks_for_more_trust_than_a_friend_begins_with_is_told_so_before_the_question(
    capsys, agent, terminal, least, is_told
):
    agent({})
    shown = terminal("n\n")
    assert run(capsys, "host", "--storage", "5GB", "--min-trust", least)[0] == 13
    words = " ".join(shown.getvalue().split())
    assert f"trust less than {least}0 as hosts are refused" in words
    assert ("so are friends whose words you compared, 0.65" in words[: words.index("offer it?")]) == is_told


def test_host_on_a_home_without_identity_says_so_before_its_terms(capsys, home):
    code, _, err = run(capsys, "host", "--storage", "50GB", "--yes")
    assert code == 10
    assert "You offer" not in err


@pytest.mark.parametrize(("agreements", "noted"), [(2, 1), (2, 2), (0, 0)])
def test_who_withdraws_is_told_whether_owners_with_only_their_words_still_find_them(capsys, agent, agreements, noted):
    state = api.HostingState(agreements=agreements, noted=noted)
    agent({"host/stop": given(state), "status": given(status(offering=True))})
    _, out, _ = run(capsys, "host", "--stop")
    is_lost = noted < agreements
    assert ("`backup-peer host --storage 2GB --home " in out) == is_lost, "a command that works when it is pasted"
    assert ("can't find you again with their 24 words until you offer again" in out) == is_lost
    assert ("still find you with their 24 words" in out) == bool(noted and not is_lost)


def test_host_shows_its_terms_and_a_no_offers_nothing(capsys, agent, terminal):
    dummy = agent({})
    shown = terminal("no\n")
    assert run(capsys, "host", "--storage", "50GB")[0] == 13
    assert "restarts" in shown.getvalue()
    assert "nothing is on offer: you said no" in shown.getvalue()
    assert "error:" not in shown.getvalue()
    assert "50 GB" in shown.getvalue()
    assert "30 d" in shown.getvalue()
    assert [route for route, _ in dummy.requests] == ["host/plan"]


@pytest.mark.parametrize(
    ("answer", "route"), [("y", "requests/accept"), ("", "requests/reject"), ("Y", "requests/accept")]
)
def test_a_request_is_shown_and_decided_on_the_terminal(capsys, agent, terminal, answer, route):
    events = [event("offered", OFFERED), event("request", PENDING)]
    dummy = agent({"host": telling(events, OFFERED), route: given(PENDING)})
    shown = terminal(f"y\n{answer}\n")
    code, out, _ = run(capsys, "host", "--storage", "50GB")
    assert code == 0
    assert WORDS in shown.getvalue()
    assert dummy.requests[-1] == (route, api.RequestDecision(request="r7f3a"))
    assert "offering 50 GB on 1 server until you stop it" in out


def test_a_request_without_terminal_is_told_with_the_command_to_answer_it(capsys, agent):
    agent({"host": telling([event("offered", OFFERED), event("request", PENDING)], OFFERED)})
    code, _, err = run(capsys, "host", "--storage", "50GB", "--yes")
    assert code == 0
    assert "backup-peer requests accept r7f3a" in err


def test_host_stop_withdraws_the_slot_only(capsys, agent):
    dummy = agent({"host/stop": given(api.HostingState(agreements=2)), "status": given(status(offering=True))})
    code, out, _ = run(capsys, "host", "--stop", "--json")
    assert code == 0
    assert check_output("host --stop", out)[-1]["agreements"] == 2
    assert [route for route, _ in dummy.requests] == ["status", "host/stop"]
    assert "the slot is withdrawn" in run(capsys, "host", "--stop")[1]


def status(*, offering):
    hosting = api.HostingState(offering=offering, storage_bytes=2 * 10**9 * offering)
    return api.StatusResult(peer_id=PEER, agent="running", servers=[], sessions=0, hosting=hosting, snapshots=0)


def test_to_stop_where_nothing_was_on_offer_is_told(capsys, agent):
    agent({"host/stop": given(api.HostingState()), "status": given(status(offering=False))})
    code, out, _ = run(capsys, "host", "--stop")
    assert (code, "no slot was on offer" in out) == (0, True)


@pytest.fixture
def _ctrl_c_once_offered(monkeypatch):
    said = Screen.line

    def line(self, text="", **how):
        said(self, text, **how)
        if "offering" in text:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Screen, "line", line)


def staying_view(left):
    async def host(request, emit):
        await emit(event("offered", OFFERED))
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    return host


@pytest.mark.usefixtures("_ctrl_c_once_offered")
@pytest.mark.parametrize(
    ("typed", "code", "routes"), [("y\n", 0, ["host", "host/stop"]), ("n\n", 130, ["host"]), ("", 130, ["host"])]
)
def test_ctrl_c_in_the_host_view_asks_whether_to_stop_offering(  # noqa: PLR0917 - fixtures and cases
    capsys, agent, terminal, typed, code, routes
):
    left = threading.Event()
    dummy = agent({"host": staying_view(left), "host/stop": given(api.HostingState())})
    shown = terminal(f"y\n{typed}")
    assert run(capsys, "host", "--storage", "50GB")[0] == code
    assert "error:" not in shown.getvalue()
    assert [route for route, _ in dummy.requests[1:]] == routes
    assert left.wait(10)


@pytest.mark.usefixtures("_ctrl_c_once_offered")
def test_ctrl_c_without_terminal_leaves_the_offer_and_exits_130(capsys, agent):
    left = threading.Event()
    dummy = agent({"host": staying_view(left)})
    code, _, err = run(capsys, "host", "--storage", "50GB", "--yes")
    assert code == 130
    assert "goes on" in err
    assert [route for route, _ in dummy.requests] == ["host/plan", "host"]
    assert left.wait(10)
