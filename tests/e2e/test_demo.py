"""`demo` tells the whole story with a folder it only reads, and leaves nothing behind, also when it is cut short."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.harness import Running, World, describe_tree, pids_naming, wait_until
from e2e.trees import make_awkward_tree, make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def _start_demo(world: World, tree: Path) -> Running:
    temporary = world.path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "backuppeer.cli.main", "demo", str(tree)],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return Running(process)


def _leftovers(world: World) -> list[object]:
    folders = list((world.path / "tmp").glob("bp-demo-*"))
    homes = [folder / name for folder in folders for name in ("server", "host", "owner", "heir")]
    return [*folders, *(pid for home in homes for pid in pids_naming(home))]


def test_the_story_ends_well_with_an_awkward_folder_and_leaves_nothing_behind(world: World):
    tree = world.path / "my files"
    make_awkward_tree(tree)
    before = describe_tree(tree)
    running = _start_demo(world, tree)
    told = running.wait(timeout_s=300)
    running.end()
    assert told.code == 0, told
    said = {line.split("sees")[1].strip() for line in told.stdout.splitlines() if " sees " in line}
    assert len(said) == 1, "host and owner see the same safety words"
    assert "the same: 9 files" in told.stdout
    assert describe_tree(tree) == before
    assert _leftovers(world) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_takes_its_processes_and_folders_down(world: World, number: signal.Signals):
    tree = world.path / "files"
    make_random_files(tree, count=40, size_bytes=4_000_000, seed=11)
    running = _start_demo(world, tree)
    running.wait_line(lambda line: "The owner backs up" in line)
    folder = next((world.path / "tmp").glob("bp-demo-*"))
    homes = [folder / name for name in ("server", "host", "owner")]
    wait_until(lambda: all(pids_naming(home) for home in homes), "all processes of the story")
    running.process.send_signal(number)
    told = running.wait(timeout_s=120)
    running.end()
    assert told.code == 130, told
    assert "Traceback" not in told.stderr
    assert _leftovers(world) == []
    assert [pid for home in homes for pid in pids_naming(home)] == []
