"""Files of a home deleted under its running agent: noticed by the next command, and nothing that hosts keep is lost."""

from pathlib import Path

import pytest

from e2e.harness import Pair, World, below, describe_tree
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "files"
    make_random_files(root, count=4, size_bytes=200_000, seed=61)
    return root


def delete(pair: Pair, name: str, suffixes: tuple[str, ...] = ("", "-wal", "-shm")) -> Path:
    (path,) = pair.owner.path.rglob(name)
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return path


def assert_whole(world: World, pair: Pair, tree: Path, snapshots: list[str]) -> None:
    """What there is outlives the agent that had the file open, here and with a host."""
    pair.owner.do("agent", "stop")
    assert [row["snapshot"] for row in pair.owner.do("snapshots").rows] == snapshots
    target = world.path / f"restored-{len(snapshots)}"
    pair.owner.do("restore", "latest", "--target", str(target), "--verify")
    assert describe_tree(below(target, tree)) == describe_tree(tree)
    pair.owner.do("check", "--read-data")


@pytest.mark.parametrize("suffixes", [("", "-wal", "-shm"), ("",)])
def test_a_backup_goes_on_from_what_the_hosts_say(world: World, settled: Pair, tree: Path, suffixes: tuple[str, ...]):
    snapshots = [str(settled.owner.do("backup", str(tree)).last["snapshot"])]
    for number, name in enumerate(("index.db", "ledger.db", "trees.db", "partial.db")):
        path = delete(settled, name, suffixes)
        make_random_files(tree, count=1, size_bytes=200_000, seed=62 + number)
        snapshots.append(str(settled.owner.do("backup", str(tree)).last["snapshot"]))
        assert path.exists(), "written to a file that has a name"
        assert_whole(world, settled, tree, snapshots)


@pytest.mark.parametrize("name", ["index.db", "ledger.db"])
def test_check_says_what_is_gone(world: World, settled: Pair, tree: Path, name: str):
    first = str(settled.owner.do("backup", str(tree)).last["snapshot"])
    path = delete(settled, name)
    found = settled.owner.run("check")
    assert found.code == 15, found
    assert f"{path} was deleted or replaced while the agent ran" in found.stdout
    settled.owner.do("check", "--repair", "--yes")
    settled.owner.do("check")
    assert_whole(world, settled, tree, [first])


@pytest.mark.parametrize("suffixes", [("", "-wal", "-shm"), ("",)])
def test_the_state_is_written_again_by_who_still_has_it_open(
    world: World, settled: Pair, tree: Path, suffixes: tuple[str, ...]
):
    first = str(settled.owner.do("backup", str(tree)).last["snapshot"])
    path = delete(settled, "state.db", suffixes)
    second = str(settled.owner.do("backup", str(tree)).last["snapshot"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert_whole(world, settled, tree, [first, second])
    assert [row["alias"] for row in settled.owner.do("peers").rows] == ["alice"]


def test_a_state_that_was_replaced_is_not_written_to(settled: Pair, tree: Path):
    pair = settled
    pair.owner.do("backup", str(tree))
    pair.owner.do("agent", "stop")
    (path,) = pair.owner.path.rglob("state.db")
    image = path.read_bytes()
    pair.owner.do("snapshots")
    path.unlink()
    path.write_bytes(image)
    told = pair.owner.run("backup", str(tree))
    assert told.code == 1
    assert "was replaced while the agent was running" in told.last["message"]
    assert "agent stop" in told.last["hint"]
    pair.owner.do("agent", "stop")
    pair.owner.do("backup", str(tree))
