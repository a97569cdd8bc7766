"""A mounted snapshot is what a restore would bring back, read as any folder is; and it ends well, whoever ends it."""

import errno
import os
import signal
import stat
import struct
import subprocess
import threading
from io import FileIO
from pathlib import Path

import pytest

from backuppeer.cli.compare import compare_trees
from e2e.harness import Pair, World, agree, below, wait_until
from e2e.mounts import clear, is_mounted, mounting, needs_mounts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420), needs_mounts]
MIB = 1 << 20
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, who)
    for tag, rights, who in (
        (1, 6, 2**32 - 1),
        (2, 7, 1234),
        (4, 4, 2**32 - 1),
        (0x10, 7, 2**32 - 1),
        (0x20, 0, 2**32 - 1),
    )
)
"""user::rw-, user:1234:rwx, group::r--, mask::rwx, other::---"""


@pytest.fixture
def pair(world: World) -> Pair:
    return agree(world)


def make_tree(root: Path) -> None:
    for number in range(300):
        path = root / f"{number % 7:02}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"needle {number}".encode() * (number % 50))
    (root / "hard").hardlink_to(root / "03" / "3")
    (root / "large").write_bytes(os.urandom(9 * MIB + 17))
    (root / "large too").hardlink_to(root / "large")
    with (root / "image").open("wb") as image:
        image.truncate(24 * MIB)
        image.seek(11 * MIB + 5)
        image.write(os.urandom(MIB))
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("03/3")
    (root / "dangling").symlink_to("/nowhere/at/all")
    (root / os.fsdecode(b"bytes-\xff\xfe")).write_bytes(b"x")
    (root / "new\nline").write_bytes(b"")
    os.setxattr(root / "large", "user.note", b"\0\xff")
    os.setxattr(root / "large", os.fsdecode(b"user.\xff"), b"")
    os.setxattr(root / "00", "user.note", b"of a folder")
    (root / "shared").write_bytes(b"shared")
    os.setxattr(root / "shared", "system.posix_acl_access", ACL)
    if os.geteuid() == 0:
        os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.chown(root / "01" / "1", 1234, 4321)
    (root / "04" / "4").chmod(0o4751)
    (root / "02").chmod(0o2750)
    os.utime(root / "03", ns=(1, -5_000_000_001))


