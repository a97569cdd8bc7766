"""A stream is backed up like a file: `--stdin` and `--stdin-from-command` over real processes."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.harness import Home, Pair, World, agree, pids_naming, wait_until
from noise import noise

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
MIB = 1024 * 1024


@pytest.fixture
def pair(world: World) -> Pair:
    return agree(world)


def feed(home: Home, data: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run `backup` with bytes on its standard input."""
    command = [sys.executable, "-m", "backuppeer.cli.main", "backup", *words, "--json"]
    return subprocess.run(command, env=home.environment(), input=data, capture_output=True, timeout=240, check=False)


def dump(home: Home, place: str) -> bytes:
    command = [sys.executable, "-m", "backuppeer.cli.main", "dump", place]
    return subprocess.run(command, env=home.environment(), capture_output=True, timeout=240, check=True).stdout


def peak_anonymous_bytes(pid: int) -> int:
    """Return the most memory that a process ever held, pages of files included."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def test_a_stream_becomes_a_file_of_a_snapshot_and_only_what_changed_travels_again(pair: Pair):
    owner, data = pair.owner, noise(5, 12 * MIB + 4321)
    first = feed(owner, data, "--stdin", "--stdin-name", "db/all.sql", "--tag", "nightly")
    assert first.returncode == 0, first
    row = owner.do("snapshots").rows[-1]
    assert (row["paths"], row["files"], row["bytes"], row["tags"]) == (["/db/all.sql"], 1, len(data), ["nightly"])
    assert [entry["path"] for entry in owner.do("ls", "latest", "-R").rows] == ["/db/all.sql"]
    assert dump(owner, "latest:/db/all.sql") == data
    changed = b"one more row\n" + data
    assert feed(owner, changed, "--stdin", "--stdin-name", "/db/all.sql").returncode == 0
    assert dump(owner, "latest:/db/all.sql") == changed
    owner.do("restore", "latest", "--target", str(pair.owner.path.parent / "back"))
    assert (pair.owner.path.parent / "back" / "db" / "all.sql").read_bytes() == changed
    stored = pair.stored_bytes()
    assert stored < len(data) + 6 * MIB
    third = feed(owner, b"", "--stdin")
    assert third.returncode == 0, third
    assert dump(owner, "latest:/stdin") == b""


def test_a_command_is_backed_up_only_if_it_ends_well(pair: Pair):
    owner = pair.owner
    program = "import sys; sys.stdout.buffer.write(b'row' * 300_000); sys.exit({})"
    good = owner.run(
        "backup", "--stdin-from-command", "--stdin-name", "a", "--", sys.executable, "-c", program.format(0)
    )
    assert good.code == 0, good
    assert dump(owner, "latest:/a") == b"row" * 300_000
    bad = owner.run("backup", "--stdin-from-command", "--", sys.executable, "-c", program.format(7))
    assert bad.code == 1
    assert "ended with exit code 7" in str(bad.last["message"])
    assert "no snapshot" in str(bad.last["message"])
    assert owner.run("backup", "--stdin-from-command", "--", "no-such-command-anywhere").code == 10
    assert len(owner.do("snapshots").rows) == 1


def test_ctrl_c_ends_the_command_too_and_leaves_no_snapshot(world: World, pair: Pair):
    owner = pair.owner
    child = "import sys, time\nsys.stdout.buffer.write(b'x' * 3_000_000)\nsys.stdout.flush()\ntime.sleep(600)"
    mark = str(world.path / "mark")
    running = owner.start("backup", "--stdin-from-command", "--", sys.executable, "-c", child, mark)
    running.wait_event("progress", phase="backing up")
    wait_until(lambda: _children(mark, running.process.pid), "the command to run")
    os.kill(running.process.pid, signal.SIGINT)
    assert running.wait().code == 130
    assert not _children(mark, running.process.pid)
    wait_until(lambda: owner.run("backup", str(Path(__file__))).code == 0, "the agent to be free")
    assert len(owner.do("snapshots").rows) == 1


def _children(mark: str, parent: int) -> list[int]:
    return [pid for pid in pids_naming(Path(mark)) if pid != parent]


def test_an_agent_that_is_killed_in_the_middle_ends_the_command_with_words(pair: Pair):
    owner = pair.owner
    running = owner.start("backup", "--stdin-from-command", "--", "yes")
    running.wait_line(lambda line: '"backing up"' in line and '"bytes":0,' not in line.replace(" ", ""))
    owner.kill_agent()
    ended = running.wait()
    assert ended.code == 1
    assert "the agent ended during backup" in str(ended.last["message"])
    assert owner.do("snapshots").rows == []


def test_a_stream_larger_than_memory_should_be_goes_through_little_of_it(pair: Pair):
    owner = pair.owner
    program = "import sys\nfor n in range(1200): sys.stdout.buffer.write(bytes([n % 7]) * (1 << 20))"
    result = owner.run("backup", "--stdin-from-command", "--", sys.executable, "-c", program)
    assert result.code == 0, result
    assert result.last["bytes"] == 1200 * MIB
    assert max(peak_anonymous_bytes(pid) for pid in owner.agent_pids()) < 350 * MIB
    digest = hashlib.sha256()
    for number in range(1200):
        digest.update(bytes([number % 7]) * MIB)
    assert hashlib.sha256(dump(owner, "latest:/stdin")).digest() == digest.digest()
