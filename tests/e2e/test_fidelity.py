"""Everything a tree has comes back over real processes; what is left out stays out; what is there is kept."""

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backuppeer.cli.compare import compare_trees
from backuppeer.limits import RESTORE_FIRST_BLOBS
from e2e.harness import Pair, World, below

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
FILES = RESTORE_FIRST_BLOBS + 500
"""Enough for worker processes."""


@pytest.fixture
def pair(settled: Pair) -> Pair:
    return settled


def make_tree(root: Path) -> None:
    for number in range(FILES):
        path = root / f"{number % 40:02}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{number}".encode() * (number % 50))
    (root / "hard").hardlink_to(root / "07" / "7")
    (root / "large").write_bytes(os.urandom(6 << 20))
    (root / "large too").hardlink_to(root / "large")
    with (root / "image").open("wb") as image:
        image.truncate(40 << 20)
        image.seek(11 << 20)
        image.write(os.urandom(1 << 20))
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"bytes-\xff")).write_bytes(b"x")
    os.setxattr(root / "large", "user.note", b"\0\xff")
    os.setxattr(root / "00", "user.note", b"of a folder")
    if os.geteuid() == 0:
        os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.chown(root / "01" / "1", 1234, 4321)
    (root / "02").chmod(0o2750)
    os.utime(root / "03", ns=(1, -5_000_000_001))


def test_every_kind_of_entry_comes_back_and_a_second_restore_fetches_nothing(world: World, pair: Pair):
    tree, target = world.path / "tree", world.path / "target"
    make_tree(tree)
    assert pair.owner.do("backup", str(tree)).last["errors"] == 0
    restored = pair.owner.do("restore", "latest", "--target", str(target)).last
    assert (restored["errors"], restored["kept"]) == (0, 0)
    assert compare_trees(tree, below(target, tree)).differences == {}
    for one, other in (("hard", "07/7"), ("large", "large too")):
        assert (below(target, tree) / one).samefile(below(target, tree) / other)
    assert (below(target, tree) / "image").stat().st_blocks * 512 < 3 << 20
    again = pair.owner.do("restore", "latest", "--target", str(target)).last
    assert (again["files"], again["bytes"], again["kept"]) == (0, 0, restored["files"])
    (below(target, tree) / "large").write_bytes(b"changed")
    assert pair.owner.run("restore", "latest", "--target", str(target)).code == 2
    assert pair.owner.do("restore", "latest", "--target", str(target), "--overwrite", "never").last["files"] == 0
    pair.owner.do("restore", "latest", "--target", str(target), "--overwrite", "if-changed")
    assert compare_trees(tree, below(target, tree)).differences == {}