def succeeds(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, (words, done.stderr[-500:])
    return done.stdout.decode(errors="replace")


def test_a_mounted_snapshot_is_what_a_restore_brings_back_and_programs_can_use_it(world: World, pair: Pair):
    tree, place = world.path / "tree", world.path / "mnt"
    make_tree(tree)
    first = str(pair.owner.do("backup", str(tree), "--tag", "holidays").last["snapshot"])
    pair.owner.do("restore", "latest", "--target", str(world.path / "out"))
    with mounting(pair.owner, place) as (running, said):
        assert (said["target"], said["snapshots"]) == (str(place), 1)
        top = place / "snapshots" / "latest"
        shown = below(top, tree)
        assert compare_trees(below(world.path / "out", tree), shown).differences == {}
        assert compare_trees(tree, shown).differences == {}
        for one, other, names in (("hard", "03/3", 2), ("large", "large too", 2)):
            assert (shown / one).samefile(shown / other)
            assert (shown / one).stat().st_nlink == names
        assert not (shown / "large").samefile(shown / "image")
        # programs
        assert len(succeeds("find", f"{top}/", "-type", "f", "-name", "2*").splitlines()) == 111
        assert len(succeeds("grep", "-rl", "needle 299", shown).splitlines()) == 1
        succeeds("cp", "-a", shown, world.path / "copy")
        assert compare_trees(tree, world.path / "copy").differences == {}
        assert (world.path / "copy" / "image").stat().st_blocks * 512 < 3 * MIB
        assert (world.path / "copy" / "hard").samefile(world.path / "copy" / "03" / "3")
        succeeds("diff", "-r", "--no-dereference", shown / "02", tree / "02")
        # places
        assert [path.name for path in (place / "ids").iterdir()] == [first[:8]]
        assert (place / "ids" / first[:8]).samefile(top)
        assert (place / "tags" / "holidays" / "latest").samefile(top)
        (host,) = (place / "hosts").iterdir()
        assert (host / "latest").samefile(top)
        # nothing can be changed
        for change in (
            shown.rmdir,
            (shown / "large").unlink,
            (place / "new").mkdir,
            lambda: (shown / "a").write_text(""),
        ):
            with pytest.raises(OSError, match="Read-only") as caught:
                change()
            assert caught.value.errno == errno.EROFS
        with pytest.raises(FileNotFoundError):
            (shown / "nothing").stat()
        # a backup that comes by leaves it out
        (world.path / "around").mkdir()
        with mounting(pair.owner, world.path / "around" / "mnt"):
            assert pair.owner.do("backup", str(world.path / "around")).last["files"] == 0
            assert len(list((world.path / "around" / "mnt" / "ids").iterdir())) >= 1
        # what is backed up meanwhile is seen
        (tree / "later").write_text("later")
        pair.owner.do("backup", str(tree))
        wait_until((shown / "later").exists, "the new snapshot to be the latest")
        assert len(list((place / "snapshots").iterdir())) == 4
        succeeds("umount", place)
        ended = running.wait()
        assert (ended.code, ended.last["event"]) == (0, "done")
        assert int(str(ended.last["read_bytes"])) > 9 * MIB
    assert list(place.iterdir()) == []


def test_a_mount_of_some_snapshots_shows_just_these(world: World, pair: Pair):
    tree, place = world.path / "tree", world.path / "mnt"
    tree.mkdir()
    for number in range(3):
        (tree / "file").write_text(f"{number}")
        pair.owner.do("backup", str(tree), "--tag", f"t{number}")
    ids = [str(row["snapshot"]) for row in pair.owner.do("snapshots").rows]
    with mounting(pair.owner, place, "--snapshot", ids[1], "--snapshot", ids[0][:6]) as (_, said):
        assert said["snapshots"] == 2
        assert sorted(path.name for path in (place / "ids").iterdir()) == sorted(name[:8] for name in ids[:2])
    with mounting(pair.owner, place, "--tag", "t2"):
        (only,) = (place / "ids").iterdir()
        assert (below(only, tree) / "file").read_text() == "2"
    assert pair.owner.run("mount", str(place), "--snapshot", "0000").code == 10
    assert pair.owner.run("mount", str(place), "--tag", "no").code == 10
    assert not is_mounted(place)


def read_on(file: FileIO) -> None:
    while file.read(MIB):
        pass


def test_a_host_that_is_killed_while_a_file_is_read_ends_the_read_and_is_named_and_back_it_serves(
    world: World, pair: Pair
):
    tree, place = world.path / "tree", world.path / "mnt"
    tree.mkdir()
    (tree / "large").write_bytes(os.urandom(80 * MIB))
    (tree / "other").write_bytes(os.urandom(2 * MIB))
    pair.owner.do("backup", str(tree))
    with mounting(pair.owner, place) as (running, _):
        shown = below(place / "snapshots" / "latest", tree)
        with (shown / "large").open("rb", buffering=0) as file:
            assert file.read(MIB)
            pair.host.kill_agent()
            with pytest.raises(OSError, match="timed out") as caught:
                read_on(file)
            assert caught.value.errno == errno.ETIMEDOUT
        assert "alice" in str(running.wait_event("state", state="waiting")["text"])
        assert running.wait_event("error-file")["path"] == os.path.realpath(shown / "large")
        assert sorted(path.name for path in shown.iterdir()) == ["large", "other"]
        pair.host.do("agent", "start")

        def is_served() -> bool:
            try:
                return (shown / "other").read_bytes() == (tree / "other").read_bytes()
            except OSError:
                return False

        wait_until(is_served, "the host to serve again", timeout_s=120)
        running.wait_event("state", state="connected")


def test_two_readers_of_more_than_the_memory_they_may_take_see_the_same(world: World):
    pair = agree(world, storage="900MB", offer="1GB")
    tree, place = world.path / "tree", world.path / "mnt"
    tree.mkdir()
    with (tree / "large").open("wb") as file:
        for _ in range(32):
            file.write(os.urandom(16 * MIB))
    wanted = succeeds("sha256sum", tree / "large").split()[0]
    pair.owner.do("backup", str(tree))
    (tree / "large").unlink()
    with mounting(pair.owner, place) as (running, _):
        shown = below(place / "snapshots" / "latest", tree) / "large"
        found: list[str] = []
        readers = [
            threading.Thread(target=lambda: found.append(succeeds("sha256sum", shown).split()[0])) for _ in range(2)
        ]
        for reader in readers:
            reader.start()
        with shown.open("rb", buffering=0) as file:
            file.seek(500 * MIB)
            assert len(file.read(100)) == 100
        for reader in readers:
            reader.join()
        assert found == [wanted, wanted]
        (agent,) = pair.owner.agent_pids()
        assert peak_bytes(agent) < 350 * MIB
        assert peak_bytes(running.process.pid) < 160 * MIB


def peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_unmounts_also_what_is_in_use(world: World, pair: Pair, number: int):
    tree, place = world.path / "tree", world.path / "mnt"
    tree.mkdir()
    (tree / "large").write_bytes(os.urandom(40 * MIB))
    pair.owner.do("backup", str(tree))
    with mounting(pair.owner, place) as (running, _):  # noqa: SIM117 - the file is below the mount
        with (below(place / "snapshots" / "latest", tree) / "large").open("rb", buffering=0) as file:
            assert file.read(10)
            assert subprocess.run(["umount", place], capture_output=True, check=False).returncode != 0
            assert is_mounted(place)
            running.process.send_signal(number)
            ended = running.wait()
            assert (ended.code, ended.last["event"], ended.stderr) == (0, "done", "")
            assert not is_mounted(place)
            file.seek(30 * MIB)
            with pytest.raises(OSError, match="not connected"):
                file.read(10)


def test_a_signal_ends_a_mount_at_once_while_a_read_waits_for_a_host(world: World, pair: Pair):
    tree, place = world.path / "tree", world.path / "mnt"
    tree.mkdir()
    (tree / "large").write_bytes(os.urandom(10 * MIB))
    pair.owner.do("backup", str(tree))
    pair.host.do("agent", "stop")
    with mounting(pair.owner, place) as (running, _):
        reading = subprocess.Popen(
            ["cat", below(place / "snapshots" / "latest", tree) / "large"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        running.wait_event("state", state="waiting")
        running.process.send_signal(signal.SIGINT)
        assert running.wait(timeout_s=20).code == 0
        assert reading.communicate(timeout=20)[1]
        assert reading.returncode == 1


def test_what_a_killed_command_leaves_is_named_and_cleared(world: World, pair: Pair):
    tree, place = world.path / "tree", world.path / "mnt"
    tree.mkdir()
    (tree / "file").write_text("x")
    pair.owner.do("backup", str(tree))
    place.mkdir()
    running = pair.owner.start("mount", str(place))
    running.wait_event("mounted")
    running.process.kill()
    running.wait()
    try:
        refused = pair.owner.run("mount", str(place))
        assert refused.code == 2
        assert "killed" in str(refused.last["message"])
        assert str(place) in str(refused.last["hint"])
    finally:
        clear(place)
    with mounting(pair.owner, place):
        assert (place / "snapshots" / "latest").exists()


@pytest.mark.parametrize("harm", ["kill", "stop"])
def test_a_mount_whose_agent_ends_is_taken_away_and_says_so(world: World, pair: Pair, harm: str):
    tree, place = world.path / "tree", world.path / "mnt"
    tree.mkdir()
    (tree / "file").write_text("x")
    pair.owner.do("backup", str(tree))
    with mounting(pair.owner, place) as (running, _):
        if harm == "kill":
            pair.owner.kill_agent()
        else:
            pair.owner.do("agent", "stop")
        ended = running.wait(timeout_s=30)
        assert ended.code != 0
        assert "agent" in str(ended.last["message"])
        assert f"backup-peer mount {place}" in str(ended.last["hint"])
        assert not is_mounted(place)


def test_an_agent_that_hangs_keeps_nothing_mounted(world: World, pair: Pair):
    tree, place = world.path / "tree", world.path / "mnt"
    tree.mkdir()
    (tree / "file").write_text("x")
    pair.owner.do("backup", str(tree))
    with mounting(pair.owner, place) as (running, _):
        pids = pair.owner.agent_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            reading = subprocess.Popen(
                ["ls", place / "snapshots" / "latest"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            running.process.send_signal(signal.SIGINT)
            wait_until(lambda: not is_mounted(place), "the mount to be taken away")
            ended = running.wait(timeout_s=180)
            assert (ended.code, ended.last["message"]) == (1, "the agent does not answer")
            reading.communicate(timeout=180)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
