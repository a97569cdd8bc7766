"""E1, E2 and E8 with real processes; the other cases of docs/errors-seen.md are noted where tests made them before."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backuppeer.agent.peers.endpoint import _BOUND
from e2e.harness import Home, World, agree, below, describe_tree, wait_request, wait_until
from e2e.moved_clock import Days
from e2e.seen import keep, note
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.seen, pytest.mark.timeout(240)]
HOUR_S = 3600


@pytest.fixture
def docs(world: World) -> Path:
    root = world.path / "docs"
    make_random_files(root, count=3, size_bytes=300_000, seed=1)
    return root


def assert_restores(world: World, owner: Home, tree: Path) -> None:
    target = world.path / "restored"
    owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)


def test_a_chosen_peer_that_goes_offline_while_it_is_asked_is_named_and_agrees_once_it_is_back(
    world: World, docs: Path
):
    world.start_server()
    host, _ = world.peer("host")
    owner, _ = world.peer("owner")
    host.do("host", "--storage", "1GB", "--accept", "ask", "--detach", "--yes")
    name = host.peer_id()
    wait_until(lambda: owner.do("browse").rows, "the offer to be listed")
    asking = ("connect", name, "--storage", "100MB", "--name", "alice", "--yes", "--wait", "30s")
    connecting = owner.start(*asking)
    connecting.wait_event("state", state="waiting")
    host.kill_agent()
    told = connecting.wait()
    host.do("status")
    host.do("requests", "accept", str(wait_request(host)["request_id"]))
    owner.do(*asking)
    owner.do("backup", str(docs))
    assert_restores(world, owner, docs)
    note(
        world,
        "E1",
        "the chosen peer is killed while its person is asked",
        told,
        verb="connect",
        code=11,
        way_out="it is back and knows the request; the same command agrees, and backups go there",
        hinted="try again",
    )


def take_ports(thief: Home, host: Home) -> None:
    """Have one home listen where the other one did; both agents have ended."""
    query = "SELECT value FROM settings WHERE key=?"
    with closing(sqlite3.connect(host.path / "state.db")) as theirs:
        (bound,) = theirs.execute(query, (_BOUND,)).fetchone()
    with closing(sqlite3.connect(thief.path / "state.db")) as mine, mine:
        mine.execute("UPDATE settings SET value=? WHERE key=?", (bound, _BOUND))


def test_who_answers_in_the_place_of_a_host_and_is_not_it_gets_nothing(world: World, docs: Path):
    pair = agree(world)
    pair.owner.do("backup", str(docs))
    (docs / "new").write_text("new")
    thief, _ = world.peer("thief")
    thief.do("status")
    for home in (thief, pair.host, pair.owner):
        home.do("agent", "stop")
    take_ports(thief, pair.host)
    thief.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    told = pair.owner.run("backup", str(docs))
    thief.do("agent", "stop")
    assert list((thief.path / "store").rglob("packs/*/*")) == []
    pair.host.do("status")
    pair.owner.do("backup", str(docs))
    assert_restores(world, pair.owner, docs)
    note(
        world,
        "E2",
        "another machine answers at the address where the host was",
        told,
        verb="backup",
        code=12,
        way_out="nothing went there; once the host itself is back, the same backup goes on",
        hinted="",
    )


def test_a_clock_that_is_an_hour_wrong_stops_nothing_and_doctor_says_so(world: World, docs: Path):
    world.start_server()
    host, _ = world.peer("host")
    host.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    clock = Days(world.path / "clock")
    clock.set_ahead(HOUR_S)
    world.paths = str(clock.folder)
    owner, _ = world.peer("owner")
    wait_until(lambda: owner.do("browse").rows, "the offer to be listed")
    owner.do("connect", host.peer_id(), "--storage", "100MB", "--name", "alice", "--yes", "--wait", "30s")
    owner.do("backup", str(docs))
    assert_restores(world, owner, docs)
    found = read_clock(owner)
    assert found["state"] == "warning"
    assert "1 h ahead" in str(found["text"])
    assert "set this machine's clock" in str(found["fix"])
    clock.set_ahead(0)
    for home in (owner, host):
        home.do("agent", "stop")  # what a session told of the time is from before
    host.do("status")
    (docs / "new").write_text("new")
    owner.do("backup", str(docs))
    assert read_clock(owner)["state"] == "ok"
    keep(
        world,
        "E8",
        "the owner's clock is an hour ahead: it connects, backs up and restores as always",
        verb="doctor",
        code=0,
        said=(str(found["text"]), str(found["fix"])),
        way_out="the clock is set; `doctor` finds it right, and backups go on",
    )


def read_clock(home: Home) -> dict[str, object]:
    (row,) = [row for row in home.do("doctor").rows if row["link"] == "clock"]
    return row
