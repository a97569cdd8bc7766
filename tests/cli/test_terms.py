import msgspec
import pytest

from backuppeer.cli.requests import describe_request
from backuppeer.cli.screen import Screen
from backuppeer.control.api import HostPlan
from backuppeer.control.promises import NOTHING_PROMISED, Promised, PromiseWish
from backuppeer.control.terms import TermsResult
from backuppeer.errors import PendingError, RefusedError
from cli.rows import CONNECTED, PENDING, PLAN, ask, run
from cli.rows import OFFERED as HOSTED
from cli.terminal import FakePipe
from control.dummy import PEER, given, telling

AGREED = TermsResult(
    peer_id=PEER,
    alias="alice",
    revision=2,
    quota_bytes=20 * 10**9,
    term_s=86400,
    lock_s=60,
    until="2027-11-22T12:00:00Z",
)
OFFERED = msgspec.structs.replace(
    PENDING,
    request_id="ab12cd34ef",
    direction="out",
    state="offered",
    offer_bytes=5 * 10**9,
    offer_term_s=180 * 86400,
    offer_lock_s=14 * 86400,
)


@pytest.mark.parametrize(
    ("words", "route", "wanted"),
    [
        (["resize", "alice", "20GB"], "peers/resize", {"storage": 20 * 10**9}),
        (["renew", "alice", "--term", "2y"], "peers/renew", {"term_s": 2 * 365 * 86400}),
        (["renew", "alice"], "peers/renew", {"term_s": None}),
    ],
)
def test_a_change_says_what_is_agreed_then(capsys, agent, words, route, wanted):
    dummy = agent({route: telling([], AGREED)})
    code, out, _ = run(capsys, "peers", *words, "--wait", "5s")
    assert code == 0
    assert "20 GB until 2027-11-22" in out
    found, request = dummy.requests[-1]
    assert (found, request.peer, request.wait_s) == (route, "alice", 5.0)
    assert {name: getattr(request, name) for name in wanted} == wanted
    lines = ask(capsys, f"peers {words[0]}", *words[1:])[1]
    assert lines[-1] == {"event": "done", **msgspec.to_builtins(AGREED)}


PROMISED = Promised(reciprocity=1.0, egress_bytes=10**9)
WISHED = PromiseWish(reciprocity=1.0, audit_bytes=None, egress_bytes=10**9)
SAID = ["--reciprocity", "1", "--egress-budget", "1GB"]


def test_other_promises_are_asked_for_with_or_without_another_size_and_said_when_agreed(capsys, agent):
    dummy = agent({"peers/resize": telling([], msgspec.structs.replace(AGREED, promises=PROMISED))})
    code, out, _ = run(capsys, "peers", "resize", "alice", *SAID)
    assert code == 0
    assert (dummy.requests[-1][1].storage, dummy.requests[-1][1].promises) == (0, WISHED)
    assert "in return you keep 20 GB for it" in out
    assert "it sends back 1 GB a day at least, if asked" in out


STEADY = msgspec.structs.replace(PLAN, promises=Promised(availability=0.95))


@pytest.mark.parametrize(("words", "share"), [(["--availability", "90%"], 0.9), (["--availability", "0.93"], 0.9)])
def test_availability_is_asked_for_in_steps_and_said_when_agreed(capsys, agent, words, share):
    agreed = msgspec.structs.replace(AGREED, promises=Promised(availability=share))
    dummy = agent({"peers/resize": telling([], agreed)})
    code, out, _ = run(capsys, "peers", "resize", "alice", *words)
    assert (code, dummy.requests[-1][1].promises) == (0, PromiseWish(availability=share))
    assert "it promises to be there 90 % of the time" in out


@pytest.mark.parametrize("text", ["soon", "4%", "101%", "-1", "2"])
def test_an_availability_that_says_nothing_is_refused_before_anybody_is_asked(capsys, agent, text):
    dummy = agent({})
    code, _, err = run(capsys, "peers", "resize", "alice", f"--availability={text}")
    assert code == 2
    assert "--availability" in err or "write it like 0.8 or 80%" in err
    assert dummy.requests == []


