"""`kill -9` at a bad moment loses at most unfinished work: the same command again completes it (E4, E7)."""

import shutil
from pathlib import Path

import pytest

from e2e.harness import Pair, Running, World, agree, below, describe_tree, wait_until
from e2e.seen import note
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def tree(world: World) -> Path:
    """Enough for about twenty packs, so that there is a middle."""
    root = world.path / "files"
    make_random_files(root, count=80, size_bytes=4_000_000, seed=7)
    return root


def _start_backup(pair: Pair, tree: Path) -> Running:
    """Start a backup and return in its middle: some packs are durable, far from all."""
    running = pair.owner.start("backup", str(tree))
    wait_until(lambda: len(pair.packs()) >= 2, "the first packs")
    assert running.process.poll() is None, "the backup was over before it could be cut"
    return running


def _assert_complete(world: World, pair: Pair, tree: Path) -> None:
    done = pair.owner.do("backup", str(tree)).last
    assert done["errors"] == 0
    target = world.path / "restored"
    pair.owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)


def test_a_host_killed_in_mid_backup_comes_back_and_the_backup_completes(world: World, tree: Path):
    pair = agree(world)
    running = _start_backup(pair, tree)
    pair.host.kill_agent()
    pair.host.do("status")  # starts it again
    cut = running.wait()
    assert cut.code in {0, 11}, cut  # it may have carried on by itself, else it names the peer that went away
    _assert_complete(world, pair, tree)


@pytest.mark.seen
def test_a_host_that_stays_away_ends_the_backup_with_a_hint_and_no_snapshot(world: World, tree: Path):
    pair = agree(world)
    running = _start_backup(pair, tree)
    pair.host.kill_agent()
    cut = running.wait()
    assert cut.code == 11, cut
    assert cut.last["event"] == "error"
    assert cut.last["hint"]
    assert pair.owner.do("snapshots").rows == []
    pair.host.do("status")
    _assert_complete(world, pair, tree)
    note(
        world,
        "E4",
        "the host is killed in the middle of a backup, and stays away",
        cut,
        verb="backup",
        code=11,
        way_out="the host is back; the same backup goes on, and a restore gives every byte",
        hinted="",
    )


@pytest.mark.seen
def test_an_owner_killed_in_mid_backup_starts_again_without_sending_everything_twice(world: World, tree: Path):
    pair = agree(world)
    running = _start_backup(pair, tree)
    pair.owner.kill_agent()
    cut = running.wait()
    assert cut.code not in {0, 2}, cut
    assert cut.stderr.startswith("error: ")
    assert "Traceback" not in cut.stderr
    _assert_complete(world, pair, tree)
    note(
        world,
        "E7",
        "the owner's agent is killed in the middle of a backup",
        cut,
        verb="backup",
        code=1,
        way_out="the same backup goes on with a new agent, and a restore gives every byte",
        hinted="run the command again",
    )


def test_the_words_recover_the_last_whole_snapshot_after_the_owner_died_in_the_next_one(world: World, tree: Path):
    pair = agree(world, storage="900MB")
    small = world.path / "small"
    make_random_files(small, count=3, size_bytes=300_000, seed=8)
    pair.owner.do("backup", str(small))
    before = len(pair.packs())
    pair.owner.start("backup", str(tree))
    wait_until(lambda: len(pair.packs()) >= before + 2, "the first packs of the second backup")
    pair.owner.kill_agent()
    heir = world.home("heir")
    heir.do("recover", "--server", world.servers, "--yes", stdin=pair.words + "\n")
    target = world.path / "restored"
    heir.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, small)) == describe_tree(small)


def test_an_agent_whose_home_was_removed_ends_by_itself_and_its_offer_with_it(world: World):
    world.start_server()
    host, _ = world.peer("host")
    viewer, _ = world.peer("viewer")
    host.do("host", "--storage", "1GB", "--detach", "--yes")
    wait_until(lambda: viewer.do("browse").rows, "the offer to be listed")
    shutil.rmtree(host.path)
    wait_until(lambda: not host.agent_pids(), "the agent to end")
    wait_until(lambda: not viewer.do("browse").rows, "the offer to be taken down")
