"""The disk that a store moves to is full in the middle: named as that, nothing lost, owners served all the while."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.harness import World, agree, below, describe_tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
FILES = 14


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Another disk with room for bytes, so that the move begins, and for FILES files, so that it can't end."""
    place = tmp_path / "disk"
    place.mkdir()
    limits = f"size=16g,nr_inodes={FILES}"  # taken only as far as it is used
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", limits, "tmpfs", str(place)], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_move_that_meets_a_full_disk_leaves_the_store_where_it_was_and_goes_on_when_there_is_room(
    world: World, disk: Path, tmp_path: Path
):
    pair = agree(world)
    data = tmp_path / "data"
    data.mkdir()
    for number in range(6):
        (data / f"{number}").write_bytes(os.urandom(300_000))
        pair.owner.do("backup", str(data))
    store = Path(pair.host.do("status").last["hosting"]["store"])
    full = pair.host.run("host", "--move-store", str(disk / "store"))
    assert full.code == 13
    assert full.last["message"] == (
        f"the disk of {disk / 'store'} is full; nothing was moved: the store is in {store} as before, and is served "
        "from there"
    )
    assert "goes on with what was copied" in full.last["hint"]
    assert list((disk / "store" / "incoming").iterdir()) == [], "nothing half written"
    assert not (disk / "store" / "backup-peer-store").exists()
    (data / "6").write_bytes(os.urandom(300_000))
    pair.owner.do("backup", str(data))
    subprocess.run(["mount", "-o", "remount,nr_inodes=10000", str(disk)], check=True)
    done = pair.host.do("host", "--move-store", str(disk / "store")).last
    assert (done["renamed"], done["cleared"], store.exists()) == (False, True, False)
    pair.owner.do("restore", "latest", "--target", str(tmp_path / "restored"), "--verify")
    assert describe_tree(below(tmp_path / "restored", data)) == describe_tree(data)
    pair.host.do("agent", "stop")
