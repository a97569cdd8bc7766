"""The main job by separate processes: choose a peer, agree, back up, lose all, recover, and go on without servers."""

import os
from pathlib import Path

import pytest

from backuppeer.ids import parse_peer_id
from e2e.harness import Pair, World, agree, below, describe_tree, holds_any, wait_until
from e2e.trees import CONTENT_MARK, NAME_MARK, make_awkward_tree, make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "my files"
    make_awkward_tree(root)
    return root


def test_two_people_choose_each_other_and_every_byte_survives_the_loss_of_the_owners_home(world: World, tree: Path):
    pair = agree(world)
    assert pair.asked["peer_id"] == pair.owner.peer_id()
    assert pair.asked["storage_bytes"] == 500_000_000
    assert pair.connected["peer_id"] == pair.host_id
    assert pair.connected["alias"] == "alice"
    assert pair.connected["quota_bytes"] == 500_000_000
    assert pair.connected["safety_words"] == pair.asked["safety_words"]
    assert len(str(pair.connected["safety_words"]).split()) == 8

    done = pair.owner.do("backup", str(tree)).last
    assert done["event"] == "done"
    assert done["errors"] == 0
    assert done["peers"] == [pair.host_id]
    assert int(str(done["new_bytes"])) < int(str(done["bytes"])), "the twin files are stored once"
    snapshots = pair.owner.do("snapshots").rows
    assert [row["snapshot"] for row in snapshots] == [done["snapshot"]]
    listed = pair.owner.do("ls", f"latest:{tree}").rows
    names = {os.fsencode(str(row["path"])).rpartition(b"/")[2] for row in listed}
    assert names >= {b"empty", b"link", b"big", "Grüße aus 東京 🗾.txt".encode(), b"not-utf8-\xff\xfe-" + NAME_MARK}

    heir = world.home("heir")
    recovered = heir.do("recover", "--server", world.servers, "--yes", stdin=pair.words + "\n").last
    assert recovered["peer_id"] == pair.owner.peer_id()
    target = world.path / "restored"
    restored = heir.do("restore", "latest", "--target", str(target)).last
    assert restored["errors"] == 0
    assert describe_tree(below(target, tree)) == describe_tree(tree)
    assert heir.run("backup", str(tree)).code == 13, "a recovered home may only read"


def test_nothing_in_the_hosts_home_shows_content_names_or_folders(world: World, tree: Path):
    pair = agree(world)
    pair.owner.do("backup", str(tree))
    pair.host.do("agent", "stop")
    needles = [CONTENT_MARK, NAME_MARK, b"my files", b"compressible", "東京".encode(), (tree / "big").read_bytes()[:64]]
    assert holds_any(pair.host.path, needles) == []
    assert pair.packs(), "the host does hold packs"


def test_partners_meet_again_with_every_server_gone_and_both_agents_restarted(world: World, tree: Path):
    server = world.start_server()
    pair = agree(world)
    pair.owner.do("backup", str(tree))
    pair.owner.do("agent", "stop")
    pair.host.do("agent", "stop")
    assert pair.owner.agent_pids() == []
    assert pair.host.agent_pids() == []
    server.end()

    (tree / "new since").write_bytes(b"written when no server was left")
    pair.host.do("status")  # starts the host's agent on demand
    second = pair.owner.do("backup", str(tree)).last
    assert second["errors"] == 0
    assert 0 < int(str(second["new_bytes"])) < 1_000_000, "only what is new travels"
    (row,) = pair.owner.do("sessions").rows
    assert (row["alias"], row["path"], row["work"]) == ("alice", "direct", [])
    assert row["quality"] in {"good", "fair", "poor"}
    assert pair.owner.do("disconnect", "alice").last["cut"] == 0
    assert pair.owner.do("sessions").rows == pair.host.do("sessions").rows == []
    target = world.path / "restored"
    pair.owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)
    assert len(pair.owner.do("snapshots").rows) == 2

    report = world.path / "report.json"
    looked = pair.owner.run("doctor", "--bundle", str(report))
    told = {row["link"]: (row["state"], row["code"]) for row in looked.rows}
    assert looked.code == 14, "the server is the first broken link"
    assert told["server"] == ("broken", 14)
    assert {told[link] for link in ("home", "identity", "settings", "agent", "clock", "backups")} == {("ok", 0)}
    assert told["peer"] == ("warning", 0), "it is there, and its safety words were never compared"
    text = report.read_text()
    secrets = [pair.words, str(tree), str(pair.owner.path), pair.host_id, "127.0.0.1", "alice"]
    assert [secret for secret in secrets if secret in text] == []
    _check_contacts(pair)


