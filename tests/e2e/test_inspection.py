"""Looking into real backups: find, diff, stats and dump over real processes, what goes wrong included."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from e2e.harness import Home, Pair, World, agree, below, describe_tree
from e2e.trees import CONTENT_MARK, make_awkward_tree, make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def pair(world: World) -> Pair:
    return agree(world)


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "tree"
    make_awkward_tree(root)
    return root


def dump(home: Home, place: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run `dump` with standard output as a pipe."""
    command = [sys.executable, "-m", "backuppeer.cli.main", "dump", place, *words]
    return subprocess.run(
        command, env=home.environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=240, check=False
    )


def unpack(archive: bytes, target: Path) -> int:
    """Let the system's tar unpack an archive; return its exit code."""
    target.mkdir()
    command = ["tar", "--extract", "--numeric-owner", "--preserve-permissions", "--directory", str(target)]
    return subprocess.run(command, input=archive, capture_output=True, check=False).returncode


def change(tree: Path) -> None:
    (tree / "new").mkdir()
    (tree / "new" / "file.txt").write_bytes(b"12345")
    (tree / "compressible").write_bytes(CONTENT_MARK)
    (tree / "twin-1").unlink()
    (tree / "link").unlink()
    (tree / "link").mkdir()
    (tree / "empty").chmod(0o644)


def test_find_diff_stats_and_dump_of_two_snapshots_tell_what_there_is(world: World, pair: Pair, tree: Path):
    owner = pair.owner
    first = str(owner.do("backup", str(tree)).last["snapshot"])
    before = describe_tree(tree)
    change(tree)
    second = str(owner.do("backup", str(tree)).last["snapshot"])

    found = owner.do("find", "*.TXT", "twin-?", "-i").rows
    names = [(row["snapshot"], str(row["path"]).removeprefix(f"{tree}/")) for row in found]
    deep = "a/b/c/d/note.txt"
    assert names == [
        (second, "Grüße aus 東京 🗾.txt"),
        (second, deep),
        (second, "a/twin-2"),
        (second, "new/file.txt"),
        (first, "Grüße aus 東京 🗾.txt"),
        (first, deep),
        (first, "a/twin-2"),
        (first, "twin-1"),
    ]
    odd = os.fsdecode(b"not-utf8-\xff\xfe-*")
    assert len(owner.do("find", os.fsencode(odd), "--snapshot", "latest").rows) == 1
    assert {row["path"] for row in owner.do("find", "*", "--type", "file", "--min-size", "6MB").rows} == {f"{tree}/big"}
    assert owner.do("find", "big", "--newer", "2026-01-01", "--path", str(tree)).rows == []

    told = owner.do("diff", first, "latest")
    changes = {
        (line["change"], str(line["path"]).removeprefix(f"{tree}/")) for line in told.events[:-1] if "change" in line
    }
    assert changes == {
        ("+", "new"),
        ("+", "new/file.txt"),
        ("M", "compressible"),
        ("-", "twin-1"),
        ("T", "link"),
    }
    assert (told.last["files_added"], told.last["files_removed"], told.last["files_changed"]) == (1, 1, 1)
    with_metadata = owner.do("diff", f"{first}:{tree}", f"{second}:{tree}", "--metadata").events
    assert ("U", f"{tree}/empty") in {(line.get("change"), line.get("path")) for line in with_metadata}

    stats, one = owner.do("stats").last, owner.do("stats", first).last
    rows = owner.do("snapshots").rows
    assert (stats["files"], stats["bytes"]) == tuple(
        sum(int(str(row[key])) for row in rows) for key in ("files", "bytes")
    )
    assert float(str(one["dedup_ratio"])) > 1
    assert int(str(one["stored_bytes"])) < int(str(one["unique_bytes"])) < int(str(one["bytes"]))
    (volume,) = stats["hosts"]  # type: ignore[misc] - an array of one
    assert volume["stored_bytes"] == pair.stored_bytes()

    for name in ("big", "empty", "a/twin-2"):
        done = dump(owner, f"latest:{tree}/{name}")
        assert (done.returncode, done.stdout) == (0, (tree / name).read_bytes())
    archive = dump(owner, f"{first}:{tree}")
    assert archive.returncode == 0, archive.stderr
    assert unpack(archive.stdout, world.path / "out") == 0
    assert describe_tree(below(world.path / "out", tree)) == before
    target = world.path / "whole.tar"
    assert owner.do("dump", second, "--target", str(target)).last["format"] == "tar"
    with tarfile.open(target, encoding="utf-8", errors="surrogateescape") as tar:
        assert f"{tree}/new/file.txt"[1:] in tar.getnames()