def test_what_is_left_out_of_a_backup_and_of_a_restore_stays_out(world: World, pair: Pair):
    tree = world.path / "tree"
    for path in ("keep/a.c", "keep/a.o", "build/b.c", "cache/c", "huge", "tmp/x.log"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(b"x" * (5000 if path == "huge" else 5))
    (tree / "cache" / "CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55")
    (tree / ".backupignore").write_text("*.log\n/build\n")
    words = ("--exclude", "*.o", "--exclude-caches", "--exclude-larger-than", "4kB")
    result = pair.owner.do("backup", str(tree), *words).last
    assert (result["files"], result["errors"]) == (3, 0)
    listed = {str(row["path"]).removeprefix(f"{tree}/") for row in pair.owner.do("ls", "latest", "-R").rows}
    assert {"keep/a.c", "cache/CACHEDIR.TAG", ".backupignore"} <= listed
    assert not listed & {"keep/a.o", "build", "cache/c", "huge", "tmp/x.log"}
    planned = pair.owner.do("restore", "latest", "--target", str(world.path / "t"), "-i", "*.c", "--dry-run").last
    assert planned["files"] == 1
    assert not (world.path / "t").exists()
    pair.owner.do("restore", "latest", "--target", str(world.path / "t"), "-i", "*.c", "-e", "cache")
    assert [path for path in (world.path / "t").rglob("*") if path.is_file()] == [
        below(world.path / "t", tree) / "keep" / "a.c"
    ]
    assert pair.owner.run("backup", str(tree), "--exclude", "!").code == 2
    assert pair.owner.run("backup", str(tree), "--priority", "!").code == 2
    assert pair.owner.do("backup", str(tree), "--priority", "*.c").last["files"] == 6


def test_a_restore_that_deletes_leaves_the_folder_as_it_was_saved_and_says_beforehand(world: World, pair: Pair):
    tree, target = world.path / "tree", world.path / "target"
    for path in ("a.c", "sub/b.c"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(path)
    pair.owner.do("backup", str(tree))
    back, words = below(target, tree), ("restore", "latest", "--delete", "--target", str(target))
    pair.owner.do(*words)
    for path in ("new.c", "sub/old/new.o"):
        (back / path).parent.mkdir(parents=True, exist_ok=True)
        (back / path).write_text("too much")
    (target / "mine").write_text("beside it")
    (back / "sub" / "link").symlink_to(target)
    dry = pair.owner.do(*words, "--dry-run")
    rows = [event for event in dry.events if event["event"] == "removal"]
    planned = {str(row["path"]).removeprefix(f"{back}/") for row in rows}
    assert planned == {"new.c", "sub/old/new.o", "sub/old", "sub/link"}
    refused = pair.owner.run(*words)
    assert (refused.code, "4 entries" in refused.stderr) == (2, True)
    assert (back / "new.c").exists()
    assert pair.owner.do(*words, "--exclude", "*.o", "--yes").last["removed"] == 2
    assert (back / "sub" / "old" / "new.o").exists()
    assert pair.owner.do(*words, "--yes").last["removed"] == 2
    assert compare_trees(tree, back).differences == {}
    assert (target / "mine").read_text() == "beside it"


def test_verify_reads_again_and_another_file_system_is_left_out_when_that_is_asked_for(world: World, pair: Pair):
    tree, target = world.path / "tree", world.path / "target"
    (tree / "disk").mkdir(parents=True)
    (tree / "file").write_text("here")
    with mounted(tree / "disk"):
        (tree / "disk" / "inside").write_text("on another file system")
        assert pair.owner.do("backup", str(tree)).last["files"] == 2
        alone = pair.owner.do("backup", "-x", str(tree))
        assert alone.last["files"] == 1
        said = [str(event.get("text")) for event in alone.events if event["event"] == "note"]
        assert [text for text in said if "disk: another file system" in text]
    listed = [str(row["path"]) for row in pair.owner.do("ls", "latest", "-R").rows]
    assert f"{tree}/disk" in listed
    assert f"{tree}/disk/inside" not in listed
    restored = pair.owner.do("restore", "latest", "--target", str(target), "--verify")
    assert "verifying" in {event.get("phase") for event in restored.events}
    again = pair.owner.do("restore", "latest", "--target", str(target))
    assert "verifying" not in {event.get("phase") for event in again.events}


def test_verify_finds_what_was_changed_behind_the_same_size_and_time(world: World, pair: Pair):
    tree, target = world.path / "tree", world.path / "target"
    tree.mkdir()
    (tree / "file").write_text("as it was")
    pair.owner.do("backup", str(tree))
    pair.owner.do("restore", "latest", "--target", str(target))
    back = below(target, tree) / "file"
    times = back.stat()
    back.write_text("otherwise")
    os.utime(back, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert pair.owner.do("restore", "latest", "--target", str(target)).last["kept"] == 1
    found = pair.owner.run("restore", "latest", "--target", str(target), "--verify")
    assert (found.code, found.named_files()) == (3, [str(tree / "file")])


@contextmanager
def mounted(place: Path) -> Iterator[None]:
    if subprocess.run(["mount", "-t", "tmpfs", "none", place], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)