@pytest.mark.parametrize(
    "case",
    [
        ([], 0.95, "it promises to be there 95 % of the time"),
        (["--availability", "50%"], 0.5, "it promises to be there 50 % of the time"),
        (["--availability", "0"], 0.0, ""),
        (["--availability", "100%"], 1.0, "its offer promises 95 % of the time: more is for its person"),
    ],
)
def test_connect_asks_for_what_is_listed_unless_told_otherwise_and_shows_it(capsys, agent, terminal, case):
    words, asked, said = case
    dummy = agent({"connect/plan": given(STEADY), "connect": telling([], CONNECTED)})
    shown = terminal("y\n")
    assert run(capsys, "connect", "alice", "--storage", "10GB", *words)[0] == 0
    plan = " ".join(shown.getvalue().split())
    assert dummy.requests[-1][1].promises == PromiseWish(availability=asked)
    assert said in plan
    assert ("of the time" in plan) is bool(asked)
    assert ("its offer promises" in plan) is (asked > 0.95)


def test_connect_to_a_host_that_promises_no_availability_says_so_if_some_is_asked_for(capsys, agent, terminal):
    agent({"connect/plan": given(PLAN), "connect": telling([], CONNECTED)})
    shown = terminal("y\n")
    run(capsys, "connect", "alice", "--storage", "10GB", "--availability", "90%")
    assert "its offer promises nothing of when it is there: more is for its person" in " ".join(
        shown.getvalue().split()
    )


def test_an_agreement_that_stands_is_not_asked_for_more_by_connecting_again(capsys, agent):
    standing = msgspec.structs.replace(STEADY, agreed=True)
    dummy = agent({"connect/plan": given(standing), "connect": telling([], CONNECTED)})
    assert run(capsys, "connect", "alice", "--storage", "10GB")[0] == 0
    assert dummy.requests[-1][1].promises == PromiseWish()


@pytest.mark.parametrize(("text", "share"), [("95%", 0.95), ("0.98", 0.95), ("100%", 1.0)])
def test_host_says_what_it_would_promise_rounded_down_before_it_asks(capsys, agent, terminal, text, share):
    dummy = agent({"host/plan": given(HostPlan(agreed_bytes=0, listed_bytes=2**35)), "host": telling([], HOSTED)})
    shown = terminal("y\n")
    run(capsys, "host", "--storage", "50GB", "--availability", text, "--detach")
    said = " ".join(shown.getvalue().split())
    assert f"you promise to be there {share * 100:g} % of the time (in steps of 5 %, rounded down)" in said
    assert dummy.requests[-1][1].promises.availability == share


@pytest.mark.parametrize(("direction", "who"), [("in", "you promise"), ("out", "it promises")])
def test_a_request_says_which_availability_it_wants_and_an_offer_which_it_gives(capsys, agent, direction, who):
    row = msgspec.structs.replace(PENDING, direction=direction, promises=Promised(availability=1.0))
    agent({"requests": given([row])})
    assert f"{who} to be there 100 % of the time" in run(capsys, "requests")[1]
    offered = msgspec.structs.replace(OFFERED, direction=direction, offer_promises=Promised(availability=0.95))
    agent({"requests": given([offered])})
    assert f"offered: {who} to be there 95 % of the time" in " ".join(run(capsys, "requests")[1].split())


def test_an_offer_may_be_about_availability_alone(capsys, agent):
    row = msgspec.structs.replace(OFFERED, direction="in", offer_promises=Promised(availability=0.5))
    dummy = agent({"requests/offer": given(row)})
    assert run(capsys, "requests", "offer", "ab12", "--availability", "50%")[0] == 0
    assert dummy.requests[-1][1].promises == PromiseWish(availability=0.5)


@pytest.mark.parametrize("times", ["soon", "-1", "1e9", "1.23456", "1GB"])
def test_a_reciprocity_that_is_no_number_is_refused_before_anybody_is_asked(capsys, agent, times):
    dummy = agent({})
    code, _, err = run(capsys, "peers", "resize", "alice", f"--reciprocity={times}")
    assert code == 2
    assert "for example: --reciprocity 1" in err
    assert dummy.requests == []


def test_connect_shows_what_it_promises_before_it_asks_and_sends_it(capsys, agent, terminal):
    dummy = agent({"connect/plan": given(PLAN), "connect": telling([], CONNECTED)})
    shown = terminal("y\n")
    assert run(capsys, "connect", "alice", "--storage", "10GB", *SAID)[0] == 0
    assert "in return you keep 10 GB for it" in shown.getvalue()
    assert dummy.requests[-1][1].promises == WISHED