def _check_contacts(pair: Pair) -> None:
    """Check that both sides have their session on record, with what it moved and why it was over."""
    ours = pair.owner.do("peers", "show", "alice").last
    theirs = pair.host.do("peers", "show", pair.owner.peer_id()).last
    for shown, moved in ((ours, "sent_bytes"), (theirs, "received_bytes")):
        record = shown["record"]
        first = record["contacts"][-1]
        assert record["availability"] == 1.0
        assert first["made"]
        assert first["path"].startswith("direct")
        assert first[moved] > 1_000_000
        assert "the agent stopped" in first["result"]
    assert theirs["as_owner"]["agreed"] == 1
    assert ours["as_owner"] is None


def test_an_unchanged_tree_sends_next_to_nothing_and_an_earlier_snapshot_stays_as_it_was(world: World):
    tree = world.path / "files"
    make_random_files(tree, count=20, size_bytes=1_000_000, seed=5)
    before = describe_tree(tree)
    pair = agree(world)
    first = pair.owner.do("backup", str(tree)).last
    again = pair.owner.do("backup", str(tree)).last
    assert int(str(again["sent_bytes"])) < 1_000_000
    (tree / "file-000").write_bytes(b"overwritten")
    pair.owner.do("backup", str(tree))
    target = world.path / "restored"
    pair.owner.do("restore", str(first["snapshot"]), "--target", str(target))
    assert describe_tree(below(target, tree)) == before


def test_one_file_of_a_snapshot_can_be_restored_alone(world: World, tree: Path):
    pair = agree(world)
    pair.owner.do("backup", str(tree))
    target = world.path / "one"
    pair.owner.do("restore", f"latest:{tree}/a/b/c/d/note.txt", "--target", str(target))
    files = [path for path in target.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [CONTENT_MARK * 3]


def test_a_dry_run_stores_nothing(world: World, tree: Path):
    pair = agree(world)
    done = pair.owner.do("backup", str(tree), "--dry-run").last
    assert int(str(done["new_bytes"])) > 0
    assert pair.owner.do("snapshots").rows == []
    assert pair.packs() == []


def test_sessions_show_the_partner_and_disconnect_closes_it(world: World, tree: Path):
    pair = agree(world)
    rows = [row for row in pair.owner.do("sessions").rows if row["peer_id"] == pair.host_id]
    assert [(row["alias"], row["path"]) for row in rows] == [("alice", "direct")]
    pair.owner.do("disconnect", "alice")
    assert [row for row in pair.owner.do("sessions").rows if row["peer_id"] == pair.host_id] == []
    pair.owner.do("backup", str(tree))  # dials again on need


def test_a_host_in_its_terminal_is_told_who_asks_and_what_was_agreed(world: World):
    world.start_server()
    host, _ = world.peer("host")
    owner, _ = world.peer("owner")
    offering = host.start("host", "--storage", "1GB", "--accept", "ask", "--yes")
    offering.wait_line(lambda line: '"offered"' in line or '"done"' in line)
    name = host.peer_id()
    wait_until(lambda: [row for row in owner.do("browse").rows if row["peer_id"] == name], "the offer to be listed")
    connecting = owner.start("connect", name[:14], "--storage", "100MB", "--yes", "--wait", "60s")
    asked = offering.wait_event("request")
    assert asked["peer_id"] == owner.peer_id()
    assert [row["request_id"] for row in owner.do("requests").rows] == [asked["request_id"]]
    host.do("requests", "accept", str(asked["request_id"]))
    assert offering.wait_event("agreed")["quota_bytes"] == 100_000_000
    assert connecting.wait().code == 0


def test_the_browsed_offer_names_the_host_in_full_with_its_free_space(world: World):
    world.start_server()
    host, _ = world.peer("host")
    viewer, _ = world.peer("viewer")
    host.do("host", "--storage", "3GB", "--region", "EU", "--detach", "--yes")
    wait_until(lambda: viewer.do("browse").rows, "the offer to be listed")
    row = viewer.do("browse").rows[0]
    assert len(parse_peer_id(str(row["peer_id"]))) == 32
    assert row["region"] == "EU"
    assert 0 < int(str(row["free_bytes"])) <= 3_000_000_000
    assert row["servers"] == [world.servers]
    assert (row["reason"], row["trust_level"]) == ("nothing known", "unproven")
    why = viewer.do("reputation", "explain", str(row["peer_id"])).last
    assert (why["known"], why["trust"], why["alpha"]) == (False, row["trust"], 0)
    nobody = viewer.run("connect", "--best", "--storage", "100MB", "--yes")
    assert (nobody.code, "1 below 0.50" in nobody.stderr) == (10, True), nobody
    host.do("host", "--storage", "3GB", "--min-trust", "0.6", "--detach", "--yes")
    refused = viewer.run("connect", str(row["peer_id"]), "--trial", "--yes", "--wait", "60s")
    assert (refused.code, "good hosts themselves" in refused.stderr) == (13, True), refused
    host.do("host", "--stop")
    wait_until(lambda: not viewer.do("browse").rows, "the withdrawn offer to vanish")
