"""Agreements change between real processes: larger, smaller, longer, on other terms than were asked for."""

import json
import os
from datetime import UTC, datetime

import pytest

from e2e.harness import agree, below, wait_request, wait_until

pytestmark = pytest.mark.slow
DAY_S = 86400


def row_of(home):
    (row,) = home.do("peers").rows
    return row


def both_see(pair, size):
    """Whether both sides show the same size and the same end."""
    mine, theirs = row_of(pair.owner), row_of(pair.host)
    return (mine["quota_bytes"], mine["until"]) == (theirs["quota_bytes"], theirs["until"]) and mine[
        "quota_bytes"
    ] == size


def test_an_agreement_grows_with_the_hosts_yes_shrinks_without_and_is_renewed(world, tmp_path):
    pair = agree(world)
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(bytes(range(256)) * 400)
    pair.owner.do("backup", str(data), "--to", "alice")

    growing = pair.owner.start("peers", "resize", "alice", "600MB", "--egress-budget", "1GB", "--wait", "60s")
    asked = wait_request(pair.host)
    assert (asked["storage_bytes"], asked["now_bytes"]) == (600 * 10**6, 500 * 10**6)
    assert (asked["promises"]["egress_bytes"], asked["now_promises"]["egress_bytes"]) == (10**9, 0)
    pair.host.do("requests", "accept", str(asked["request_id"]))
    done = growing.wait()
    assert (done.code, done.last["quota_bytes"], done.last["revision"]) == (0, 600 * 10**6, 2)
    assert both_see(pair, 600 * 10**6)

    mine = json.loads(pair.owner.do("peers", "show", "alice").stdout)
    theirs = json.loads(pair.host.do("peers", "show", pair.owner.peer_id()).stdout)
    assert (mine["here"], theirs["there"]) == (None, None)
    assert mine["there"]["agreed_bytes"] == theirs["here"]["agreed_bytes"] == 600 * 10**6
    assert mine["owed_bytes"] == -theirs["owed_bytes"] < 0

    shrunk = pair.owner.do("peers", "resize", "alice", "100MB", "--reciprocity", "0.5").last
    assert (shrunk["quota_bytes"], shrunk["revision"]) == (100 * 10**6, 3)
    assert both_see(pair, 100 * 10**6)
    mine = json.loads(pair.owner.do("peers", "show", "alice").stdout)["there"]
    theirs = json.loads(pair.host.do("peers", "show", pair.owner.peer_id()).stdout)["here"]
    assert (
        mine["promises"]
        == theirs["promises"]
        == {"reciprocity": 0.5, "audit_bytes": 0, "egress_bytes": 10**9, "availability": 0.0}
    )
    assert mine["lacking_bytes"] == theirs["lacking_bytes"] == 50 * 10**6
    assert row_of(pair.owner)["owed_by_us_bytes"] == row_of(pair.host)["owed_to_us_bytes"] == 50 * 10**6

    before = row_of(pair.owner)["until"]
    renewing = pair.owner.start("peers", "renew", "alice", "--term", "2y", "--wait", "60s")
    asked = wait_request(pair.host)
    assert asked["until"] > asked["now_until"] == before
    pair.host.do("requests", "accept", str(asked["request_id"]))
    assert renewing.wait().code == 0
    assert row_of(pair.owner)["until"] > before
    assert both_see(pair, 100 * 10**6)

    shorter = pair.owner.run("peers", "renew", "alice", "--term", "1mo")
    assert (shorter.code, "already" in shorter.stderr) == (2, True)
    nobody = pair.owner.run("peers", "resize", "bob", "1GB")
    assert nobody.code == 10
    backwards = pair.host.run("peers", "resize", pair.owner.peer_id(), "1GB")
    assert backwards.code == 10, "a host asks for nothing"

    # kill -9 of both, and both still live by the newest revision, and data comes back
    pair.host.kill_agent()
    pair.owner.kill_agent()
    assert both_see(pair, 100 * 10**6)
    pair.owner.do("backup", str(data), "--to", "alice")

    assert_moves(pair, data, tmp_path)


