"""`forget` and `tag` with real processes: a host away, an agent killed in the middle, a restore of what was kept."""

from pathlib import Path

import pytest

from e2e.harness import Home, Pair, World, agree, below, describe_tree
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "files"
    make_random_files(root, count=4, size_bytes=400_000, seed=11)
    return root


def back_up(home: Home, tree: Path, name: str, *words: str) -> str:
    """Add a file, make a snapshot and return its id."""
    (tree / name).write_text(name)
    return str(home.do("backup", str(tree), *words).last["snapshot"])


def listed(home: Home, *words: str) -> list[str]:
    return [str(row["snapshot"]) for row in home.do("snapshots", *words).rows]


def assert_heir_finds(world: World, pair: Pair, name: str, snapshots: list[str]) -> Home:
    heir = world.home(name)
    heir.do("recover", "--yes", stdin=pair.words + "\n")
    assert listed(heir) == snapshots
    return heir


def test_backups_are_tagged_and_forgotten_by_rules_and_what_is_kept_comes_back(world: World, tree: Path):
    pair = agree(world)
    owner = pair.owner
    made = [back_up(owner, tree, name) for name in ("one", "two", "three", "four")]
    at_four = describe_tree(tree)
    made.append(back_up(owner, tree, "five"))
    (changed,) = owner.do("tag", made[0], "--add", "first", "--add", "keep").last["changed"]
    tagged = str(changed["snapshot"])
    assert listed(owner, "--tag", "keep") == [tagged]
    assert owner.run("tag", made[0], "--add", "x").code == 10, "the old id is gone"

    refused = owner.run("forget", "--keep-last", "2", "--keep-tag", "keep")
    assert refused.code == 2, "nobody is there to ask"
    assert owner.run("forget", "deadbeef", "--yes").code == 10
    assert owner.run("forget", "--tag", "keep", "--yes").code == 2, "no rule"
    dry = owner.do("forget", "--keep-last", "2", "--keep-tag", "keep", "--dry-run")
    assert dry.last["forgotten"] == made[1:3]
    assert listed(owner) == [tagged, *made[1:]]
    done = owner.do("forget", "--keep-last", "2", "--keep-tag", "keep", "--yes").last
    assert (done["forgotten"], done["kept"], done["peers"]) == (sorted(made[1:3]), 3, [pair.host_id])
    kept = [tagged, *made[3:]]
    assert listed(owner) == kept
    assert listed(owner, "--latest", "1", "--group-by", "host") == kept[-1:]
    assert owner.run("restore", made[1], "--target", str(world.path / "no")).code == 10

    heir = assert_heir_finds(world, pair, "heir", kept)
    target = world.path / "out"
    heir.do("restore", made[3], "--target", str(target))
    assert describe_tree(below(target, tree)) == at_four
    assert heir.run("forget", made[3], "--yes").code == 13, "a recovered home may only read"
    assert heir.run("tag", made[3], "--add", "x").code == 13


@pytest.mark.usefixtures("hasty")
def test_a_host_that_is_away_hears_of_it_with_the_next_backup_and_without_any_nothing_changes(world: World, tree: Path):
    pair = agree(world)
    owner = pair.owner
    other, _ = world.peer("other")
    other.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    owner.do("connect", other.peer_id(), "--storage", "400MB", "--name", "other", "--yes", "--wait", "30s")
    made = [back_up(owner, tree, name) for name in ("one", "two", "three")]
    other.do("agent", "stop")
    done = owner.do("forget", made[0], "--yes")
    assert done.last["peers"] == [pair.host_id]
    assert [host["name"] for host in done.last["left_out"]] == ["other"]
    pair.host.do("agent", "stop")
    gone = owner.run("forget", made[1], "--yes")
    assert gone.code == 11
    assert "nothing was changed" in gone.last["message"]
    assert listed(owner) == made[1:]
    other.do("agent", "start")
    pair.host.do("agent", "start")
    made.append(back_up(owner, tree, "four"))
    assert listed(owner) == made[1:]
    pair.host.do("agent", "stop")
    heir = world.home("heir")
    heir.run("recover", "--yes", "--peer", other.peer_id(), stdin=pair.words + "\n")
    assert listed(heir) == made[1:], "the host that was away has the new list"
    heir.do("restore", made[1], "--target", str(world.path / "out"))


def test_an_agent_killed_in_mid_forget_leaves_the_old_list_or_the_new_one(world: World, tree: Path):
    pair = agree(world)
    owner = pair.owner
    moments = [
        {"name": "state", "state": "connecting"},
        {"name": "state", "state": "connected"},
        {"name": "progress", "phase": "storing the list of snapshots"},
        {"name": "done"},
    ]
    before = [back_up(owner, tree, "first")]
    for number, moment in enumerate(moments):
        before.append(back_up(owner, tree, f"{number}"))
        running = owner.start("forget", before[0], "--yes")
        running.wait_event(**moment)
        owner.kill_agent()
        ended = running.wait()
        assert "Traceback" not in ended.stderr
        assert listed(owner) in (before, before[1:])
        # The next backup carries on from the list that stands, and so do the words alone.
        made = back_up(owner, tree, f"after {number}")
        now = listed(owner)
        assert now in ([*before, made], [*before[1:], made])
        assert ended.code != 0 or now == [*before[1:], made]
        assert_heir_finds(world, pair, f"heir{number}", now)
        before = now
    target = world.path / "out"
    owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)
