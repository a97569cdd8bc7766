"""A backup that is paused from another terminal, outlives its own, is followed and goes on."""

import signal
from pathlib import Path

import pytest

from e2e.harness import Home, Json, World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_paused_backup_outlives_its_terminal_and_goes_on_where_another_follows_it(world: World):
    tree = world.path / "files"
    make_random_files(tree, count=40, size_bytes=3_000_000, seed=5)
    pair = agree(world)
    owner = pair.owner
    begun = owner.start("backup", str(tree))
    wait_until(lambda: len(pair.packs()) >= 2, "packs to be durable")
    paused = owner.do("pause").last
    assert (paused["job"], paused["state"]) == (1, "paused")
    assert begun.process.poll() is None, "the backup was over before it could be paused"
    follower = owner.start("jobs", "attach")
    follower.wait_event("state", state="paused")
    had, before = pair.stored_bytes(), bytes_read(owner)
    begun.process.kill()  # as a terminal that is closed, also where SIGHUP is ignored
    assert begun.wait().code == -signal.SIGKILL
    left = wait_left(owner)
    assert (left["state"], left["bytes_per_s"]) == ("paused", 0)
    assert owner.do("status").last["jobs"][0]["state"] == "paused"
    assert pair.stored_bytes() == had
    assert bytes_read(owner) - before < 3_000_000, "what was asked of the agent is read, and no file"
    owner.do("resume")
    told = follower.wait()
    assert told.code == 0
    assert (told.last["route"], told.last["result"]["files"]) == ("backup", 40)
    ended = owner.do("jobs").rows[0]
    assert (ended["state"], ended["code"], ended["is_left"]) == ("ended", 0, True)
    target = world.path / "restored"
    owner.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)


def bytes_read(home: Home) -> int:
    """Return what the agent's process asked of files and sockets so far, as the kernel counts it."""
    return sum(int(Path(f"/proc/{pid}/io").read_text().split()[1]) for pid in home.agent_pids())


def wait_left(owner: Home) -> Json:
    wait_until(lambda: owner.do("jobs").rows[0]["is_left"], "the agent to see that the terminal is gone")
    return owner.do("jobs").rows[0]
