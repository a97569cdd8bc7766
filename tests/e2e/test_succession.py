"""`recover --new-identity` with real processes: a home is stolen, its thief shut out, all restores, words find it."""

import shutil
from pathlib import Path

import pytest

from backuppeer.agent.home.home import Home as Folder
from backuppeer.agent.home.keyring import load_keys
from backuppeer.crypto.keys import derive_authority, derive_working
from backuppeer.crypto.words import decode_words
from e2e.harness import Home, Pair, World, below, describe_tree, holds_any
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
