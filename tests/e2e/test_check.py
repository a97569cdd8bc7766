"""`check` names what is damaged, where and what it costs; `check --repair` mends what can be (issue 2, "Bad input")."""

import json
import os
from pathlib import Path

import pytest

from e2e.harness import Pair, Result, World, agree, below, describe_tree, wait_until
from e2e.seen import note
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def pair(world: World) -> Pair:
    return agree(world)


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "files"
    make_random_files(root, count=12, size_bytes=1_500_000, seed=21)
    return root


def rot(pack: Path) -> None:
    """Flip bytes in the middle of a pack, as a dying disk would."""
    with pack.open("r+b") as file:
        file.seek(pack.stat().st_size // 2)
        file.write(os.urandom(4096))


def done_of(result: Result) -> dict:
    (done,) = [event for event in result.events if event["event"] == "done"]
    return done


def add_host(world: World, pair: Pair, name: str):
    other, _ = world.peer(name)
    other.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    pair.owner.do("connect", other.peer_id(), "--storage", "400MB", "--name", name, "--yes", "--wait", "30s")
    return other


def test_a_check_of_what_is_whole_says_so_and_remembers_what_it_read(pair: Pair, tree: Path):
    pair.owner.do("backup", str(tree))
    quick = done_of(pair.owner.do("check"))
    assert (quick["problems"], quick["read_copies"], quick["unread_copies"]) == ([], 0, quick["copies"])
    half = done_of(pair.owner.do("check", "--read-data-subset", "1/2"))
    rest = done_of(pair.owner.do("check", "--read-data-subset", "2/2"))
    assert half["read_copies"] + rest["read_copies"] == rest["copies"] > 0
    assert rest["unread_copies"] == 0
    assert rest["oldest_verified"]


def test_a_pack_that_vanishes_under_a_running_host_is_told_at_once_and_copied_from_the_other(
    world: World, pair: Pair, tree: Path
):
    add_host(world, pair, "second")
    pair.owner.do("backup", str(tree))
    pair.packs()[0].unlink()
    found = pair.owner.run("check", "--read-data")
    assert found.code == 15
    (problem,) = done_of(found)["problems"]
    assert problem["peer_id"] == pair.host.peer_id()
    assert "waiting" not in {event.get("state") for event in found.events}
    pair.owner.run("check", "--repair", "--yes")
    assert pair.owner.do("check", "--read-data").code == 0


def test_a_rotten_pack_is_named_with_its_host_snapshot_and_files(world: World, pair: Pair, tree: Path):
    snapshot = pair.owner.do("backup", str(tree)).last["snapshot"]
    rot(pair.packs()[0])
    assert pair.owner.run("check").code == 0  # nobody has read it
    result = pair.owner.run("check", "--read-data")
    assert result.code == 15, result
    done = done_of(result)
    assert [host["damaged"] for host in done["hosts"]] == [1]
    assert any("alice" in problem["text"] for problem in done["problems"])
    assert done["snapshots_hit"] == [snapshot]
    named = {Path(name).name for name in result.named_files()}
    assert 0 < len(named) < 12
    assert done["files_hit"] == len(named)
    target = world.path / "out"
    assert pair.owner.run("restore", "latest", "--target", str(target)).code == 15
    whole = {path.name for path in below(target, tree).iterdir()}
    assert whole == {path.name for path in tree.iterdir()} - named
    # It is remembered, so that nobody takes the next quick check for good news.
    assert pair.owner.run("check").code == 15


@pytest.mark.seen
def test_a_rotten_pack_is_repaired_from_another_host(world: World, pair: Pair, tree: Path):
    other = add_host(world, pair, "bob")
    pair.owner.do("backup", str(tree))
    before = describe_tree(tree)
    rot(pair.packs()[0])
    result = pair.owner.run("check", "--read-data")
    assert result.code == 15
    assert done_of(result)["files_hit"] == 0  # bob has them whole
    assert pair.owner.run("check", "--repair").code == 2  # a question, and nobody there
    repaired = pair.owner.run("check", "--repair", "--yes")
    assert repaired.code == 0, repaired
    other.do("agent", "stop")
    wait_until(lambda: not other.agent_pids(), "bob to be away")
    target = world.path / "out"
    pair.owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == before
    again = pair.owner.run("check", "--read-data")
    assert again.code == 3, again  # bob is away; alice's copies are whole
    assert done_of(again)["problems"] == []
    note(
        world,
        "E6",
        "the disk of one of two hosts flipped bits of a pack",
        result,
        verb="check --read-data",
        code=15,
        way_out="`check --repair` brings it a whole copy; a restore from it alone gives every byte",
        hinted="repair",
    )


@pytest.mark.parametrize("harm", ["gone", "garbage", "truncated", "flipped"])
def test_a_damaged_index_is_told_and_built_again(world: World, pair: Pair, tree: Path, harm: str):
    pair.owner.do("backup", str(tree))
    pair.owner.do("agent", "stop")
    (index,) = (pair.owner.path / "repository").rglob("index.db")
    data = index.read_bytes()
    for part in index.parent.glob("index.db-*"):
        part.unlink()
    if harm == "gone":
        index.unlink()
    elif harm == "garbage":
        index.write_bytes(b"not a database at all" * 500)
    elif harm == "truncated":
        index.write_bytes(data[: len(data) // 2])
    else:
        index.write_bytes(data[:4096] + bytes(len(data) - 4096))
    told = pair.owner.run("check")
    assert told.code == 15, told
    assert any("index" in problem["text"] for problem in done_of(told)["problems"])
    mended = pair.owner.run("check", "--repair", "--yes")
    assert mended.code == 0, mended
    assert pair.owner.run("check", "--read-data").code == 0
    target = world.path / "out"
    pair.owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)


@pytest.mark.usefixtures("hasty")
def test_a_host_that_is_away_makes_a_check_incomplete_and_alone_unreachable(world: World, pair: Pair, tree: Path):
    other = add_host(world, pair, "bob")
    pair.owner.do("backup", str(tree))
    other.do("agent", "stop")
    partly = pair.owner.run("check", "--read-data")
    assert partly.code == 3, partly
    assert "bob" in json.dumps(partly.last)
    pair.host.do("agent", "stop")
    assert pair.owner.run("check").code == 11
