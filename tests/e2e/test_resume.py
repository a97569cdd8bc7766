"""A backup that was cut goes on where it was: what is finished is neither read nor sent again (counted, not timed)."""

import signal
from pathlib import Path

import pytest

from e2e.harness import Home, Pair, Running, World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
COUNT = 80
SIZE = 3_000_000
TOTAL = COUNT * SIZE


@pytest.fixture
def tree(world: World) -> Path:
    """Half in one folder, half in many, so that folders of both kinds are cut."""
    root = world.path / "files"
    make_random_files(root / "flat", count=COUNT // 2, size_bytes=SIZE, seed=7)
    for number in range(COUNT // 4):
        make_random_files(root / f"many-{number:02}" / "deep", count=2, size_bytes=SIZE, seed=100 + number)
    return root


def cut(pair: Pair, tree: Path, *, packs: int = 8) -> Running:
    """Start a backup and return when so many packs are durable, far from all."""
    running = pair.owner.start("backup", str(tree))
    wait_until(lambda: len(pair.packs()) >= packs, "packs to be durable")
    assert running.process.poll() is None, "the backup was over before it could be cut"
    return running


def bytes_read(home: Home) -> int:
    """Return what the agent's process asked of files so far, as the kernel counts it."""
    counts = [Path(f"/proc/{pid}/io").read_text() for pid in home.agent_pids()]
    return sum(int(count.split()[1]) for count in counts)


def assert_goes_on(world: World, pair: Pair, tree: Path) -> None:
    """Complete the backup; what the host had by then is not sent again, and most of it not even read."""
    pair.host.do("status")  # both agents run before anything is counted
    pair.owner.do("status")
    had, before = pair.stored_bytes(), bytes_read(pair.owner)
    assert had > TOTAL // 4, "too little was durable for this to show anything"
    done = pair.owner.do("backup", str(tree)).last
    read = bytes_read(pair.owner) - before
    # 3 % of padding for each pack, and what was in flight.
    assert done["sent_bytes"] < TOTAL - had + 12_000_000
    assert done["unchanged"] >= (had - 50_000_000) // SIZE
    assert done["read_bytes"] <= TOTAL - done["unchanged"] * SIZE
    assert read < TOTAL - had + 60_000_000, "the kernel counted more reads than what was left"
    target = world.path / "restored"
    pair.owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)
    assert pair.owner.do("backup", str(tree)).last["read_bytes"] == 0


def test_after_the_owners_agent_was_killed_the_next_backup_goes_on(world: World, tree: Path):
    pair = agree(world)
    running = cut(pair, tree)
    pair.owner.kill_agent()
    assert running.wait().code != 0
    assert_goes_on(world, pair, tree)


@pytest.mark.usefixtures("hasty")
def test_after_the_host_was_killed_the_next_backup_goes_on(world: World, tree: Path):
    pair = agree(world)
    running = cut(pair, tree)
    pair.host.kill_agent()
    assert running.wait().code == 11
    assert_goes_on(world, pair, tree)


def test_after_ctrl_c_the_next_backup_goes_on(world: World, tree: Path):
    pair = agree(world)
    running = cut(pair, tree)
    running.process.send_signal(signal.SIGINT)
    stopped = running.wait()
    assert stopped.code == 130
    assert "goes on from there" in stopped.stderr
    assert_goes_on(world, pair, tree)
