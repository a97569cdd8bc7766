"""`prune` with real processes: space comes back when the lock is over, and everything that is needed stays."""

from pathlib import Path

import pytest

from e2e.harness import Home, World, agree, below, describe_tree, wait_until
from e2e.trees import make_random_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture
def tree(world: World) -> Path:
    root = world.path / "files"
    make_random_files(root, count=6, size_bytes=900_000, seed=31)
    return root


def back_up(home: Home, tree: Path, *words: str) -> str:
    return str(home.do("backup", str(tree), *words).last["snapshot"])


def listed(home: Home) -> list[str]:
    return [str(row["snapshot"]) for row in home.do("snapshots").rows]


def packs_of(home: Home) -> set[str]:
    return {path.name for path in home.path.rglob("packs/*/*") if not path.name.endswith(".leaves")}


def test_what_nothing_needs_is_erased_when_the_lock_is_over_and_the_rest_comes_back(world: World, tree: Path):
    pair = agree(world, lock="1s")
    owner, host = pair.owner, pair.host
    first = back_up(owner, tree)
    make_random_files(tree, count=6, size_bytes=900_000, seed=32)
    second = back_up(owner, tree)
    before, wanted = packs_of(host), describe_tree(tree)
    assert owner.run("prune").code == 0, "nothing to ask"
    owner.do("forget", first, "--yes")
    assert owner.run("prune").code == 2, "nobody is there to ask"
    dry = owner.do("prune", "--dry-run").last
    assert dry["deleted_packs"] >= 1
    assert packs_of(host) >= before
    done = owner.do("prune", "--yes").last
    assert done["peers"] == [pair.host_id]
    assert done["freed_bytes"] >= 5_000_000
    wait_until(lambda: not packs_of(host) >= before, "the lock to be over")
    assert owner.do("prune", "--yes").last["deleted_packs"] <= 1, "at most the list before"
    assert listed(owner) == [second]
    target = world.path / "out"
    owner.do("restore", "latest", "--target", str(target), "--verify")
    assert describe_tree(below(target, tree)) == wanted
    heir = world.home("heir")
    heir.do("recover", "--yes", stdin=pair.words + "\n")
    assert listed(heir) == [second]
    heir.do("restore", second, "--target", str(world.path / "inherited"))
    assert describe_tree(below(world.path / "inherited", tree)) == wanted
    assert heir.run("prune", "--yes").code == 13, "a recovered home may only read"


def test_forget_with_prune_frees_a_full_agreement_so_that_backups_go_on(world: World, tree: Path):
    pair = agree(world, storage="64MiB", lock="1s")
    owner, host = pair.owner, pair.host
    made = []
    full = None
    for seed in range(40, 60):
        make_random_files(tree, count=12, size_bytes=900_000, seed=seed)
        done = owner.run("backup", str(tree))
        if done.code != 0:
            full = done
            break
        made.append(str(done.last["snapshot"]))
    assert full is not None
    assert full.code == 13
    assert "full" in full.last["message"] or "small" in full.last["message"]
    before = pair.stored_bytes()
    done = owner.do("forget", "--keep-last", "1", "--prune", "--yes").last
    assert len(done["forgotten"]) == len(made) - 1
    assert done["pruned"]["freed_bytes"] > 20_000_000
    wait_until(lambda: pair.stored_bytes() < before, "the lock to be over")
    again = str(owner.do("backup", str(tree)).last["snapshot"])
    assert listed(owner) == [made[-1], again]
    owner.do("restore", "latest", "--target", str(world.path / "out"), "--verify")
    assert describe_tree(below(world.path / "out", tree)) == describe_tree(tree)
    assert host.do("status").last is not None


def test_an_agent_killed_in_mid_prune_loses_nothing_and_the_next_prune_finishes(world: World, tree: Path):
    pair = agree(world, lock="1s")
    owner = pair.owner
    moments = [
        {"name": "progress", "phase": "counting"},
        {"name": "progress", "phase": "packing anew"},
        {"name": "progress", "phase": "storing the list of packs"},
        {"name": "done"},
    ]
    for number, moment in enumerate(moments):
        back_up(owner, tree)
        first = listed(owner)[-1]
        for name in ("file-000", "file-001", "file-002"):
            (tree / name).write_bytes(bytes([number]) * 10 + (tree / name).read_bytes()[::-1])
        back_up(owner, tree)
        owner.do("forget", first, "--yes")
        running = owner.start("prune", "--max-unused", "0", "--yes")
        running.wait_event(**moment)
        owner.kill_agent()
        assert "Traceback" not in running.wait().stderr
    kept = listed(owner)
    wanted = describe_tree(tree)
    owner.do("prune", "--max-unused", "0", "--yes")
    done = owner.do("prune", "--max-unused", "0", "--dry-run").last
    assert done["repacked_packs"] == 0
    owner.do("restore", "latest", "--target", str(world.path / "out"), "--verify")
    assert describe_tree(below(world.path / "out", tree)) == wanted
    heir = world.home("heir")
    heir.do("recover", "--yes", stdin=pair.words + "\n")
    assert listed(heir) == kept
    for snapshot in kept:
        heir.do("restore", snapshot, "--target", str(world.path / snapshot), "--verify")


@pytest.mark.usefixtures("hasty")
def test_backups_and_restores_go_on_beside_a_prune_of_two_hosts_one_of_which_is_away(world: World, tree: Path):
    pair = agree(world, lock="1s")
    owner = pair.owner
    other, _ = world.peer("other")
    other.do("host", "--storage", "1GB", "--lock", "1s", "--accept", "all", "--detach", "--yes")
    owner.do("connect", other.peer_id(), "--storage", "400MB", "--name", "other", "--yes", "--wait", "30s")
    first = back_up(owner, tree)
    make_random_files(tree, count=3, size_bytes=900_000, seed=77)
    second = back_up(owner, tree)
    owner.do("forget", first, "--yes")
    other.do("agent", "stop")
    pruning = owner.start("prune", "--max-unused", "0", "--yes")
    third = back_up(owner, tree, "--to", "alice")
    owner.do("restore", second, "--target", str(world.path / "beside"))
    pruned = pruning.wait()
    assert pruned.code == 3, "one host was not told"
    assert [host["name"] for host in pruned.events[-2]["left_out"]] == ["other"]
    other.do("agent", "start")
    before = len(packs_of(other))
    fourth = back_up(owner, tree)
    wait_until(lambda: len(packs_of(other)) < before, "the other host to hear of it")
    pair.host.do("agent", "stop")
    wanted = describe_tree(tree)
    assert third in listed(owner)
    owner.do("restore", fourth, "--target", str(world.path / "out"), "--verify")
    assert describe_tree(below(world.path / "out", tree)) == wanted
