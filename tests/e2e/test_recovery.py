"""The drill: everything back from the 24 words, with real processes, though no host is on offer."""

import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from e2e.harness import Home, Pair, World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "files"
    make_random_files(root, count=3, size_bytes=300_000, seed=46)
    return root


def make_host(world: World, name: str, owner: Home) -> tuple[Home, str]:
    """Bring up a host, and let the owner agree with it."""
    host, _ = world.peer(name)
    host.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    peer_id = host.peer_id()
    wait_until(lambda: [row for row in owner.do("browse").rows if row["peer_id"] == peer_id], "the offer to be listed")
    owner.do("connect", peer_id, "--storage", "400MB", "--name", name, "--yes", "--wait", "60s")
    return host, peer_id


def wait_noted(host: Home) -> None:
    """Return when the host has left a note of its newest head wherever its owner looks for one."""
    wait_until(lambda: host.do("status").last["hosting"]["noted"] == 1, "the note to be left")


def witnesses_of(said: dict[str, object]) -> dict[str, tuple[bool, int]]:
    """Return of each host whether it was heard, and which head it has or had."""
    return {str(row["peer_id"]): (row["heard"], row["head"]) for row in said["witnesses"]}


def test_the_words_alone_bring_everything_back_though_no_host_is_on_offer_and_the_server_was_restarted(
    world: World, tree: Path
):
    data = world.path / "server-data"
    server = world.start_server(data=data)
    owner, words = world.peer("owner")
    alice, alice_id = make_host(world, "alice", owner)
    bob, bob_id = make_host(world, "bob", owner)
    owner.do("backup", str(tree))
    wait_noted(bob)
    bob.do("host", "--stop")
    bob.do("agent", "stop")
    (tree / "later").write_text("alice alone has heard of this")
    owner.do("backup", str(tree), "--to", "alice")
    wait_noted(alice)
    alice.do("host", "--stop")
    owner.do("agent", "stop")
    shutil.rmtree(owner.path)
    world.restart_server(server, data=data)

    heir = world.home("heir")
    assert alice.do("browse").rows == [], "nobody is on offer"
    first = heir.do("recover", "--yes", stdin=words + "\n").last
    assert first["peers"] == [alice_id]
    assert witnesses_of(first) == {alice_id: (True, 2), bob_id: (False, 1)}
    assert first["unheard"] == [bob_id]
    assert len(heir.do("snapshots").rows) == 2
    bob.do("agent", "start")
    again = heir.do("recover").last
    assert witnesses_of(again) == {alice_id: (True, 2), bob_id: (True, 1)}
    assert again["unheard"] == []
    target = world.path / "restored"
    heir.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)


def what_lies_at(pair: Pair) -> dict[Path, bytes]:
    """Everything that the host keeps for the owner."""
    root = pair.host.path / "store" / "agreements"
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def read_whereabouts(pair: Pair) -> Iterator[tuple[bytes, bytes]]:
    """Where the host would look for its owner, and what it was given to leave notes with."""
    with closing(sqlite3.connect(f"file:{pair.host.path / 'state.db'}?mode=ro", uri=True)) as state:
        yield from state.execute("SELECT peer,whereabouts FROM peers ORDER BY peer")
        yield from state.execute("SELECT key,value FROM settings WHERE key LIKE 'note.slot.%'")


def lose_owner(pair: Pair) -> None:
    """Delete the owner's home, as a fire would."""
    pair.owner.do("agent", "stop")
    shutil.rmtree(pair.owner.path)


def test_without_any_server_the_words_and_where_a_host_is_are_enough(world: World, tree: Path):
    server = world.start_server()
    pair = agree(world)
    pair.owner.do("backup", str(tree))
    where = str(pair.host.do("id", "--where").last["where"])
    assert where.startswith(f"{pair.host_id}@")
    lose_owner(pair)
    server.end()

    heir = world.home("heir", servers="")
    refused = heir.run("recover", "--yes", "--peer", f"{pair.host_id}@{where.rpartition('@')[2]}", stdin=pair.words)
    assert (refused.code, heir.path.exists()) == (2, False)
    assert "`id --where`" in refused.stderr
    assert heir.run("recover", "--yes", stdin=pair.words).code == 14
    said = heir.do("recover", "--yes", "--peer", where, stdin=pair.words).last
    assert (said["peers"], said["snapshots"], said["proven"]) == ([pair.host_id], 1, False)
    assert any("not provable as newest" in note for note in said["notes"])
    target = world.path / "restored"
    heir.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)