def assert_moves(pair, data, tmp_path):
    """The store moves to where another disk may be, is served from there, and is after the agent was killed."""
    moved = pair.host.do("host", "--move-store", str(tmp_path / "moved")).last
    assert (moved["target"], moved["cleared"]) == (str(tmp_path / "moved"), True)
    pair.owner.do("restore", "latest", "--target", str(tmp_path / "one"), "--verify")
    pair.host.kill_agent()
    pair.host.do("agent", "start")
    pair.owner.do("restore", "latest", "--target", str(tmp_path / "two"), "--verify")
    assert (below(tmp_path / "two", data) / "file").read_bytes() == (data / "file").read_bytes()
    again = pair.host.do("host", "--move-store", str(tmp_path / "moved")).last
    assert (again["source"], again["files"]) == (str(tmp_path / "moved"), 0), "it lies there already"


def test_shrinking_below_what_is_stored_is_refused_and_says_what_is_used(world, tmp_path):
    pair = agree(world)
    data = tmp_path / "data"
    data.mkdir()
    (data / "noise").write_bytes(os.urandom(70_000_000))
    pair.owner.do("backup", str(data), "--to", "alice")
    refused = pair.owner.run("peers", "resize", "alice", "68MB")
    assert refused.code == 13
    assert "are stored" in refused.stderr
    assert row_of(pair.owner)["quota_bytes"] == 500 * 10**6
    assert pair.owner.do("peers", "resize", "alice", "200MB").last["quota_bytes"] == 200 * 10**6


def test_other_terms_are_offered_shown_to_both_and_taken_only_by_a_person(world):
    world.start_server()
    host, _ = world.peer("host")
    owner, _ = world.peer("owner")
    host.do("host", "--storage", "1GB", "--accept", "ask", "--availability", "97%", "--detach", "--yes")
    name = host.peer_id()
    listed = ("browse", "--min-availability", "95%")
    wait_until(lambda: [row for row in owner.do(*listed).rows if row["peer_id"] == name], "the offer to be listed")
    words = ("connect", name, "--storage", "500MB", "--name", "alice", "--yes", "--wait", "60s")
    connecting = owner.start(*words)
    asked = wait_request(host)
    assert asked["promises"]["availability"] == 0.95, "what is listed is asked for"
    offered = host.do(
        "requests", "offer", str(asked["request_id"]), "--storage", "200MB", "--term", "6mo", "--lock", "14d"
    ).last
    assert (offered["state"], offered["storage_bytes"], offered["offer_bytes"]) == ("offered", 500 * 10**6, 200 * 10**6)
    told = connecting.wait()
    assert told.code == 13, "--yes never takes other terms"
    assert "--storage 200MB --term 180d --lock 14d --availability 95%" in told.stderr
    (mine,) = owner.do("requests").rows
    assert (mine["state"], mine["offer_bytes"], mine["offer_term_s"], mine["offer_lock_s"]) == (
        "offered", 200 * 10**6, 180 * DAY_S, 14 * DAY_S,
    )  # fmt: skip
    assert str(mine["request_id"])[:8] in told.stderr
    assert owner.do("peers").rows[0]["quota_bytes"] == 0
    taken = owner.do("requests", "accept", str(mine["request_id"])).last
    assert (taken["state"], taken["storage_bytes"]) == ("agreed", 200 * 10**6)
    assert row_of(owner)["quota_bytes"] == row_of(host)["quota_bytes"] == 200 * 10**6
    assert json.loads(owner.do("peers", "show", "alice").stdout)["there"]["promises"]["availability"] == 0.95
    again = owner.run(*words)
    assert again.code == 13
    assert "peers resize" in again.stderr


def notes_of(home):
    return " ".join(json.loads(home.do("status").stdout)["notes"])


