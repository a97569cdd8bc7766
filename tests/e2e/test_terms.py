"""Agreements change between real processes: larger, smaller, longer, on other terms than were asked for."""

import os

import pytest

from e2e.harness import agree, wait_request, wait_until

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

    growing = pair.owner.start("peers", "resize", "alice", "600MB", "--wait", "60s")
    asked = wait_request(pair.host)
    assert (asked["storage_bytes"], asked["now_bytes"]) == (600 * 10**6, 500 * 10**6)
    pair.host.do("requests", "accept", str(asked["request_id"]))
    done = growing.wait()
    assert (done.code, done.last["quota_bytes"], done.last["revision"]) == (0, 600 * 10**6, 2)
    assert both_see(pair, 600 * 10**6)

    shrunk = pair.owner.do("peers", "resize", "alice", "100MB").last
    assert (shrunk["quota_bytes"], shrunk["revision"]) == (100 * 10**6, 3)
    assert both_see(pair, 100 * 10**6)

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
    host.do("host", "--storage", "1GB", "--accept", "ask", "--detach", "--yes")
    name = host.peer_id()
    wait_until(lambda: [row for row in owner.do("browse").rows if row["peer_id"] == name], "the offer to be listed")
    words = ("connect", name, "--storage", "500MB", "--name", "alice", "--yes", "--wait", "60s")
    connecting = owner.start(*words)
    asked = wait_request(host)
    offered = host.do(
        "requests", "offer", str(asked["request_id"]), "--storage", "200MB", "--term", "6mo", "--lock", "14d"
    ).last
    assert (offered["state"], offered["storage_bytes"], offered["offer_bytes"]) == ("offered", 500 * 10**6, 200 * 10**6)
    told = connecting.wait()
    assert told.code == 13, "--yes never takes other terms"
    assert "--storage 200MB --term 180d --lock 14d" in told.stderr
    (mine,) = owner.do("requests").rows
    assert (mine["state"], mine["offer_bytes"], mine["offer_term_s"], mine["offer_lock_s"]) == (
        "offered", 200 * 10**6, 180 * DAY_S, 14 * DAY_S,
    )  # fmt: skip
    assert str(mine["request_id"])[:8] in told.stderr
    assert owner.do("peers").rows[0]["quota_bytes"] == 0
    taken = owner.do("requests", "accept", str(mine["request_id"])).last
    assert (taken["state"], taken["storage_bytes"]) == ("agreed", 200 * 10**6)
    assert row_of(owner)["quota_bytes"] == row_of(host)["quota_bytes"] == 200 * 10**6
    again = owner.run(*words)
    assert again.code == 13
    assert "peers resize" in again.stderr