@pytest.mark.usefixtures("hasty")
def test_a_check_of_the_words_tells_what_they_bring_back_and_changes_nothing(
    world: World, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    passing = world.path / "tmp"
    passing.mkdir()
    monkeypatch.setenv("TMPDIR", str(passing))
    pair = agree(world)
    pair.owner.do("backup", str(tree))
    wait_noted(pair.host)
    pair.host.do("host", "--stop")
    kept, where = what_lies_at(pair), list(read_whereabouts(pair))

    anywhere = world.home("anywhere")
    said = anywhere.do("recover", "--check", "--yes", stdin=pair.words).last
    assert (said["event"], said["peers"], said["snapshots"], said["unheard"]) == ("done", [pair.host_id], 1, [])
    assert not anywhere.path.exists()
    owners = pair.owner.do("recover", "--check", "--yes", stdin=pair.words).last
    assert owners["snapshots"] == 1, "it does not matter which home it is tried beside"
    assert what_lies_at(pair) == kept
    assert list(read_whereabouts(pair)) == where, "the host would look for its owner where nobody is"
    assert pair.owner.do("snapshots").rows[0]["snapshot"]
    (tree / "more").write_text("the owner goes on as before")
    assert pair.owner.do("backup", str(tree)).last["peers"] == [pair.host_id]
    others = str(world.peer("other")[1])
    assert anywhere.run("recover", "--check", "--yes", stdin=others).code == 10
    assert anywhere.run("recover", "--check", "--yes", stdin="zoo " * 24).code == 2
    assert anywhere.run("recover", "--check", "--take-over", "--yes", stdin=pair.words).code == 2
    pair.host.do("agent", "stop")
    killed = anywhere.start("recover", "--check", "--yes", stdin=pair.words)
    killed.wait_event("progress", phase="dialling hosts")
    killed.process.kill()
    wait_until(lambda: list(passing.iterdir()) == [], "the keys to be gone")
    away = anywhere.run("recover", "--check", "--yes", stdin=pair.words)
    assert away.code == 11, away
    assert not anywhere.path.exists()
    assert list(passing.iterdir()) == []


def test_a_host_that_lost_its_home_takes_up_the_store_that_survived_and_says_what_is_lost(world: World, tree: Path):
    world.start_server()
    disk = world.path / "disk"
    host, host_words = world.peer("host")
    owner, _ = world.peer("owner")
    offer = ("host", "--storage", "1GB", "--accept", "all", "--store", str(disk), "--detach", "--yes")
    assert not [event for event in host.do(*offer).events if event["event"] == "note"]
    owner.do("connect", host.peer_id(), "--storage", "400MB", "--name", "alice", "--yes", "--wait", "60s")
    owner.do("backup", str(tree))
    (tree / "later").write_text("second")
    owner.do("backup", str(tree))
    wait_noted(host)
    owner.do("agent", "stop")
    host.do("agent", "stop")
    shutil.rmtree(host.path)
    gone = next(path for path in disk.glob("agreements/*/packs/*/*") if path.suffix != ".leaves")
    gone.unlink()

    nothing = host.run("recover", "--yes", stdin=host_words)
    assert nothing.code == 10, "it had no backups of its own"
    assert "takes up a store that survived" in nothing.stderr
    notes = [str(event["text"]) for event in host.do(*offer).events if event["event"] == "note"]
    assert any("took up the store that was here" in note and "1 owner under 1 agreement" in note for note in notes)
    assert any(note.startswith("1 pack of ") and "gone from the disk" in note for note in notes), notes
    assert host.do("status").last["hosting"]["noted"] == 0
    found = owner.run("backup", str(tree))
    assert found.code == 13, "the pack that is gone was acknowledged, and is a large part of so little"
    assert any(event["event"] == "fault" and "are gone: 1" in str(event["message"]) for event in found.events)
    assert "peers forgive alice" in found.stderr
    owner.do("peers", "forgive", "alice")
    owner.do("backup", str(tree))
    wait_noted(host)
    assert owner.do("check").last["problems"] == []


def test_the_index_is_rebuilt_from_directories_alone(world: World):
    root = world.path / "large"
    make_random_files(root, count=6, size_bytes=16_000_000, seed=5)
    pair = agree(world)
    pair.owner.do("backup", str(root))
    wait_noted(pair.host)
    stored = pair.stored_bytes()
    lose_owner(pair)
    heir = world.home("heir")
    said = heir.do("recover", "--yes", stdin=pair.words).last
    assert said["sets"] == [""]
    (session,) = heir.do("sessions").rows
    assert said["packs"] >= 6
    assert stored > 96_000_000
    # Directories lie in the last 128 KiB of packs, read in whole leaves. Beside them, the list of the newest head and
    # its snapshots are read, as everything is: in blocks of 1 MiB.
    assert session["received_bytes"] < said["packs"] * (128 + 16) * 1024 + 3 * 1024**2
    assert session["received_bytes"] < stored / 20


def test_one_host_that_is_found_leads_to_the_others_and_to_names_comparisons_and_settings(world: World, tree: Path):
    world.start_server()
    owner, words = world.peer("owner")
    alice, alice_id = make_host(world, "alice", owner)
    _, bob_id = make_host(world, "bob", owner)
    owner.do("peers", "set", "bob", "--verified")
    owner.do("config", "set", "region", "EU")
    owner.do("backup", str(tree))
    where = str(alice.do("id", "--where").last["where"])
    owner.do("agent", "stop")
    shutil.rmtree(owner.path)

    heir = world.home("heir", servers="")
    done = heir.do("recover", "--peer", where, "--yes", stdin=words + "\n").last
    assert sorted(done["peers"]) == sorted([alice_id, bob_id]), "no server, and nobody said where bob is"
    rows = {row["peer_id"]: row for row in heir.do("peers").rows}
    assert {peer: row["alias"] for peer, row in rows.items()} == {alice_id: "alice", bob_id: "bob"}
    assert (rows[alice_id]["verified"], rows[bob_id]["verified"]) == (False, True)
    assert heir.do("config", "get", "region").last["value"] == "EU"


def test_a_printed_kit_and_the_words_bring_everything_back_without_any_server(world: World, tree: Path):
    pair = agree(world)
    pair.owner.do("backup", str(tree))
    assert any("recovery kit" in note for note in pair.owner.do("status").last["notes"])
    kit = world.path / "kit.txt"
    pair.owner.do("kit", "--to", str(kit))
    assert not any("recovery kit" in note for note in pair.owner.do("status").last["notes"])
    pair.owner.do("agent", "stop")
    shutil.rmtree(pair.owner.path)

    (command,) = [
        shlex.split(line)
        for line in kit.read_text().replace("\\\n", "").splitlines()  # a shell joins what ends so, too
        if line.startswith("  backup-peer recover")
    ]
    words = [word for word in command[1:] if not word.startswith("ws://") and word != "--server"]
    assert "--peer" in words
    heir = world.home("heir", servers="")
    assert heir.do(*words, "--yes", stdin=pair.words + "\n").last["peers"] == [pair.host_id]


@pytest.mark.usefixtures("hasty")
def test_a_note_of_a_host_that_is_away_bears_witness_of_what_the_others_lack(world: World, tree: Path):
    world.start_server()
    owner, words = world.peer("owner")
    alice, alice_id = make_host(world, "alice", owner)
    bob, bob_id = make_host(world, "bob", owner)
    owner.do("backup", str(tree))
    (tree / "later").write_text("bob alone has heard of this")
    owner.do("backup", str(tree), "--to", "bob")
    wait_noted(alice)
    wait_noted(bob)
    for host in (alice, bob):
        host.do("host", "--stop")
    bob.do("agent", "stop")
    owner.do("agent", "stop")
    shutil.rmtree(owner.path)

    heir = world.home("heir")
    found = heir.run("recover", "--yes", stdin=words)
    assert found.code == 3, "an older state is never passed off as the newest"
    assert "head 2" in str(found.last["message"])
    notes = [str(event["text"]) for event in found.events if event["event"] == "note"]
    assert any("was not heard" in note and "names head 2" in note for note in notes)
    refused = heir.run("restore", "latest", "--target", str(world.path / "too early"), "--wait", "1s")
    assert refused.code == 11
    bob.do("agent", "start")
    again = heir.do("recover").last
    assert witnesses_of(again) == {alice_id: (True, 1), bob_id: (True, 2)}
    assert again["proven"] is True
    target = world.path / "restored"
    heir.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)
