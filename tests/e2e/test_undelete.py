"""The lock against a thief who has everything on the owner's disk: nothing is lost, and everybody is told."""

import re
import shutil
from pathlib import Path

import pytest

from e2e.harness import Home, Pair, World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "files"
    make_random_files(root, count=6, size_bytes=900_000, seed=61)
    return root


def snapshots(home: Home) -> list[str]:
    return [str(row["snapshot"]) for row in home.do("snapshots").rows]


def steal(world: World, owner: Home) -> Home:
    """Copy a home with all its keys; the owner's machine is off meanwhile."""
    owner.do("agent", "stop")
    thief = world.home("thief")
    shutil.copytree(owner.path, thief.path, symlinks=True, dirs_exist_ok=True)
    return thief


def destroy(thief: Home) -> None:
    thief.do("forget", *snapshots(thief), "--yes")
    assert thief.do("prune", "--yes").last["hosts"][0]["doubled"], "a thief is told, too, and can't help it"
    thief.do("agent", "stop")


def test_a_thief_who_forgets_and_prunes_everything_is_seen_and_undone(world: World, tree: Path):
    pair = agree(world, lock="1d")
    owner, host = pair.owner, pair.host
    first = str(owner.do("backup", str(tree)).last["snapshot"])
    kept = describe_tree(tree)
    make_random_files(tree, count=4, size_bytes=900_000, seed=62)
    second = str(owner.do("backup", str(tree)).last["snapshot"])
    wanted = describe_tree(tree)
    thief = steal(world, owner)
    destroy(thief)
    wait_until(lambda: host.do("status").last["notes"], "the host's human to be warned")
    (note,) = host.do("status").last["notes"]
    assert re.search(r"asked to delete (9\d|100) % of its data \(\d", note)
    assert "by another way" in note
    rows = [row for row in host.do("peers").rows if row["role"] == "owner"]
    assert rows[0]["deleted_bytes"] > 7_000_000, "it counts as used until the hold is over"
    assert rows[0]["next_free"] > rows[0]["last_seen"]
    assert snapshots(owner) == [first, second], "the owner's own list is of before"
    plan = owner.do("peers", "undelete", "alice").last
    assert [row["snapshot"] for row in plan["snapshots"]] == [first, second]
    assert plan["packs"] >= 2
    assert snapshots(owner) == [], "hosts know a newer list"
    done = owner.do("peers", "undelete", "alice", first[:8]).last
    assert (done["snapshots"], done["kept"]) == ([first], 1)
    done = owner.do("peers", "undelete", "alice", "--all").last
    assert (done["snapshots"], done["kept"]) == ([second], 2)
    assert snapshots(owner) == [first, second]
    assert host.do("status").last["notes"] == [], "nothing of it is to be erased any more"
    assert owner.run("peers", "undelete", "alice", "--all").code == 10, "nothing is left to have back"
    for snapshot, before in ((first, kept), (second, wanted)):
        target = world.path / snapshot
        owner.do("restore", snapshot, "--target", str(target), "--verify")
        assert describe_tree(below(target, tree)) == before
    assert owner.do("check", "--read-data").last["event"] == "done"
    again = owner.do("backup", str(tree)).last
    assert again["new_bytes"] < 300_000, "what came back is relied on again"
    heir = world.home("heir")
    heir.do("recover", "--yes", stdin=pair.words + "\n")
    assert snapshots(heir)[:2] == [first, second]


def test_an_owner_without_a_repository_of_before_has_it_back_from_the_packs_alone(world: World, tree: Path):
    pair = agree(world, lock="1d")
    owner = pair.owner
    first = str(owner.do("backup", str(tree)).last["snapshot"])
    wanted = describe_tree(tree)
    destroy(steal(world, owner))
    for path in owner.path.rglob("repository/**/*.db*"):
        path.unlink()
    assert [row["snapshot"] for row in owner.do("peers", "undelete", "alice", "--list").last["snapshots"]] == [first]
    owner.do("peers", "undelete", "alice", first)
    owner.do("restore", first, "--target", str(world.path / "out"), "--verify")
    assert describe_tree(below(world.path / "out", tree)) == wanted
    let_go_with_the_words(pair, first)


def let_go_with_the_words(pair: Pair, snapshot: str) -> None:
    """The owner deletes, lowers the lock, has the deleted erased at once, and ends it: each by its words alone."""
    owner, host, words = pair.owner, pair.host, pair.words + "\n"
    owner.do("forget", snapshot, "--yes")
    owner.do("prune", "--yes")
    (before,) = [row for row in host.do("peers").rows if row["role"] == "owner"]
    assert before["deleted_bytes"] > 5_000_000
    others = "abandon " * 23 + "art\n"
    assert owner.run("peers", "purge", "alice", "--deleted", "--yes", stdin=others).code == 12
    assert owner.do("peers", "lock", "alice", "1h", "--yes", stdin=words).last["lock_s"] == 3600
    host.kill_agent()
    host.do("agent", "start")
    assert any("lowered its lock" in note for note in host.do("status").last["notes"]), "also after a restart"
    done = owner.do("peers", "purge", "alice", "--deleted", "--yes", stdin=words).last
    assert done["bytes"] >= before["deleted_bytes"], "whatever was deleted"
    wait_until(lambda: host.do("peers").rows[0]["deleted_bytes"] == 0, "the host to erase it")
    assert any("erased at once" in note for note in host.do("status").last["notes"])
    assert not any("24 words" in note for note in host.do("status", "--seen").last["notes"])
    assert owner.run("peers", "purge", "alice", "--yes", stdin=words).code == 13, "not without a notice"
    owner.do("peers", "end", "alice", "--yes")
    assert owner.do("peers", "purge", "alice", "--yes", stdin=words).last["ended"]
    wait_until(lambda: host.do("peers").rows[0]["role"] == "known", "the agreement to end")
    assert owner.do("peers").rows[0]["role"] == "known"


def test_wrong_words_are_told_and_change_nothing(world: World, tree: Path):
    pair = agree(world, lock="1d")
    owner = pair.owner
    owner.do("backup", str(tree))
    assert owner.do("peers", "undelete", "alice").last["snapshots"] == []
    assert owner.run("peers", "undelete", "bob").code == 10
    assert owner.run("peers", "undelete").code == 2
    assert owner.run("peers", "undelete", "alice", "--all", "abcd1234").code == 2
    assert owner.run("peers", "undelete", "alice", "abcd1234").code == 10
    pair.host.do("agent", "stop")
    assert owner.run("peers", "undelete", "alice", "--all").code == 11
