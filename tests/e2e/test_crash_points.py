"""One of two real agents dies at a counted write, commit or send, and the other lives on (E4, E5, E7)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crash.injector import Mishap
from e2e.harness import Home, Pair, World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
TESTS = Path(__file__).resolve().parents[1]
READER = TESTS.parent / "tools" / "read_backup.py"


def start_doomed(home: Home, mishap: Mishap, at: int) -> subprocess.Popen[bytes]:
    """Start the agent of a home that something will happen to, and wait until it answers."""
    home.do("agent", "stop")
    process = subprocess.Popen(
        [sys.executable, "-m", "crash.doomed", mishap, str(at), str(home.path)],
        env={**home.environment(), "PYTHONPATH": str(TESTS)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: process.poll() is not None or unix_socket_answers(home), "the doomed agent")
    return process


def unix_socket_answers(home: Home) -> bool:
    return home.run("agent", "status").last.get("running") is True


def restored(world: World, home: Home, snapshot: str, tree: Path) -> dict[bytes, tuple[object, ...]]:
    target = world.path / f"out-{snapshot[:12]}"
    home.do("restore", snapshot, "--target", str(target))
    return describe_tree(below(target, tree))


def assert_readable(pair: Pair, snapshot: str) -> None:
    """Let the reader that shares no code with the program read every pack that the host keeps."""
    command = [sys.executable, "-I", os.fspath(READER), os.fspath(pair.host.path / "store"), "--check", "--list"]
    done = subprocess.run(command, input=pair.words + "\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert snapshot[:8] in done.stdout


@pytest.mark.parametrize("side", ["owner", "host"])
@pytest.mark.parametrize("mishap", [Mishap.KILL, Mishap.POWER])
def test_an_agent_that_dies_at_a_counted_point_loses_nothing_acknowledged(world: World, side: str, mishap: Mishap):
    pair = agree(world)
    tree = world.path / "files"
    home = pair.owner if side == "owner" else pair.host
    truth, died = {}, 0
    for number, at in enumerate((12, 30, 70)):
        make_random_files(tree / str(number), count=3, size_bytes=700_000, seed=number)
        doomed = start_doomed(home, mishap, at)
        running = pair.owner.start("backup", str(tree))
        wait_until(lambda: doomed.poll() is not None or running.process.poll() is not None, "an end")  # noqa: B023
        died += doomed.poll() is not None
        doomed.kill()
        doomed.wait()
        home.do("status")  # starts it again; an owner that lives goes on with a host that is back
        cut = running.wait()
        assert "Traceback" not in cut.stderr
        if cut.code == 0:
            truth[cut.last["snapshot"]] = describe_tree(tree)
        done = pair.owner.do("backup", str(tree)).last
        assert done["errors"] == 0
        truth[done["snapshot"]] = describe_tree(tree)
        assert truth.keys() <= {row["snapshot"] for row in pair.owner.do("snapshots").rows}
    assert died, "no point was reached: the test proves nothing"
    for snapshot, described in list(truth.items())[-2:]:
        assert restored(world, pair.owner, snapshot, tree) == described
    assert_readable(pair, list(truth)[-1])


@pytest.mark.parametrize("side", ["owner", "host"])
def test_a_disk_that_becomes_full_is_named_and_the_backup_goes_on_when_there_is_room(world: World, side: str):
    pair = agree(world)
    tree = world.path / "files"
    home = pair.owner if side == "owner" else pair.host
    make_random_files(tree, count=3, size_bytes=700_000, seed=1)
    kept = pair.owner.do("backup", str(tree)).last["snapshot"]
    truth = describe_tree(tree)
    make_random_files(tree, count=6, size_bytes=700_000, seed=2)
    doomed = start_doomed(home, Mishap.FULL, 30)
    cut = pair.owner.run("backup", str(tree))
    doomed.kill()
    doomed.wait()
    assert cut.code in {1, 3, 11, 13}, cut
    assert "full" in f"{cut.last['message']} {cut.last['hint']}", cut
    assert side == "owner" or "its disk is full" in cut.last["message"], cut
    assert "read" not in cut.last["message"]
    assert cut.named_files() == [], "no file is to blame"
    home.do("status")
    assert restored(world, pair.owner, kept, tree) == truth
    done = pair.owner.do("backup", str(tree)).last
    assert restored(world, pair.owner, str(done["snapshot"]), tree) == describe_tree(tree)
    assert_readable(pair, str(done["snapshot"]))
