"""What a command waits for, and how long: hosts that are away, hooks that leave something running."""

import os
import signal
import time
from pathlib import Path

import pytest

from backuppeer.limits import DEAD_AFTER_S
from e2e.harness import World, agree, below, describe_tree
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def test_a_restore_waits_as_long_as_said_and_goes_on_when_the_host_is_back(world: World):
    pair = agree(world)
    owner, docs = pair.owner, world.path / "docs"
    make_random_files(docs, count=5, size_bytes=400_000, seed=1)
    owner.do("backup", str(docs))
    frozen = int(pair.host.do("status").last["agent"].split()[-1])
    os.kill(frozen, signal.SIGSTOP)
    began_s = time.monotonic()
    silent = owner.run("restore", "latest", "--target", str(world.path / "none"), "--wait", "3s")
    took_s = time.monotonic() - began_s
    os.kill(frozen, signal.SIGCONT)
    assert silent.code == 11
    assert took_s < DEAD_AFTER_S, "the session was there still, and nothing came from it"
    pair.host.do("agent", "stop")
    gone = owner.run("restore", "latest", "--target", str(world.path / "none"), "--wait", "1s")
    assert gone.code == 11
    assert "--wait 1h waits so long" in gone.stderr
    waiting = owner.start("restore", "latest", "--target", str(world.path / "out"), "--wait", "5m")
    waiting.wait_event("state", state="waiting")
    pair.host.do("agent", "start")
    done = waiting.wait()
    assert done.code == 0, done
    assert describe_tree(below(world.path / "out", docs)) == describe_tree(docs)


def test_what_a_hook_leaves_running_neither_holds_a_backup_up_nor_outlives_it(world: World):
    pair = agree(world)
    docs, settings = world.path / "docs", pair.owner.path / "config.toml"
    make_random_files(docs, count=1, size_bytes=1000, seed=1)
    told = world.path / "number"
    settings.write_text(f"""
[sets.default]
paths = ["{docs}"]
hooks.before = "sleep 3600 & echo $! > {told}"
hooks.after = "kill -0 $(cat {told})"
""")
    settings.chmod(0o600)
    pair.owner.do("backup")  # `after` finds what `before` began
    status = Path("/proc") / told.read_text().strip() / "stat"
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"
