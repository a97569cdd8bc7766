"""A run that breaks off leaves what it finished; a folder that was backed up by itself is known in any other list."""

import threading
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup.memory_engine import MemorySink
from backuppeer.backup import assembly as assembly_module
from backuppeer.backup import trail as trail_module
from backuppeer.backup.parents import plan_parents
from backuppeer.backup.roots import split_path
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.errors import BackupPeerError, InterruptedByUserError, LocalError, Unavailable
from backuppeer.limits import MIB
from noise import noise

UNDER_WAY = 12
"""Files whose blobs may be durable though nobody had collected their batches when the run broke off."""


def fill(folder, *, count=10, size=500_000, seed=1):
    folder.mkdir(parents=True, exist_ok=True)
    data = noise(seed, count * size)
    for number in range(count):
        (folder / f"file-{number:02}").write_bytes(data[number * size : (number + 1) * size])
    return folder


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Write down what is finished every few files, as a long run does many times over."""
    monkeypatch.setattr(trail_module, "PARTIAL_FILES", 5)


def breaking(repository, packs):
    return MemorySink(repository.keys, repository.index, repository.vault, fail_after=packs)


def break_off(repository, source, *, packs, **options):
    with pytest.raises(Unavailable):
        repository.backup(source, sink=breaking(repository, packs), **options)


def durable(repository):
    return sum(draft.length for draft in repository.sink.drafts)


def entry_at(repository, result, path):
    """Return the entry of a place in a snapshot; the folders above it are other tests' as well."""
    trees = TreeReader(repository.keys, repository.index, cache=repository.cache)
    return find_entry(trees, result.snapshot.tree, split_path(bytes(path)))[-1]


@pytest.fixture
def tree(source):
    fill(source / "flat", count=50, seed=1)
    for number in range(10):
        fill(source / f"many-{number}" / "deep", count=5, seed=2 + number)
    return source


def test_what_is_durable_when_a_run_breaks_off_is_neither_read_nor_stored_again(repository, tree):
    sink = breaking(repository, 2)
    with pytest.raises(Unavailable):
        repository.backup(tree, sink=sink)
    had = sum(draft.length for draft in sink.drafts)
    done = repository.backup(tree)
    assert done.files == 100
    assert done.unchanged >= had // 500_000 - UNDER_WAY, "but for what was under way, nothing that is durable is read"
    assert done.read_bytes == 500_000 * (100 - done.unchanged)
    assert done.new_bytes <= 50_000_000 - had + MIB
    repository.partial.forget([bytes(tree)])
    fresh = repository.backup(tree)
    assert entry_at(repository, fresh, tree) == entry_at(repository, done, tree), "as of a run at once"
    assert (fresh.unchanged, fresh.read_bytes) == (0, 50_000_000)


