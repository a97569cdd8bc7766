"""A home in a file, with real processes: read on another machine, and moved to it; no server is needed for that."""

from pathlib import Path

import pytest

from e2e.harness import World, agree, below, describe_tree
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PASSPHRASE = "correct horse battery\n"


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "files"
    make_random_files(root, count=3, size_bytes=200_000, seed=48)
    return root


def test_a_copy_reads_what_was_backed_up_and_makes_no_backups(world: World, tree: Path):
    pair = agree(world)
    pair.owner.do("backup", str(tree))
    file = world.path / "home.bp"
    said = pair.owner.do("export", str(file), "--yes", stdin=PASSPHRASE).last
    assert (said["hosts"], said["may_write"]) == (1, False)
    assert file.stat().st_mode & 0o777 == 0o600
    again = pair.owner.run("export", str(file), "--yes", stdin=PASSPHRASE)
    assert again.code == 2, "a file that is there is left alone"

    world.servers = ""
    other = world.home("other")
    wrong = other.run("import", str(file), "--yes", stdin="incorrect horse\n")
    assert (wrong.code, other.run("id").code) == (12, 10)
    there = other.do("import", str(file), "--yes", stdin=PASSPHRASE).last
    assert there == said
    other.do("recover")
    target = world.path / "restored"
    other.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)
    assert other.run("backup", str(tree)).code == 13
    assert other.run("import", str(file), "--yes", stdin=PASSPHRASE).code == 2
    pair.owner.do("backup", str(tree))  # the machine it came from goes on


def test_a_moved_home_makes_the_backups_and_the_machine_it_came_from_does_not(world: World, tree: Path):
    pair = agree(world)
    first = pair.owner.do("backup", str(tree)).last["snapshot"]
    file = world.path / "home.bp"
    assert pair.owner.run("export", str(file), "--move", stdin=PASSPHRASE).code == 2, "it asks first"
    pair.owner.do("export", str(file), "--move", "--yes", stdin=PASSPHRASE)
    assert pair.owner.run("backup", str(tree)).code == 13
    assert pair.owner.run("export", str(world.path / "b.bp"), "--move", "--yes", stdin=PASSPHRASE).code == 2

    other = world.home("other")
    assert other.do("import", str(file), "--yes", stdin=PASSPHRASE).last["may_write"] is True
    pair.host.do("agent", "stop")
    away = other.run("snapshots")
    assert (away.code, "has not heard yet what its hosts keep" in away.stderr) == (11, True), "not an empty list"
    pair.host.do("agent", "start")
    assert [row["snapshot"] for row in other.do("snapshots").rows] == [first], "as import says"
    (tree / "new").write_text("made on the other machine")
    second = other.do("backup", str(tree)).last["snapshot"]
    assert [row["snapshot"] for row in other.do("snapshots").rows] == [first, second]
    target = world.path / "restored"
    other.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)


def test_a_damaged_or_foreign_file_is_refused_and_makes_no_home(world: World):
    other = world.home("other")
    file = world.path / "home.bp"
    for content, code in (
        (b"", 15),
        (b"x" * 100, 15),
        (b"BPHOME\r\n\x02" + bytes(99), 15),
        (b"BPHOME\r\n\x03" + bytes(99), 15),
    ):
        file.write_bytes(content)
        assert other.run("import", str(file), "--yes", stdin=PASSPHRASE).code == code, content[:9]
    assert other.run("import", str(world.path / "none"), "--yes", stdin=PASSPHRASE).code == 10
    assert other.run("id").code == 10
