"""What a backup that did not come about leaves at a host: it can go at once, whatever the lock, or be gone on from."""

import signal
from pathlib import Path

import pytest

from e2e.harness import World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
HALF = 45_000_000


@pytest.fixture
def tree(world: World) -> Path:
    """Two halves; each fits into the smallest agreement there is, both together do not."""
    root = world.path / "files"
    make_random_files(root / "one", count=15, size_bytes=HALF // 15, seed=51)
    make_random_files(root / "two", count=15, size_bytes=HALF // 15, seed=52)
    return root


def test_a_backup_that_does_not_fit_says_what_to_do_and_a_smaller_one_fits_after_that(world: World, tree: Path):
    pair = agree(world, storage="64MiB", lock="30d")
    owner = pair.owner
    failed = owner.run("backup", str(tree))
    assert failed.code == 13
    assert "full" in failed.last["message"]
    assert "`backup-peer prune" in failed.last["hint"]
    assert "at alice at once" in failed.last["hint"]
    assert pair.stored_bytes() > HALF
    assert owner.run("prune").code == 2, "nobody is there to ask"
    dry = owner.do("prune", "--dry-run").last
    assert dry["hosts"][0]["at_once_bytes"] == pair.stored_bytes()
    done = owner.do("prune", "--yes").last
    assert done["unfinished_packs"] > 0
    assert done["hosts"][0]["at_once_bytes"] == dry["hosts"][0]["at_once_bytes"]
    assert not pair.packs(), "erased when prune returns, not in thirty days"
    assert owner.do("backup", str(tree), "--exclude", "one").last["files"] == 15
    owner.do("restore", "latest", "--target", str(world.path / "out"), "--verify")
    assert describe_tree(below(world.path / "out", tree) / "two") == describe_tree(tree / "two")
    assert owner.do("check", "--read-data").code == 0


def test_what_a_snapshot_needs_keeps_its_lock_beside_unfinished_work(world: World, tree: Path):
    pair = agree(world, storage="64MiB", lock="30d")
    owner = pair.owner
    first = str(owner.do("backup", str(tree / "one")).last["snapshot"])
    kept = pair.stored_bytes()
    assert owner.run("backup", str(tree)).code == 13
    assert pair.stored_bytes() > kept
    owner.do("prune", "--yes")
    assert pair.stored_bytes() == kept
    owner.do("restore", first, "--target", str(world.path / "out"), "--verify")
    owner.do("forget", first, "--yes")
    done = owner.do("prune", "--yes").last
    assert done["hosts"][0]["at_once_bytes"] == 0
    assert done["hosts"][0]["lock_s"] == 2 * 30 * 86_400, "it is all that there was"
    assert pair.stored_bytes() > kept, "what a head named once waits for its lock"


def test_work_that_ctrl_c_cut_goes_at_once_or_is_kept_to_go_on_from(world: World, tree: Path):
    pair = agree(world, storage="200MB", lock="30d")
    owner = pair.owner
    running = owner.start("backup", str(tree))
    wait_until(lambda: len(pair.packs()) >= 2, "packs to be durable")
    running.process.send_signal(signal.SIGINT)
    running.wait()
    owner.do("agent", "stop")  # returns when what was under way has ended
    had = pair.stored_bytes()
    kept = owner.do("prune", "--keep-unfinished", "--yes").last
    assert (kept["unfinished_packs"], pair.stored_bytes()) == (0, had)
    small = world.path / "small"
    make_random_files(small, count=1, size_bytes=1000, seed=53)
    owner.do("backup", str(small))
    done = owner.do("prune", "--yes").last
    assert done["unfinished_packs"] > 0, done
    assert pair.stored_bytes() < 1_000_000, "at once, though a smaller backup stands by now"
    owner.do("backup", str(tree))
    owner.do("restore", "latest", "--target", str(world.path / "out"), "--verify")
    assert describe_tree(below(world.path / "out", tree)) == describe_tree(tree)