def test_a_run_can_break_off_again_and_again(repository, tree):
    read = 0
    for _ in range(3):
        break_off(repository, tree, packs=1)
    done = repository.backup(tree)
    assert done.unchanged >= 3 * (16 * MIB // 500_000 - UNDER_WAY)
    read += done.read_bytes
    assert read <= 500_000 * (100 - done.unchanged)


def test_a_run_that_was_cancelled_leaves_what_it_finished(repository, tree):
    cancel = threading.Event()

    class Cancelling(MemorySink):
        def store(self, draft):
            super().store(draft)
            cancel.set()

    sink = Cancelling(repository.keys, repository.index, repository.vault)
    with pytest.raises(InterruptedByUserError):
        repository.backup(tree, sink=sink, cancel=cancel)
    assert repository.backup(tree).unchanged >= 16 * MIB // 500_000 - UNDER_WAY


def test_a_file_changed_since_the_run_broke_off_is_read(repository, tree):
    break_off(repository, tree, packs=2)
    (tree / "flat" / "file-00").write_bytes(b"other")
    done = repository.backup(tree)
    repository.restore(done.snapshot, tree.parent / "target")
    restored = tree.parent / "target" / str(tree)[1:] / "flat" / "file-00"
    assert restored.read_bytes() == b"other"


def test_a_finished_place_is_known_when_the_run_breaks_off_in_another_one(repository, source):
    first, second = fill(source / "a", count=40, seed=1), fill(source / "b", count=60, seed=2)
    with pytest.raises(Unavailable):
        repository.backup(first, second, sink=breaking(repository, 2))
    done = repository.backup(first, second)
    assert done.unchanged >= 40
    assert set(repository.partial.entries_in(bytes(source))) == {b"a", b"b"}, "until the snapshot stands"


def test_what_another_run_left_is_known_in_a_folder_above(repository, tree):
    break_off(repository, tree / "flat", packs=1)
    assert repository.backup(tree).unchanged >= 16 * MIB // 500_000 - UNDER_WAY


def test_a_dry_run_leaves_nothing_and_a_backup_of_unchanged_files_neither(repository, tree):
    repository.backup(tree, dry_run=True)
    assert repository.partial.is_empty()
    done = repository.backup(tree)
    repository.partial.forget([bytes(tree)])
    again = repository.backup(tree, parent=done.snapshot)
    assert (again.unchanged, again.read_bytes) == (100, 0)
    assert repository.partial.is_empty()


def test_a_partial_tree_that_cannot_be_written_ends_no_backup(repository, tree):
    with patch.object(type(repository.partial), "write", side_effect=LocalError("the disk is full")):
        assert repository.backup(tree).files == 100


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.integers(1, 60), st.randoms())
def test_however_a_run_breaks_off_the_next_one_makes_the_same_tree(repository, tree, cuts, every, chance):
    with patch.object(trail_module, "PARTIAL_FILES", every), patch.object(assembly_module, "TREE_BATCH", 3):
        for packs in cuts:
            try:
                repository.backup(tree, sink=breaking(repository, packs))
            except BackupPeerError:
                touched = chance.choice(sorted(tree.rglob("file-*")))
                touched.write_bytes(chance.randbytes(chance.randrange(1, 300_000)))
        done = repository.backup(tree)
        repository.partial.forget([b"/"])
        assert entry_at(repository, repository.backup(tree), tree) == entry_at(repository, done, tree)


# --- other lists of paths
def of(*results):
    return [result.snapshot for result in results]


def backup(repository, snapshots, *paths):
    plan = plan_parents(snapshots, [bytes(path) for path in paths])
    return repository.backup(*paths, parent=plan.base, grafts=plan.grafts)


def test_an_unchanged_folder_is_not_read_when_others_are_added_or_taken_out(repository, source):
    a, b, c = (fill(source / name, count=3, seed=number) for number, name in enumerate("abc"))
    first = backup(repository, [], a)
    second = backup(repository, of(first), b)
    third = backup(repository, of(first, second), a, b, c)
    assert (third.unchanged, third.read_bytes) == (6, 1_500_000)
    assert backup(repository, of(third), b).read_bytes == 0
    above = backup(repository, of(first, second, backup(repository, of(third), c)), source)
    assert (above.unchanged, above.read_bytes) == (9, 0)
    single = backup(repository, of(above), c / "file-00")
    assert (single.unchanged, single.read_bytes) == (1, 0)


def test_a_file_that_was_backed_up_by_itself_is_not_read_with_its_folder(repository, source):
    fill(source, count=2)
    alone = backup(repository, [], source / "file-01")
    whole = backup(repository, of(alone), source)
    assert (whole.unchanged, whole.read_bytes) == (1, 500_000)


def test_a_graft_whose_trees_are_lost_is_read_again(repository, source):
    a, b = fill(source / "a", count=2, seed=1), fill(source / "b", count=2, seed=2)
    made = [backup(repository, [], a), backup(repository, [], b)]
    repository.lose_cache()
    assert backup(repository, of(*made), a, b).unchanged == 0
