"""What a home or a host loses comes back, is told, or is sent again; nothing is dropped in silence (E6, E7)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.harness import Home, World, agree, below, describe_tree
from e2e.seen import note
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def make_tree(world: World, name: str, seed: int) -> Path:
    root = world.path / name
    make_random_files(root, count=8, size_bytes=2_500_000, seed=seed)
    return root


def assert_restores(world: World, home: Home, snapshot: str, tree: Path, into: str) -> None:
    target = world.path / into
    home.do("restore", snapshot, "--target", str(target))
    assert describe_tree(below(target, tree)) == describe_tree(tree)


def lose(home: Home, pattern: str) -> None:
    home.do("agent", "stop")
    lost = [path for path in (home.path / "repository").rglob(pattern) if path.is_file()]
    assert lost
    for path in lost:
        path.unlink()


def spoil(home: Home, pattern: str) -> None:
    home.do("agent", "stop")
    for path in (home.path / "repository").rglob(pattern):
        path.write_bytes(b"not a database at all" * 500)


@pytest.mark.parametrize("harm", [lose, spoil])
def test_a_lost_or_damaged_database_is_rebuilt_and_no_snapshot_is_dropped(
    world: World, harm: Callable[[Home, str], None]
):
    pair = agree(world)
    first = make_tree(world, "first", 1)
    kept = pair.owner.do("backup", str(first)).last["snapshot"]
    for number, pattern in enumerate(("index.db*", "ledger.db*", "*.db*")):
        harm(pair.owner, pattern)
        pair.owner.do("backup", str(make_tree(world, f"other-{number}", 2 + number)))
        assert kept in {row["snapshot"] for row in pair.owner.do("snapshots").rows}
        harm(pair.owner, pattern)
        assert_restores(world, pair.owner, kept, first, f"out-{number}")


@pytest.mark.seen
def test_a_pack_that_the_host_lost_is_told_and_sent_again_once_the_host_is_forgiven(world: World):
    pair = agree(world)
    tree = make_tree(world, "files", 3)
    pair.owner.do("backup", str(tree))
    pair.host.do("agent", "stop")
    for pack in sorted(pair.packs(), key=lambda path: path.stat().st_size)[-1:]:
        pack.unlink()
    pair.host.do("status")
    restored = pair.owner.run("restore", "latest", "--target", str(world.path / "before"))
    assert restored.code == 15
    caught = pair.owner.run("backup", str(tree))
    assert caught.code == 13, "the only host was caught, and gets no new data"
    assert [e["message"] for e in caught.events if e["event"] == "fault"] == [
        "packs that it had acknowledged are gone: 1"
    ]
    assert "peers forgive alice" in caught.stderr
    pair.owner.do("peers", "forgive", "alice")
    assert pair.owner.run("backup", str(tree)).code == 0, "it is whole again"
    assert_restores(world, pair.owner, "latest", tree, "after")
    note(
        world,
        "E6",
        "a pack is gone at the only host, and a backup meets that",
        caught,
        verb="backup",
        code=13,
        way_out="`peers forgive`; the same backup sends the pack again, and a restore gives every byte",
        hinted="peers forgive alice",
    )


@pytest.mark.usefixtures("hasty")
def test_a_host_that_is_gone_for_good_does_not_block_backups_to_another(world: World):
    pair = agree(world)
    tree = make_tree(world, "files", 4)
    pair.owner.do("backup", str(tree))
    pair.host.do("agent", "stop")
    other, _ = world.peer("other")
    other.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    pair.owner.do("connect", other.peer_id(), "--storage", "400MB", "--name", "other", "--yes", "--wait", "30s")
    pair.owner.do("backup", str(tree), "--to", "other")
    assert_restores(world, pair.owner, "latest", tree, "out")


def test_a_host_with_too_little_room_does_not_stop_the_backup_to_the_other(world: World):
    pair = agree(world)
    tree = make_tree(world, "files", 5)
    small, _ = world.peer("small")
    small.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    pair.owner.do("connect", small.peer_id(), "--storage", "70MB", "--name", "small", "--yes", "--wait", "30s")
    make_random_files(tree, count=32, size_bytes=2_500_000, seed=55)
    for _ in range(2):
        done = pair.owner.run("backup", str(tree), "--copies", "2")
        assert done.code == 3, done
        assert "small" in done.last["message"]
    assert_restores(world, pair.owner, "latest", tree, "out")


def test_a_lost_pack_hides_no_later_snapshot_from_the_heir_and_recovery_names_it(world: World):
    pair = agree(world)
    tree = make_tree(world, "files", 7)
    snapshots, packs = [], []
    for name in ("one", "two", "three"):
        (tree / name).write_text(name)
        snapshots.append(pair.owner.do("backup", str(tree)).last["snapshot"])
        packs.append(set(pair.packs()))
        (tree / name).unlink()
    pair.host.do("agent", "stop")
    for pack in packs[1] - packs[0]:
        pack.unlink()
    pair.host.do("status")
    heir = world.home("heir")
    told = heir.run("recover", "--yes", stdin=pair.words + "\n")
    assert told.code == 15
    assert f"found 2 snapshots, but snapshot {snapshots[1][:8]}" in told.last["message"]
    missing = {row["snapshot"]: row["missing"] for row in heir.do("snapshots").rows}
    assert missing == {snapshot: snapshot == snapshots[1] for snapshot in snapshots}
    (tree / "three").write_text("three")
    heir.do("restore", "latest", "--target", str(world.path / "out"))
    assert {path.name for path in below(world.path / "out", tree).iterdir()} == {path.name for path in tree.iterdir()}
    assert heir.run("restore", snapshots[1], "--target", str(world.path / "out2")).code == 15
    assert pair.owner.run("backup", str(tree)).code in {13, 15}, "the host was caught"
    pair.owner.run("peers", "forgive", "alice")
    assert pair.owner.run("backup", str(tree)).code == 0, "and has all of it again"
    healed = world.home("healed")
    healed.do("recover", "--yes", stdin=pair.words + "\n")
    assert {row["snapshot"] for row in healed.do("snapshots").rows} > set(snapshots)


def test_recovery_goes_on_when_one_host_returns_a_bad_tail(world: World):
    pair = agree(world)
    tree = make_tree(world, "files", 6)
    other, _ = world.peer("other")
    other.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    pair.owner.do("connect", other.peer_id(), "--storage", "400MB", "--name", "other", "--yes", "--wait", "30s")
    pair.owner.do("backup", str(tree))
    pack = max(pair.packs(), key=lambda path: path.stat().st_size)
    with pack.open("r+b") as file:
        file.seek(-5, 2)
        file.write(b"wrong")
    heir = world.home("heir")
    heir.do("recover", "--yes", stdin=pair.words + "\n")
    assert_restores(world, heir, "latest", tree, "out")


@pytest.mark.parametrize("verb", ["connect", "recover"])
def test_an_owner_that_lost_its_state_takes_up_the_agreement_again_though_the_host_is_full(world: World, verb: str):
    pair = agree(world, storage="600MB")
    tree = make_tree(world, "files", 8)
    first = pair.owner.do("backup", str(tree)).last["snapshot"]
    pair.owner.do("agent", "stop")
    for part in pair.owner.path.glob("state.db*"):
        part.unlink()
    (pair.owner.path / "state.db").write_bytes(b"")
    told = pair.owner.run("restore", "latest", "--target", str(world.path / "no"))
    assert told.code == 10
    assert "takes up an agreement again" in told.last["hint"]
    if verb == "connect":
        pair.owner.do("connect", pair.host_id, "--storage", "600MB", "--yes", "--wait", "30s")
    else:
        pair.owner.do("recover", "--yes", stdin=pair.words + "\n")
    assert_restores(world, pair.owner, "latest", tree, "out")
    (tree / "new").write_text("new")
    pair.owner.do("backup", str(tree))
    assert first in {row["snapshot"] for row in pair.owner.do("snapshots").rows}
    assert_restores(world, pair.owner, "latest", tree, "out2")


def test_a_host_that_is_set_back_is_named_with_15_by_backup_and_restore_which_go_on_all_the_same(world: World):
    pair = agree(world)
    tree = make_tree(world, "files", 5)
    pair.owner.do("backup", str(tree))
    pair.host.do("agent", "stop")
    (head,) = (pair.host.path / "store").glob("agreements/*/head")
    before = head.read_bytes()
    pair.host.do("status")
    (tree / "new").write_bytes(b"new" * 1000)
    newest = pair.owner.do("backup", str(tree)).last["snapshot"]
    # As with a disk that was restored from an image: the packs are there, the head is that of yesterday.
    pair.host.do("agent", "stop")
    head.write_bytes(before)
    pair.host.do("status")
    lose(pair.owner, "index.db*")  # so that the host is asked for more than packs
    target = world.path / "out"
    restored = pair.owner.run("restore", newest, "--target", str(target))
    assert (restored.code, restored.last["event"]) == (15, "done")
    assert describe_tree(below(target, tree)) == describe_tree(tree)
    backed_up = pair.owner.run("backup", str(tree))
    assert (backed_up.code, backed_up.last["event"]) == (15, "done")
    for told in (restored, backed_up):
        (fault,) = [event for event in told.events if event["event"] == "fault"]
        assert fault["message"] == "it shows head 1, and had countersigned head 2"
        assert fault["peer_id"] == pair.host.peer_id()
    assert pair.owner.run("backup", str(tree)).code == 0, "and now it has the newest"
