"""`recover --new-identity` with real processes: a home is stolen, its thief shut out, all restores, words find it."""

import shutil
from pathlib import Path

import pytest

from backuppeer.agent.home.home import Home as Folder
from backuppeer.agent.home.keyring import load_keys
from backuppeer.crypto.keys import derive_authority, derive_working
from backuppeer.crypto.words import decode_words
from e2e.harness import Home, Pair, World, below, describe_tree, holds_any, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "files"
    make_random_files(root, count=3, size_bytes=300_000, seed=69)
    return root


def restore(home: Home, snapshot: str, target: Path) -> dict[str, object]:
    return home.do("restore", snapshot, "--target", str(target)).last


def test_a_thief_is_shut_out_all_restores_in_the_new_home_and_the_words_alone_lead_there(
    world: World, settled: Pair, tree: Path
):
    pair = settled
    before = str(pair.owner.do("backup", str(tree)).last["snapshot"])
    at_first, thief = describe_tree(tree), pair.owner
    old = thief.peer_id()

    heir = world.home("heir")
    done = heir.do("recover", "--new-identity", "--yes", stdin=pair.words + "\n").last
    new = heir.peer_id()
    assert (done["peer_id"], done["former"], done["peers"], done["epoch"]) == (new, old, [pair.host_id], 2)
    assert new != old

    stolen = world.path / "stolen"
    for verb in (("restore", "latest", "--target", str(stolen)), ("backup", str(tree))):
        late = thief.run(*verb)
        assert late.code == 12, (verb, late)
    assert not any(path.is_file() for path in stolen.rglob("*")), "the thief read something"
    assert any("goes on as" in str(note) for note in thief.do("status").last["notes"])

    (tree / "later").write_text("of the new identity")
    sent = heir.do("backup", str(tree)).last
    assert sent["new_bytes"] < 50_000, "what was there was sent again"
    restore(heir, before, world.path / "before")
    assert describe_tree(below(world.path / "before", tree)) == at_first

    third = world.home("third")
    found = third.do("recover", "--yes", stdin=pair.words + "\n").last
    assert (found["peer_id"], found["snapshots"]) == (new, 2)
    restore(third, "latest", world.path / "latest")
    assert describe_tree(below(world.path / "latest", tree)) == describe_tree(tree)

    master = decode_words(pair.words)
    secrets = [pair.words.encode(), master, derive_authority(master).seed(), derive_working(master, 1).secret]
    assert holds_any(heir.path, secrets) == []
    assert load_keys(Folder(heir.path)).former == (), "every host has followed"

    # The thief's home was the owner's own: it follows, too, with the words.
    assert thief.do("recover", "--yes", stdin=pair.words + "\n").last["peer_id"] == new
    shutil.rmtree(stolen, ignore_errors=True)
    restore(thief, "latest", stolen)
    assert describe_tree(below(stolen, tree)) == describe_tree(tree)


def packs_in(home: Home) -> list[Path]:
    return sorted(path for path in (home.path / "store" / "agreements").glob("*/packs/*/*") if path.is_file())


def test_a_robbed_host_goes_on_its_owner_follows_by_itself_and_the_copy_of_its_home_gets_nothing(
    world: World, tree: Path
):
    world.start_server()
    (host, words), (owner, _) = world.peer("host"), world.peer("owner")
    old = host.peer_id()
    host.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    owner.do("connect", old, "--storage", "150MB", "--name", "alice", "--yes", "--wait", "60s")
    before = str(owner.do("backup", str(tree)).last["snapshot"])
    at_first = describe_tree(tree)
    host.do("agent", "stop")
    thief = world.home("thief")
    shutil.copytree(host.path, thief.path, dirs_exist_ok=True)

    done = host.do("recover", "--new-identity", "--yes", stdin=words + "\n").last
    new = str(done["peer_id"])
    assert (done["former"], done["peers"], len(done["owners"]), done["stuck"]) == (old, [], 1, [])
    wait_until(
        lambda: any(row["peer_id"] == new and row["role"] == "host" for row in owner.do("peers").rows),
        "the owner to follow",
    )
    shown = owner.do("peers", "show", "alice").last
    assert shown["peer_id"] == new
    assert any("what it did as that counts, good and bad" in clause for clause in shown["lineage"])
    assert any("Compare the words anew" in str(note) for note in owner.do("status").last["notes"])

    thief.do("status")
    kept = packs_in(thief)
    (tree / "later").write_text("of the time after")
    sent = owner.do("backup", str(tree)).last
    assert (sent["peers"], sent["new_bytes"] < 50_000) == ([new], True), "what was there was sent again"
    restore(owner, before, world.path / "before")
    assert describe_tree(below(world.path / "before", tree)) == at_first
    owner.do("audit", "--now")
    record = next(row for row in owner.do("reputation").rows if row["peer_id"] == new)
    assert record["trust"] > 0
    assert packs_in(thief) == kept, "the thief got something"