def test_an_owner_ends_an_agreement_and_takes_that_back(world, tmp_path):
    pair = agree(world)
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(b"what matters" * 1000)
    pair.owner.do("backup", str(data), "--to", "alice")

    unasked = pair.owner.run("peers", "end", "alice")
    assert (unasked.code, "--yes" in unasked.stderr) == (2, True), "without a terminal nothing is guessed"
    assert row_of(pair.owner)["ends"] == ""

    ended = pair.owner.do("peers", "end", "alice", "--yes").last
    assert (ended["side"], ended["told"]) == ("owner", True)
    until = datetime.fromisoformat(str(ended["until"])) - datetime.now(UTC)
    assert 59 <= until.days <= 60, "two locks of 30 days, as of any mass deletion"
    assert row_of(pair.owner)["ended_by_us"] is True
    assert row_of(pair.host)["ended_by_us"] is False
    assert str(ended["until"])[:10] in notes_of(pair.owner)
    assert "ends: all that it keeps here is kept until" in notes_of(pair.host)
    refused = pair.owner.run("backup", str(data))
    assert (refused.code, "you ended the agreement with alice" in refused.stderr) == (13, True)
    assert pair.owner.run("peers", "end", "alice", "--yes").code == 2
    target = tmp_path / "restored"
    pair.owner.do("restore", "latest", "--target", str(target))
    assert (below(target, data) / "file").read_bytes() == b"what matters" * 1000

    pair.host.kill_agent()
    pair.owner.kill_agent()
    assert "ends: all that it keeps" in notes_of(pair.host), "durable"
    back = pair.owner.do("peers", "renew", "alice").last
    assert (back["taken_back"], back["told"]) == (True, True)
    assert row_of(pair.owner)["ends"] == row_of(pair.host)["ends"] == ""
    pair.owner.do("backup", str(data))


def test_a_host_ends_an_agreement_and_every_backup_of_its_owner_says_so(world, tmp_path):
    pair = agree(world)
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(b"what matters" * 1000)
    pair.owner.do("backup", str(data))
    owner_id = pair.owner.peer_id()

    # while the owner is away: it is told when the two meet
    pair.owner.do("agent", "stop")
    ended = pair.host.do("peers", "end", owner_id, "--yes").last
    assert (ended["side"], ended["told"]) == ("host", False)
    kept = datetime.fromisoformat(str(ended["until"])) - datetime.now(UTC)
    assert 59 <= kept.days <= 60, "twice the notice, as long as the owner does not know"
    warned = pair.owner.run("backup", str(data))
    assert warned.code == 3, "its copy counts no more"
    assert "has 0 of 1 copies (alice: it ends its agreement with you" in warned.stderr
    assert warned.last["event"] == "error"
    (done,) = [event for event in warned.events if event["event"] == "done"]
    assert [host["name"] for host in done["ending"]] == ["alice"]
    assert any(event["event"] == "note" and "alice ends its agreement" in str(event["text"]) for event in warned.events)
    assert "alice ends its agreement with you" in notes_of(pair.owner)
    left = datetime.fromisoformat(str(row_of(pair.owner)["ends"])) - datetime.now(UTC)
    assert 29 <= left.days <= 30, "from now on the usual notice"

    grown = pair.owner.run("peers", "resize", "alice", "600MB", "--wait", "5s")
    assert (grown.code, "the agreement ends" in grown.stderr) == (13, True)
    nothing = pair.owner.run("peers", "renew", "alice", "--term", "2y", "--wait", "5s")
    assert nothing.code == 13
    pair.host.do("peers", "renew", owner_id)
    assert pair.host.run("peers", "renew", owner_id).code == 2
    pair.owner.do("backup", str(data))
    assert row_of(pair.owner)["ends"] == row_of(pair.host)["ends"] == ""


