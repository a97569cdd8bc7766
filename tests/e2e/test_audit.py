"""Audits with real processes: a host that keeps all proves it, one that lost a pack is found, named and convicted."""

import os
import signal
import sqlite3
from contextlib import closing

import pytest

from e2e.harness import Home, World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
CYCLES_DAYS = 59
"""In so many days each pack of a MiB or more has its turn, whatever day it is."""


def let_days_pass(owner: Home, days: int) -> None:
    """Make the owner believe that it asked last so many days ago; the agent is stopped meanwhile."""
    owner.do("agent", "stop")
    (path,) = (owner.path / "repository").rglob("proven.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE accounts SET day = day - ?", (days,))


def test_a_month_of_audits_finds_a_pack_that_a_host_deleted_and_convicts_it(world: World):
    pair = agree(world)
    tree = world.path / "files"
    make_random_files(tree, count=20, size_bytes=2_500_000, seed=44)
    pair.owner.do("backup", str(tree))
    (row,) = pair.owner.do("audit").rows
    assert (row["state"], row["audited"], row["alias"]) == ("never", "", "alice")

    first = pair.owner.do("audit", "--now").last
    (host,) = first["hosts"]
    assert host["shown"] == host["asked"] == first["asked"] >= 1
    assert host["acknowledged"] == len(pair.packs())
    (row,) = pair.owner.do("audit", "alice").rows
    assert (row["state"], row["packs"], row["acknowledged"]) == ("proven", len(pair.packs()), len(pair.packs()))
    assert row["proven"] == row["audited"] > ""
    (snapshot,) = pair.owner.do("snapshots").rows
    assert snapshot["last_proven"] == row["proven"]
    assert pair.owner.do("status").last["audits"] == [row]

    make_random_files(world.path / "more", count=1, size_bytes=2_500_000, seed=45)
    old = set(pair.packs())
    pair.owner.do("backup", str(tree), str(world.path / "more"))  # a later head covers what was acknowledged
    let_days_pass(pair.owner, CYCLES_DAYS)
    whole = pair.owner.do("audit", "--now").last
    assert whole["shown"] == whole["asked"] >= len(old)
    assert whole["hosts"][0]["shown_bytes"] <= 16384 * whole["shown"]

    let_days_pass(pair.owner, CYCLES_DAYS)
    lost = max(old, key=lambda path: path.stat().st_size)
    lost.unlink()
    caught = pair.owner.run("audit", "--now")
    assert (caught.code, caught.last["event"]) == (15, "done")
    assert [e["message"] for e in caught.events if e["event"] == "fault"] == [
        "it reports that it lost packs of yours: 1 (missing)"
    ]
    (proof,) = caught.last["hosts"][0]["proofs"]
    judged = pair.owner.do("audit", "verify-proof", str(proof)).last
    assert (judged["proven"], judged["crime"], judged["stored"]) == (True, "lost-pack", lost.name)
    assert judged["host"] == pair.host_id
    assert pair.owner.do("audit").rows[0]["state"] == "caught"
    assert "1 (missing)" in pair.owner.do("status").last["audits"][0]["fault"]

    assert pair.owner.do("audit", "--drill").last["hosts"][0]["absent"] > 0, "it told so already: no second alarm"
    pair.owner.do("backup", str(tree), str(world.path / "more"))
    drilled = pair.owner.do("audit", "--drill").last
    assert (drilled["files"], drilled["hosts"][0]["failed"]) == (21, 0)
    assert not list(pair.owner.path.glob("backup-peer-drill-*"))
    pair.owner.do("restore", "latest", "--target", str(world.path / "out"))
    assert describe_tree(below(world.path / "out", tree)) == describe_tree(tree)
    let_days_pass(pair.owner, CYCLES_DAYS)
    healed = pair.owner.do("audit", "--now").last
    assert healed["shown"] == healed["asked"]
    (row,) = pair.owner.do("audit").rows
    assert (row["state"], row["proven"] > row["fault_time"]) == ("caught", True), "good audits don't wash it off"


@pytest.mark.usefixtures("hasty")
def test_hosts_that_are_away_are_told_and_nobody_is_blamed(world: World):
    pair = agree(world)
    tree = world.path / "files"
    make_random_files(tree, count=2, size_bytes=300_000, seed=46)
    pair.owner.do("backup", str(tree))
    pair.host.do("agent", "stop")
    gone = pair.owner.run("audit", "--now")
    assert gone.code == 11
    assert "no host could be heard (alice: " in str(gone.last["message"])
    other, _ = world.peer("other")
    other.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    pair.owner.do("connect", other.peer_id(), "--storage", "400MB", "--name", "other", "--yes", "--wait", "30s")
    pair.owner.run("backup", str(tree), "--to", "other")
    some = pair.owner.run("audit", "--now")
    assert (some.code, some.events[-2]["event"]) == (3, "done")
    assert [host["shown"] > 0 for host in some.events[-2]["hosts"]] == [False, True]
    assert pair.owner.run("audit", "nobody").code == 10
    pair.host.do("status")
    assert pair.owner.do("audit", "alice", "--now").last["hosts"][0]["shown"] > 0
    assert pair.owner.do("audit", "alice", "--bulk").last["hosts"][0]["faults"] == []


def test_a_drill_or_audit_that_is_interrupted_or_killed_leaves_nothing_in_the_clear(world: World):
    pair = agree(world)
    tree = world.path / "files"
    make_random_files(tree, count=2, size_bytes=300_000, seed=47)
    pair.owner.do("backup", str(tree))
    (host,) = pair.host.agent_pids()
    os.kill(host, signal.SIGSTOP)
    try:
        for option in ("--now", "--drill"):
            running = pair.owner.start("audit", option)
            running.wait_event("progress")
            running.process.send_signal(signal.SIGINT)
            assert running.wait().code == 130
    finally:
        os.kill(host, signal.SIGCONT)
    left = pair.owner.path / "backup-peer-drill-killed00"
    left.mkdir()
    (left / "plain").write_text("of a drill that was killed")
    pair.owner.do("agent", "stop")
    pair.owner.do("status")
    wait_until(lambda: not left.exists(), "the start of the agent to remove what a drill left")
    assert pair.owner.do("audit", "--drill").last["files"] == 2
    assert not list(pair.owner.path.glob("backup-peer-drill-*"))