def test_what_a_slot_wants_in_return_is_said_before_anybody_is_asked(capsys, agent, terminal):
    wanting = msgspec.structs.replace(PLAN, promises=Promised(reciprocity=1.5))
    agent({"connect/plan": given(wanting), "connect": telling([], CONNECTED)})
    for words, is_said in (([], True), (["--reciprocity", "1"], True), (["--reciprocity", "1.5"], False)):
        shown = terminal("y\n")
        run(capsys, "connect", "alice", "--storage", "10GB", *words)
        said = " ".join(shown.getvalue().split())
        assert ("keeps 1.5 times as much for it, here 15 GB: --reciprocity 1.5 promises that" in said) is is_said


def test_both_sides_see_what_is_promised_in_a_request_and_in_what_is_offered_instead(capsys, agent):
    asked = msgspec.structs.replace(PENDING, promises=Promised(audit_bytes=10**9))
    agent({"requests": given([asked])})
    assert "you read up to 1 GB a day for audits" in run(capsys, "requests")[1]
    pipe = FakePipe()
    lines = describe_request(Screen((pipe, pipe, pipe), json=False, yes=False), asked)
    assert any("you read up to 1 GB a day for audits" in line for line in lines)
    less = msgspec.structs.replace(PENDING, now_bytes=PENDING.storage_bytes, now_promises=PROMISED)
    agent({"requests": given([less])})
    out = " ".join(run(capsys, "requests")[1].split())
    assert "nothing beyond space and time any more" in out
    assert "until now: in return it keeps 10 GB for you; you send back 1 GB a day at least, if asked" in out
    offered = msgspec.structs.replace(OFFERED, offer_promises=PROMISED)
    agent({"requests": given([offered])})
    said = " ".join(run(capsys, "requests")[1].split())
    assert "asked for: nothing beyond that" in said
    assert "offered: in return you keep 5 GB for it; it sends back 1 GB a day at least, if asked" in said


@pytest.mark.parametrize(
    ("direction", "said"), [("in", "in return it keeps 10 GB for you"), ("out", "in return you keep 10 GB for it")]
)
def test_who_accepts_reads_who_gives_what_in_return(capsys, agent, direction, said):
    row = msgspec.structs.replace(PENDING, state="accepted", direction=direction, promises=PROMISED)
    agent({"requests/accept": given(row)})
    assert said in run(capsys, "requests", "accept", "ab12")[1]


def test_an_offer_may_be_about_promises_alone(capsys, agent):
    row = msgspec.structs.replace(OFFERED, direction="in", offer_promises=PROMISED)
    dummy = agent({"requests/offer": given(row)})
    assert run(capsys, "requests", "offer", "ab12", *SAID)[0] == 0
    assert dummy.requests[-1][1].promises == WISHED


@pytest.mark.parametrize("words", [["resize", "alice", "0"], ["resize", "alice"], ["renew", "alice", "--term", "soon"]])
def test_nonsense_is_refused_before_anybody_is_asked(capsys, agent, words):
    dummy = agent({})
    assert run(capsys, "peers", *words)[0] == 2
    assert dummy.requests == []


def test_a_person_who_has_not_answered_is_exit_4_and_a_no_13(capsys, agent):
    agent({"peers/resize": telling([], PendingError("alice has not answered yet"))})
    assert run(capsys, "peers", "resize", "alice", "20GB")[0] == 4
    agent({"peers/resize": telling([], RefusedError("no room"))})
    assert run(capsys, "peers", "resize", "alice", "20GB")[0] == 13


def test_both_terms_are_shown_side_by_side_to_both(capsys, agent):
    agent({"requests": given([OFFERED])})
    out = run(capsys, "requests")[1]
    asked, offered = (line for line in out.splitlines() if line.startswith(("asked for", "offered")))
    assert ("10 GB" in asked, "1 y" in asked, "30 d" in asked) == (True, True, True)
    assert ("5 GB" in offered, "180 d" in offered, "14 d" in offered) == (True, True, True)
    assert "offers this instead; to take it: `backup-peer requests accept ab12cd34 " in " ".join(out.split())
    agent({"requests": given([msgspec.structs.replace(OFFERED, direction="in")])})
    assert "to give what was asked for after all" in run(capsys, "requests")[1]


