"""What a person reads and sets of the local network: who is seen there, whether one is announced, how to allow it."""

import msgspec
import pytest

from backuppeer.cli.main import main
from backuppeer.control import api
from backuppeer.control.choosing import BestChoice, BestRequest, ConnectPlanRequest
from cli.rows import OFFERED, ROW, event, run
from cli.test_peering import connecting
from control.dummy import PEER, given, telling

NEAR = msgspec.structs.replace(ROW, lan=True, servers=[])
OPTIONS = pytest.mark.parametrize(("words", "wish"), [([], None), (["--lan"], True), (["--no-lan"], False)])


@OPTIONS
def test_browse_marks_who_is_in_this_network(capsys, agent, words, wish):
    dummy = agent({"browse": given([NEAR, ROW]), "peers": given([]), "servers": given([])})
    code, out, _ = run(capsys, "browse", *words)
    assert code == 0
    assert dummy.requests[0][1].lan is wish
    assert out.count("⌂") == 2, "one row, and what the mark means"
    assert "⌂ = in this network: reached without any server" in out


def test_without_neighbours_the_mark_is_not_explained(capsys, agent):
    agent({"browse": given([ROW]), "peers": given([]), "servers": given([])})
    assert "⌂" not in run(capsys, "browse")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "at these servers"),
        (["--lan"], "at 1 server or in this network"),
        (["--lan", "--no-lan"], "at these servers"),
    ],
)
def test_nobody_on_offer_is_said_of_the_places_that_were_asked(capsys, agent, words, said):
    agent({"browse": given([]), "servers": given([])})
    assert f"nobody offers space {said} yet" in run(capsys, "browse", "--server", "ws://one.example", *words)[1]


@pytest.mark.parametrize(("lan", "said"), [("yes", "strangers only in this network"), ("no", "strangers are not")])
def test_where_no_server_is_used_it_is_said_whether_strangers_are_reached(capsys, home, monkeypatch, lan, said):
    assert run(capsys, "config", "set", "network.lan", lan)[0] == 0
    assert said in run(capsys, "config", "set", "servers", "none")[1] + run(capsys, "config", "servers", "list")[1]
    assert said in " ".join(run(capsys, "doctor")[1].split())


def test_without_a_server_the_network_alone_is_named(capsys, agent, monkeypatch):
    monkeypatch.setenv("BACKUPPEER_SERVERS", "")
    agent({"browse": given([]), "servers": given([])})
    assert "nobody offers space in this network yet" in run(capsys, "browse", "--lan")[1]


@OPTIONS
def test_connect_asks_in_the_network_as_it_is_told(capsys, agent, words, wish):
    dummy = agent({**connecting(), "connect/best": given(BestChoice(best=NEAR, next=None, seen=1))})
    assert run(capsys, "connect", "--best", "--storage", "10GB", "--yes", *words)[0] == 0
    asked = [request for _, request in dummy.requests]
    told = [r.lan for r in asked if isinstance(r, BestRequest | ConnectPlanRequest | api.ConnectRequest)]
    assert told == [wish] * 3


@OPTIONS
def test_host_says_where_it_is_announced(capsys, agent, words, wish):
    offered = msgspec.structs.replace(OFFERED, servers=[], lan=["192.168.7.2"])
    plan = api.HostPlan(listed_bytes=2**35, agreed_bytes=0, lan=True)
    dummy = agent({"host/plan": given(plan), "host": telling([event("offered", offered)], offered)})
    code, out, err = run(capsys, "host", "--storage", "50GB", "--detach", "--yes", *words)
    assert code == 0
    assert dummy.requests[0][1].lan is wish
    assert "offering 50 GB in this network until you stop it" in out
    assert "announced at 192.168.7.2" in " ".join(out.split())
    assert "machines in the same network see it, too" in err + out


def test_an_unlisted_slot_is_not_shown_in_the_network(capsys, agent):
    agent({})
    code, _, err = run(capsys, "host", "--storage", "50GB", "--unlisted", "--lan", "--yes")
    assert code == 2
    assert "unlisted, or shown in this network" in err


def status(**lan):
    return api.StatusResult(
        peer_id=PEER,
        agent="running",
        servers=[],
        sessions=0,
        hosting=api.HostingState(),
        snapshots=0,
        lan=api.LanState(**lan),
    )


@pytest.mark.parametrize(
    ("lan", "line"),
    [
        ({}, ""),
        ({"on": True}, "on, no host seen there lately"),
        (
            {"on": True, "announced": ["192.168.7.2", "fd00::2"], "seen": [PEER]},
            "on, announced at 192.168.7.2, fd00::2, 1 host seen there lately",
        ),
        ({"announced": ["192.168.7.2"]}, "announced at 192.168.7.2 for the slot alone"),
        ({"seen": [PEER, PEER]}, "2 hosts seen there lately"),
    ],
)
def test_status_says_whether_the_network_is_used_and_who_is_seen_there(capsys, agent, lan, line):
    agent({"status": given(status(**lan))})
    lines = [text for text in run(capsys, "status")[1].splitlines() if text.startswith("lan ")]
    assert lines == ([f"lan        {line}"] if line else [])


def test_it_is_allowed_by_a_setting(capsys, agent):
    agent({})
    assert main(["config", "set", "network.lan", "yes"]) == 0
    assert run(capsys, "config", "get", "network.lan")[1].strip().endswith("yes")
    assert run(capsys, "config", "set", "network.lan", "perhaps")[0] == 2