def test_a_host_retires_tells_its_owners_and_says_when_its_disk_is_free(world, tmp_path):
    pair = agree(world)
    (tmp_path / "file").write_bytes(b"what matters" * 1000)
    pair.owner.do("backup", str(tmp_path / "file"))
    unasked = pair.host.run("host", "--retire")
    assert (unasked.code, "--yes" in unasked.stderr) == (2, True)
    assert json.loads(pair.host.do("status").stdout)["hosting"]["offering"] is True
    retired = pair.host.do("host", "--retire", "--yes").last
    (row,) = retired["owners"]
    assert row["peer_id"] == pair.owner.peer_id()
    assert row["used_bytes"] > 0
    assert (row["told"], row["until"]) == (True, retired["until"])
    left = datetime.fromisoformat(str(retired["until"])) - datetime.now(UTC)
    assert 29 <= left.days <= 30
    assert json.loads(pair.host.do("status").stdout)["hosting"]["offering"] is False
    assert "alice ends its agreement with you" in notes_of(pair.owner), "told at once, as the two were in session"
    assert pair.owner.run("backup", str(tmp_path / "file")).code == 3
    pair.owner.do("restore", "latest", "--target", str(tmp_path / "restored"))
    again = pair.host.do("host", "--retire").last
    assert again["owners"][0]["until"][:10] == retired["until"][:10], "asked again it only shows where it stands"


def test_a_blocked_owner_can_still_restore_and_do_nothing_else(world, tmp_path):
    pair = agree(world)
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(b"what matters" * 1000)
    pair.owner.do("backup", str(data))
    owner_id = pair.owner.peer_id()
    blocked = pair.host.do("block", owner_id, "--yes", "--reason", "went too far").last
    assert (blocked["blocked"], blocked["reason"]) == (True, "went too far")
    row = row_of(pair.host)
    assert (row["blocked"], row["reason"], row["trust"]) == (True, "went too far", 0)
    assert row["ends"]
    (data / "more").write_bytes(os.urandom(30_000_000))
    refused = pair.owner.run("backup", str(data))
    assert refused.code == 13
    pair.owner.do("restore", "latest", "--target", str(tmp_path / "restored"))
    assert (below(tmp_path / "restored", data) / "file").read_bytes() == b"what matters" * 1000
    pair.host.do("unblock", owner_id)
    pair.host.do("peers", "renew", owner_id)
    pair.owner.do("backup", str(data))
    assert pair.host.run("unblock", owner_id).code == 2


@pytest.mark.timeout(300)
def test_one_host_takes_the_place_of_another_after_a_kill_in_the_middle(world, tmp_path):
    pair = agree(world)
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        (data / f"{number}").write_bytes(os.urandom(20_000_000))
        pair.owner.do("backup", str(data), "--to", "alice")
    bob, _ = world.peer("bob")
    bob.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    name = bob.peer_id()
    wait_until(lambda: [r for r in pair.owner.do("browse").rows if r["peer_id"] == name], "bob's offer to be listed")
    pair.owner.do("connect", name, "--storage", "500MB", "--name", "bob", "--yes", "--wait", "60s")
    replacing = pair.owner.start("peers", "replace", "alice", "bob", "--yes")
    assert replacing.wait_event("plan")["copy_packs"] > 1
    replacing.wait_event("progress", phase="copying to bob")
    pair.owner.kill_agent()
    assert replacing.wait().code != 0
    rows = {row["alias"]: row for row in pair.owner.do("peers").rows}
    assert rows["alice"]["ends"] == "", "nothing was ended"
    done = pair.owner.do("peers", "replace", "alice", "bob", "--yes").last
    assert (done["new"], done["told"]) == (name, True)
    assert done["bytes"] > 60_000_000
    pair.host.do("agent", "stop")
    pair.owner.do("restore", "latest", "--target", str(tmp_path / "restored"))
    assert (below(tmp_path / "restored", data) / "2").read_bytes() == (data / "2").read_bytes()
    pair.owner.do("backup", str(data))
    same = pair.owner.run("peers", "replace", "bob", "bob", "--yes")
    assert same.code == 2