def test_a_request_to_change_an_agreement_shows_what_it_would_change(capsys, agent):
    growing = msgspec.structs.replace(
        PENDING, now_bytes=10**9, now_until="2027-01-01T12:00:00Z", until="2028-01-01T12:00:00Z"
    )
    agent({"requests": given([growing])})
    out = run(capsys, "requests")[1]
    assert "would change 1 GB until 2027-01-01 to 10 GB until 2028-01-01" in " ".join(out.split())
    assert "lock" not in out


def test_a_longer_lock_is_shown_beside_the_one_that_stands(capsys, agent):
    until = "2027-01-01T12:00:00Z"
    locking = msgspec.structs.replace(
        PENDING, now_bytes=PENDING.storage_bytes, now_until=until, until=until, now_lock_s=7 * 86400
    )
    agent({"requests": given([locking])})
    assert "would change the lock 7 d → 30 d" in run(capsys, "requests")[1]
    pipe = FakePipe()
    lines = describe_request(Screen((pipe, pipe, pipe), json=False, yes=False), locking)
    assert any("lock 30 d (now 7 d)" in line for line in lines)


def test_a_change_that_is_accepted_says_when_it_takes_effect(capsys, agent):
    for now_bytes, is_said in ((10**9, True), (0, False)):
        row = msgspec.structs.replace(PENDING, state="accepted", alias="bob", now_bytes=now_bytes)
        agent({"requests/accept": given(row)})
        out = " ".join(run(capsys, "requests", "accept", "ab12")[1].split())
        assert ("takes effect when the machine of bob" in out) is is_said


def test_an_offer_names_only_what_is_other_than_asked_for(capsys, agent):
    dummy = agent({"requests/offer": given(msgspec.structs.replace(OFFERED, direction="in"))})
    code, out, _ = run(capsys, "requests", "offer", "ab12", "--storage", "5GB", "--lock", "14d")
    assert code == 0
    assert "offered to" in out
    request = dummy.requests[-1][1]
    assert (request.request, request.storage, request.term_s, request.lock_s) == ("ab12", 5 * 10**9, None, 14 * 86400)


class Changing:
    """A `connect` that is refused with other terms, and succeeds once just those are asked for."""

    def __init__(self):
        self.asked = []

    async def __call__(self, request, emit):
        self.asked.append((request.storage, request.term_s, request.lock_s))
        self.promises = request.promises
        if request.storage != OFFERED.offer_bytes:
            raise RefusedError("alice offers other terms instead: --storage 5GB", hint="`backup-peer requests accept`")
        return CONNECTED


def connecting(agent, offer=NOTHING_PROMISED):
    changing = Changing()
    row = msgspec.structs.replace(OFFERED, offer_promises=offer)
    agent({"connect/plan": given(PLAN), "connect": changing, "requests": given([row])})
    return changing


def test_a_person_sees_both_terms_and_takes_what_is_offered(capsys, agent, terminal):
    changing = connecting(agent, offer=Promised(availability=0.9))
    shown = terminal("y\ny\n")
    code, out, _ = run(capsys, "connect", "alice", "--storage", "10GB")
    assert code == 0
    assert changing.asked[-1] == (5 * 10**9, 180 * 86400, 14 * 86400)
    assert changing.promises == PromiseWish(reciprocity=0.0, audit_bytes=0, egress_bytes=0, availability=0.9)
    assert "asked for" in out
    assert "take what is offered? [y/N]" in shown.getvalue()


@pytest.mark.parametrize(("words", "typed"), [(["--yes"], ""), ([], "y\nn\n"), (["--yes", "--json"], "")])
def test_neither_yes_nor_a_no_takes_other_terms_and_the_hint_names_them(capsys, agent, terminal, words, typed):
    changing = connecting(agent)
    terminal(typed)
    code = run(capsys, "connect", "alice", "--storage", "10GB", *words)[0]
    assert code == 13
    assert [asked[0] for asked in changing.asked] == [10**10]


def test_the_view_of_host_says_what_a_request_would_change(agent):
    del agent
    pipe = FakePipe()
    growing = msgspec.structs.replace(
        PENDING, now_bytes=10**9, now_until="2027-01-01T12:00:00Z", until="2028-01-01T12:00:00Z"
    )
    said = " ".join(describe_request(Screen((pipe, pipe, pipe), json=False, yes=False), growing))
    assert "asks for 10 GB, instead of the 1 GB until 2027-01-01 that you agreed on" in said
    assert "kept until 2028-01-01" in said