def test_a_recovered_home_can_look_into_backups_too(world: World, pair: Pair, tree: Path):
    pair.owner.do("backup", str(tree))
    heir = world.home("heir")
    heir.do("recover", "--yes", stdin=pair.words + "\n")
    assert dump(heir, f"latest:{tree}/big").stdout == (tree / "big").read_bytes()
    assert len(heir.do("find", "twin-*").rows) == 2
    assert heir.do("stats").last["missing_blobs"] == 0
    assert [line for line in heir.do("diff", "latest", "latest").events if line["event"] == "change"] == []


def test_a_spoilt_pack_ends_a_dump_with_15_and_what_there_is_does_not_look_whole(world: World, pair: Pair):
    tree = world.path / "many"
    make_random_files(tree, count=60, size_bytes=1_000_000, seed=6)
    pair.owner.do("backup", str(tree))
    for path in pair.packs()[:2]:
        with path.open("r+b") as pack:
            for at in range(2_000_000, path.stat().st_size - 1_000_000, 500_000):
                pack.seek(at)
                pack.write(b"spoilt!")
    done = dump(pair.owner, f"latest:{tree}")
    assert done.returncode == 15, done.stderr
    assert b"error: " in done.stderr
    assert b"the output is incomplete" in done.stderr
    assert unpack(done.stdout, world.path / "out") != 0
    target = world.path / "out.tar"
    told = pair.owner.run("dump", f"latest:{tree}", "--target", str(target))
    assert (told.code, told.last["event"], told.last["code"]) == (15, "error", 15)
    assert "was not written" in str(told.last["message"])
    assert not target.exists()
    # what needs no file's bytes goes on
    assert len(pair.owner.do("find", "file-*").rows) == 60


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["find"], 2),
        (["find", ""], 2),
        (["find", "x", "--type", "door"], 2),
        (["find", "x", "--newer", "soon"], 2),
        (["find", "x", "--snapshot", "ffffffff"], 10),
        (["find", "x", "--snapshot", "FIRST", "--tag", "t"], 2),
        (["diff", "latest"], 2),
        (["diff", "latest", "nonsense"], 10),
        (["diff", "latest:/no/such/place", "latest"], 10),
        (["diff", "latest:relative", "latest"], 2),
        (["stats", "nonsense"], 10),
        (["dump", "latest:/no/such/place", "--target", "TARGET"], 10),
        (["dump", "ffffffff", "--target", "TARGET"], 10),
        (["dump", "latest", "--archive", "zip", "--target", "TARGET"], 2),
        (["dump", "latest"], 2),
        (["dump", "latest:LINK", "--target", "TARGET"], 2),
        (["dump", "latest", "--target", "/"], 2),
        (["dump", "latest", "--target", "/no/such/folder/file"], 2),
    ],
)
def test_wrong_input_is_told_with_its_code_and_a_hint(shared: tuple[Pair, Path, str], words: list[str], code: int):
    pair, tree, snapshot = shared
    target = tree.parent / "target"
    names = {"FIRST": snapshot, "TARGET": str(target)}
    said = [names.get(word, word.replace("LINK", f"{tree}/link")) for word in words]
    result = pair.owner.run(*said)
    assert result.code == code, result
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ") or "\nerror: " in result.stderr
    assert "hint: " in result.stderr
    assert result.last["event"] == "error"
    assert result.last["code"] == code
    assert not target.exists()


@pytest.fixture(scope="module")
def shared():
    """One backup for all wrong inputs: none of them may change anything."""
    world = World()
    try:
        pair = agree(world)
        tree = world.path / "tree"
        make_awkward_tree(tree)
        snapshot = str(pair.owner.do("backup", str(tree)).last["snapshot"])
        yield pair, tree, snapshot
    finally:
        world.close()


def test_looking_before_there_is_anything_is_10(world: World, pair: Pair):
    for words in (["find", "x"], ["diff", "latest", "latest"], ["stats"], ["dump", "latest", "--target", "x"]):
        result = pair.owner.run(*words)
        assert (result.code, result.last["code"]) == (10, 10), result
        assert "hint: " in result.stderr
