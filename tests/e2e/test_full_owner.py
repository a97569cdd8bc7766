"""The owner's own disk is full: named as that, exit 13, nothing lost, and on it goes when there is room again."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.harness import Home, Pair, World, agree, below, describe_tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
SMALL_BYTES = 4_000_000


@pytest.fixture
def small(world: World) -> Iterator[Path]:
    """A file system of 4 MB in the place of the owner's home, where the system lets us make one."""
    place = world.path / "owner"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(place)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    world.close()
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all the room there is."""
    path = place / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    return path


def make_files(root: Path, *, first: int, count: int) -> None:
    root.mkdir(exist_ok=True)
    for number in range(first, first + count):
        (root / f"file-{number}").write_text(f"{number} " * 40)


def assert_told(home: Home, *words: str) -> None:
    done = home.run(*words)
    assert done.code == 13, done
    assert "a disk of this machine is full" in done.last["message"]
    assert str(home.path) in done.last["message"]
    assert "free some space" in done.last["hint"]
    assert "alice" not in done.last["message"]
    assert "alice:" not in done.stderr, "the host has nothing to do with it"


def assert_whole(world: World, pair: Pair, tree: Path) -> None:
    target = world.path / "restored"
    pair.owner.do("restore", "latest", "--target", str(target), "--verify")
    assert describe_tree(below(target, tree)) == describe_tree(tree)
    pair.owner.do("check", "--read-data")


def test_a_full_disk_of_the_owner_is_named_loses_nothing_and_is_gone_on_from(world: World, small: Path):
    tree = world.path / "files"
    make_files(tree, first=0, count=2000)
    pair = agree(world)
    owner = pair.owner
    first = str(owner.do("backup", str(tree)).last["snapshot"])
    filler = fill(small)
    make_files(tree, first=2000, count=2000)
    assert_told(owner, "backup", str(tree))
    assert_told(owner, "forget", first, "--yes")
    assert [row["snapshot"] for row in owner.do("snapshots").rows] == [first]
    owner.do("restore", first, "--target", str(world.path / "meanwhile"))
    owner.do("agent", "stop")
    assert_told(owner, "backup", str(tree))
    filler.unlink()
    owner.do("backup", str(tree))
    assert_whole(world, pair, tree)


@pytest.mark.parametrize("spare_bytes", [40_000, 150_000, 400_000, 900_000])
def test_a_disk_that_fills_up_in_the_middle_of_a_backup_ends_it_just_so(world: World, small: Path, spare_bytes: int):
    tree = world.path / "files"
    pair = agree(world)
    pair.owner.do("status")
    filler = fill(small)
    with filler.open("rb+") as file:
        file.truncate(filler.stat().st_size - spare_bytes)
    make_files(tree, first=0, count=12_000)
    assert_told(pair.owner, "backup", str(tree))
    filler.unlink()
    (small / "logs").mkdir(exist_ok=True)
    make_files(tree, first=0, count=2000)
    for path in sorted(tree.iterdir())[2000:]:
        path.unlink()
    pair.owner.do("backup", str(tree))
    assert_whole(world, pair, tree)
