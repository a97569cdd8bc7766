"""`recover --take-over` with real processes: a second machine becomes the writer, the first says so, all is kept."""

from pathlib import Path

import pytest

from backuppeer.agent.home.home import Home as BackupHome
from backuppeer.cli.homes import grant_peer
from backuppeer.crypto.keys import derive_authority
from backuppeer.crypto.words import decode_words
from e2e.harness import Home, Pair, World, agree, below, describe_tree, holds_any
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "files"
    make_random_files(root, count=3, size_bytes=300_000, seed=35)
    return root


def back_up(home: Home, tree: Path, name: str) -> str:
    """Add a file, make a snapshot and return its id."""
    (tree / name).write_text(name)
    return str(home.do("backup", str(tree)).last["snapshot"])


def listed(home: Home) -> list[str]:
    return [str(row["snapshot"]) for row in home.do("snapshots").rows]


def take_over(home: Home, words: str) -> dict[str, object]:
    return home.do("recover", "--take-over", "--yes", stdin=words + "\n").last


def what_lies_at(pair: Pair) -> dict[Path, bytes]:
    """Everything that the host keeps for the owner: packs, heads, requests."""
    root = pair.host.path / "store" / "agreements"
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_second_machine_takes_over_and_the_first_says_so_changes_nothing_and_restores(world: World, tree: Path):
    pair = agree(world)
    first = pair.owner
    made = [back_up(first, tree, "by the first")]

    second = world.home("second")
    refused = second.run("recover", "--take-over", stdin=pair.words + "\n")
    assert refused.code == 2, "nobody is there to ask"
    done = take_over(second, pair.words)
    assert (done["epoch"], done["peers"], done["snapshots"]) == (2, [pair.host_id], 1)
    made.append(back_up(second, tree, "by the second"))
    assert listed(second) == made
    at_two = describe_tree(tree)

    (tree / "never backed up").write_text("by the first, too late")
    before = what_lies_at(pair)
    for verb in (
        ("backup", str(tree)),
        ("forget", made[0], "--yes"),
        ("tag", made[0], "--add", "x"),
        ("prune", "--yes"),
    ):
        late = first.run(*verb)
        assert late.code == 13, (verb, late)
        assert str(late.last["message"]).startswith("taken over"), verb
        assert "`backup-peer recover --take-over" in str(late.last["hint"])
    assert what_lies_at(pair) == before, "the first machine changed something at the host"
    said = first.do("status").last
    assert said["read_only"] is True
    assert any("taken over" in str(note) for note in said["notes"])
    assert listed(first) == made, "it reads what the second machine wrote"
    target = world.path / "restored by the first"
    first.do("restore", "latest", "--target", str(target))
    assert describe_tree(below(target, tree)) == at_two
    assert first.do("check").last["problems"] == []

    (tree / "never backed up").unlink()
    made.append(back_up(second, tree, "by the second again"))
    assert listed(second) == made
    master = decode_words(pair.words)
    secrets = [pair.words.encode(), master, derive_authority(master).seed()]
    assert holds_any(second.path, secrets) == [], "they lie nowhere, in no log either"

    # The first takes it back: its words, a further epoch; the second one learns it in its turn.
    assert take_over(first, pair.words)["epoch"] == 3
    made.append(back_up(first, tree, "by the first once more"))
    assert listed(first) == made
    assert second.run("backup", str(tree)).code == 13
    heir = world.home("heir")
    heir.do("recover", "--yes", stdin=pair.words + "\n")
    assert listed(heir) == made
    assert heir.run("backup", str(tree)).code == 13, "without --take-over it may only read"


@pytest.mark.usefixtures("hasty")
def test_what_was_backed_up_to_a_host_that_was_away_is_kept_and_a_kill_after_the_grant_is_no_loss(
    world: World, tree: Path
):
    pair = agree(world)
    first, near = pair.owner, pair.host
    far, _ = world.peer("far")
    far.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")
    far_id = far.peer_id()
    first.do("connect", far_id, "--storage", "400MB", "--name", "far", "--yes", "--wait", "30s")
    made = [back_up(first, tree, "with both")]

    second = world.home("second")
    second.do("recover", "--yes", stdin=pair.words + "\n")
    far.do("agent", "stop")
    # Killed after the grant: this is all that it leaves. The same command then needs no words.
    name = next((first.path / "repository").iterdir()).name
    second.do("agent", "stop")
    grant_peer(BackupHome(second.path), decode_words(pair.words), repository=name, epoch=2)
    partly = second.run("recover", "--take-over", "--yes")
    assert partly.code == 3, "one host has not heard"
    done = partly.last
    assert (done["epoch"], done["peers"]) == (2, [pair.host_id])
    assert [host["peer_id"] for host in done["left_out"]] == [far_id]
    made.append(back_up(second, tree, "by the second"))

    near.do("agent", "stop")
    far.do("agent", "start")
    lonely = back_up(first, tree, "by the first, at the far host")
    near.do("agent", "start")
    heir = world.home("heir")
    notes = heir.do("recover", "--yes", stdin=pair.words + "\n").last["notes"]
    assert any("has not heard of the last take-over" in str(note) for note in notes)
    assert listed(heir) == made, "what no list of the writer names yet is told, not shown"
    joined = back_up(second, tree, "by the second, with both")
    assert listed(second) == [*made, lonely, joined]
    assert first.run("backup", str(tree)).code == 13

    near.do("agent", "stop")
    target = world.path / "out"
    second.do("restore", lonely, "--target", str(target))
    assert (below(target, tree) / "by the first, at the far host").exists()
    assert not (below(target, tree) / "by the second, with both").exists()
