"""Backup sets, their rules and hooks, and backups that want a number of copies, with real processes."""

from pathlib import Path

import pytest

from e2e.harness import Home, Pair, World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
SIZE = 400_000


def folder(world: World, name: str, *, count: int = 5, seed: int = 1) -> Path:
    made = world.path / name
    make_random_files(made, count=count, size_bytes=SIZE, seed=seed)
    return made


def join(world: World, pair: Pair, name: str) -> Home:
    """Let the owner agree with one more host."""
    other, _ = world.peer(name)
    other.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    pair.owner.do("connect", other.peer_id(), "--storage", "400MB", "--name", name, "--yes", "--wait", "30s")
    return other


def test_a_set_grows_is_backed_up_by_one_word_and_forgets_by_its_own_rules(world: World):
    pair = agree(world)
    owner, docs, photos = pair.owner, folder(world, "docs", seed=1), folder(world, "photos", seed=2)
    none = owner.run("backup")
    assert (none.code, "nothing to back up yet" in none.stderr) == (2, True)
    owner.do("backup", "add", str(docs))
    first = owner.do("backup").last
    assert (first["set"], first["read_bytes"]) == ("default", 5 * SIZE)
    owner.do("backup", str(photos))
    owner.do("backup", "add", str(photos))
    both = owner.do("backup").last
    assert (both["files"], both["unchanged"], both["read_bytes"]) == (10, 10, 0), "what any snapshot has is not read"

    rows = owner.do("snapshots", "--set", "default").rows
    assert [row["snapshot"] for row in rows] == [first["snapshot"], both["snapshot"]]
    refused = owner.run("forget", "--yes")
    assert (refused.code, "set default has none" in refused.stderr) == (2, True)
    with (owner.path / "config.toml").open("a") as settings:
        settings.write("[sets.default.retention]\nlast = 1\n")
    assert owner.do("forget", "--yes").last["forgotten"] == [first["snapshot"]]
    assert len(owner.do("snapshots").rows) == 2, "what is of no set stays"
    owner.do("restore", "latest", "--set", "default", "--target", str(world.path / "out"))
    for tree in (docs, photos):
        assert describe_tree(below(world.path / "out", tree)) == describe_tree(tree)

    owner.do("backup", "remove", str(docs))
    assert owner.do("backup").last["files"] == 5
    assert owner.run("backup", "--set", "other").code == 10


def test_hooks_run_around_the_backup_of_a_set_and_a_before_that_fails_stops_it(world: World):
    pair = agree(world)
    owner, docs, log = pair.owner, folder(world, "docs"), world.path / "log"
    settings = f"""
[sets.default]
paths = ["{docs}"]
[sets.default.hooks]
before = "test ! -e {world.path}/veto && echo dumped | tee -a {log}"
after = ["/bin/sh", "-c", "echo after $BACKUPPEER_SNAPSHOT >> {log}"]
failed = "echo failed >> {log}"
"""
    (owner.path / "config.toml").write_text(settings)
    (owner.path / "config.toml").chmod(0o600)
    done = owner.do("backup")
    assert log.read_text().splitlines() == ["dumped", f"after {done.last['snapshot']}"]
    assert any(event.get("text") == "hook before: dumped" for event in done.events)
    (world.path / "veto").touch()
    stopped = owner.run("backup")
    assert stopped.code == 1
    assert "the hook `before` of set default failed (exit code 1)" in stopped.stderr
    assert log.read_text().splitlines()[2:] == ["failed"]
    assert len(owner.do("snapshots").rows) == 1
    unknown = owner.run("snapshots", "--set", "nope")
    assert (unknown.code, "there is no snapshot of a set 'nope'" in unknown.stderr) == (10, True)
    owner.do("backup", "add", str(docs), "--set", "later")
    assert owner.do("snapshots", "--set", "later").rows == [], "a set that was not run yet is a set"


def test_one_copy_is_enough_unless_more_are_wanted_and_then_the_missing_host_is_named(world: World):
    pair = agree(world)
    docs = folder(world, "docs")
    other = join(world, pair, "other")
    assert len(pair.owner.do("backup", str(docs), "--copies", "2").last["peers"]) == 2
    three = pair.owner.run("backup", str(docs), "--copies", "3")
    assert (three.code, "has 2 of 3 copies" in three.stderr) == (3, True)
    other.do("agent", "stop")
    enough = pair.owner.do("backup", str(docs))
    assert [host["name"] for host in enough.last["left_out"]] == ["other"]
    assert "other has not got it" in enough.stderr
    short = pair.owner.run("backup", str(docs), "--copies", "2")
    assert short.code == 3
    assert "has 1 of 2 copies (other seems to be offline" in short.stderr


@pytest.mark.usefixtures("hasty")
def test_a_host_that_dies_in_the_middle_does_not_make_the_others_fail(world: World):
    pair = agree(world)
    other = join(world, pair, "other")
    tree = world.path / "files"
    make_random_files(tree, count=60, size_bytes=3_000_000, seed=9)
    running = pair.owner.start("backup", str(tree))
    wait_until(lambda: len(pair.packs()) >= 2, "the first packs")
    other.kill_agent()
    done = running.wait()
    assert done.code == 0, done
    assert [host["name"] for host in done.last["left_out"]] == ["other"]
    pair.owner.do("restore", "latest", "--target", str(world.path / "out"))
    assert describe_tree(below(world.path / "out", tree)) == describe_tree(tree)
