"""A directory that looks as before is not read again, and nothing that changed is ever taken for unchanged."""

import os
import shutil
import socket
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup.memory_engine import MemorySink, Repository
from backup.trees_on_disk import describe
from backuppeer.backup import walk as walk_module
from backuppeer.backup.exclusion import Exclusions
from backuppeer.backup.likeness import Look, is_alike, read_look, take_look
from backuppeer.backup.parents import merge_paths
from backuppeer.backup.past import Past
from backuppeer.backup.roots import split_path
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.errors import IntegrityFault, LocalError, Unavailable
from backuppeer.files.scan import list_directory, open_directory
from backuppeer.limits import LOOK_ENTRIES
from backuppeer.repo.tree import EntryKind, TreeEntry


class Settled(Repository):
    """A repository whose every backup stands at once, so that nothing is left of it in the partial tree."""

    def backup(self, *paths, **options):
        result = super().backup(*paths, **options)
        self.partial.forget(merge_paths(result.snapshot.paths))
        return result


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "home").mkdir()
    repository = Settled(tmp_path / "home")
    yield repository
    repository.close()


def content_of(repository, result, folder):
    """Return the tree pieces of a folder: those above it change with whatever else goes on there."""
    trees = TreeReader(repository.keys, repository.index, cache=repository.cache)
    return find_entry(trees, result.snapshot.tree, split_path(bytes(folder)))[-1].content


@pytest.fixture
def alike(monkeypatch):
    """Paths of directories that were passed over."""
    passed = []
    ask = walk_module.Walker._is_alike

    def asked(self, node, root, rows):
        answer = ask(self, node, root, rows)
        if answer:
            passed.append(node.path)
        return answer

    monkeypatch.setattr(walk_module.Walker, "_is_alike", asked)
    return passed


@pytest.fixture
def tree(source):
    for path in ("a/deep/er/one", "a/deep/two", "a/three", "b/four", "b/empty"):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(path.encode() if path != "b/empty" else b"")
    (source / "b" / "link").symlink_to("four")
    return source


def below(tree, *paths):
    return {bytes(tree / path) for path in paths}


def restored(repository, result, source, target):
    assert repository.restore(result.snapshot, target).errors == 0
    return describe(target / str(source).lstrip("/"))


def test_an_unchanged_tree_is_passed_over_and_counted_whole(repository, tree, alike):
    first = repository.backup(tree)
    assert alike == []
    second = repository.backup(tree, parent=first.snapshot)
    # The named folder itself is looked at entry by entry.
    assert set(alike) == below(tree, "a", "a/deep", "a/deep/er", "b")
    assert content_of(repository, second, tree) == content_of(repository, first, tree)
    assert (second.files, second.bytes, second.dirs) == (first.files, first.bytes, first.dirs)
    assert (second.unchanged, second.read_bytes, second.new_bytes) == (second.files, 0, 0)


CHANGES = {
    "content in place": lambda tree: (tree / "a/deep/er/one").write_bytes(b"A/DEEP/ER/ONE"),
    "content and times set back": lambda tree: change_and_set_back(tree / "a/deep/er/one"),
    "a new file": lambda tree: (tree / "a/deep/er/new").write_bytes(b"new"),
    "a file gone": lambda tree: (tree / "a/deep/er/one").unlink(),
    "a folder gone": lambda tree: shutil.rmtree(tree / "a/deep/er"),
    "rights of a file": lambda tree: (tree / "b/four").chmod(0o600),
    "rights of a folder": lambda tree: (tree / "a/deep").chmod(0o700),
    "another link": lambda tree: ((tree / "b/link").unlink(), (tree / "b/link").symlink_to("else")),
    "a file for a folder": lambda tree: (shutil.rmtree(tree / "a/deep/er"), (tree / "a/deep/er").write_bytes(b"")),
    "a name": lambda tree: (tree / "b/four").rename(tree / "b/five"),
    "a second name": lambda tree: os.link(tree / "b/four", tree / "b/five"),
    "a folder moved": lambda tree: (tree / "a/deep").rename(tree / "b/deep"),
}


def change_and_set_back(path):
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_wherever_it_is(repository, tree, tmp_path, change):
    first = repository.backup(tree)
    CHANGES[change](tree)
    second = repository.backup(tree, parent=first.snapshot)
    assert content_of(repository, second, tree) != content_of(repository, first, tree)
    assert content_of(repository, second, tree) == content_of(repository, repository.backup(tree), tree)
    assert restored(repository, second, tree, tmp_path / "target") == describe(tree)


def test_a_change_deep_down_leaves_its_neighbours_alone(repository, tree, alike):
    first = repository.backup(tree)
    (tree / "a/deep/er/one").write_bytes(b"other")
    second = repository.backup(tree, parent=first.snapshot)
    assert set(alike) == below(tree, "a", "a/deep", "b")
    assert second.read_bytes == 5
    del alike[:]
    repository.backup(tree, parent=second.snapshot)
    assert set(alike) == below(tree, "a", "a/deep", "a/deep/er", "b")


def test_what_is_left_out_now_is_left_out_of_unchanged_folders_too(repository, tree, alike):
    first = repository.backup(tree)
    second = repository.backup(tree, parent=first.snapshot, exclusions=Exclusions(exclude=("two",)))
    assert alike == []
    assert second.files == first.files - 1
    third = repository.backup(tree, parent=second.snapshot)
    assert content_of(repository, third, tree) == content_of(repository, first, tree)


def test_a_mark_deep_down_is_looked_for_in_unchanged_folders(repository, tree, alike):
    (tree / "a/deep/CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55")
    first = repository.backup(tree)
    second = repository.backup(tree, parent=first.snapshot, exclusions=Exclusions(caches=True))
    assert alike == []
    assert second.files == first.files - 2


def test_an_ignore_file_counts_though_nothing_changed(repository, tree, alike):
    (tree / "a/.backupignore").write_text("two\n")
    first = repository.backup(tree)
    second = repository.backup(tree, parent=first.snapshot)
    assert set(alike) == below(tree, "b")
    assert content_of(repository, second, tree) == content_of(repository, first, tree)


def test_sockets_are_told_of_each_time(repository, tree, alike):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tree / "b/s"))
        first = repository.backup(tree)
        second = repository.backup(tree, parent=first.snapshot)
    assert second.skipped == 1
    assert bytes(tree / "b") not in alike


def test_blobs_that_the_index_lost_are_read_again(repository, tree, alike, tmp_path):
    first = repository.backup(tree)
    lost = [draft.logical for draft in repository.sink.drafts]
    repository.index.turnover.forget(lost)
    for pack in lost:
        del repository.vault.packs[pack]
    second = repository.backup(tree, parent=first.snapshot)
    assert alike == []
    assert second.new_bytes == first.new_bytes
    assert restored(repository, second, tree, tmp_path / "target") == describe(tree)


@pytest.mark.parametrize("fails_after", [0, 1])
def test_looks_of_a_run_that_broke_off_say_nothing(repository, tree, alike, tmp_path, fails_after):
    """Its looks are in the cache, of content that the parent snapshot has, too; its packs are at no host."""
    first = repository.backup(tree)
    lost = [draft.logical for draft in repository.sink.drafts]
    repository.index.turnover.forget(lost)
    for pack in lost:
        del repository.vault.packs[pack]
    sink = repository.sink = MemorySink(repository.keys, repository.index, repository.vault, fail_after=fails_after)
    (tree / "large").write_bytes(os.urandom(20 << 20))
    with pytest.raises(Unavailable):
        repository.backup(tree, parent=first.snapshot)
    sink._fail_after = None
    repository.partial.forget(merge_paths(first.snapshot.paths))
    third = repository.backup(tree, parent=first.snapshot)
    assert alike == []
    assert restored(repository, third, tree, tmp_path / "target") == describe(tree)


def test_a_walk_during_which_blobs_were_forgotten_is_not_believed(repository, tree):
    repository.backup(tree)
    trust = repository.index.begin_walk()
    repository.index.turnover.forget([repository.sink.drafts[0].logical])
    repository.index.end_walk(trust)
    assert not repository.index.begin_walk().walks


def test_packs_that_a_prune_takes_away_are_not_relied_on(repository, tree, alike):
    first = repository.backup(tree)
    packs = [draft.logical for draft in repository.sink.drafts]
    repository.index.turnover.name(packs)
    assert repository.index.turnover.mark_leaving(packs) == set(packs)
    second = repository.backup(tree, parent=first.snapshot)
    assert alike == []
    assert second.new_bytes == first.new_bytes


def test_a_backup_that_passes_over_directories_keeps_every_pack_from_leaving(repository, tree, alike):
    first = repository.backup(tree)
    packs = [draft.logical for draft in repository.sink.drafts]
    turnover = repository.index.turnover
    turnover.name(packs)
    with turnover.relying():
        repository.backup(tree, parent=first.snapshot)
        assert alike
        assert turnover.mark_leaving(packs) == set()
        turnover.follow([])
        assert not any(turnover.is_dropped(pack) for pack in packs)
    assert turnover.mark_leaving(packs) == set(packs)


def test_packs_that_a_host_lacks_are_made_anew(repository, tree, alike):
    first = repository.backup(tree)
    repository.index.conceal([draft.logical for draft in repository.sink.drafts])
    second = repository.backup(tree, parent=first.snapshot)
    assert alike == []
    assert second.new_bytes == first.new_bytes


def test_an_index_made_anew_makes_no_look_true(repository, tree, alike):
    first = repository.backup(tree)
    before = repository.index.begin_walk()
    repository.index.clear()
    after = repository.index.begin_walk()
    assert before.walks
    assert not after.walks
    assert after.epoch != before.epoch
    assert repository.backup(tree, parent=first.snapshot).new_bytes == first.new_bytes
    assert alike == []


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"\x95\x01", bytes(range(50))])
def test_a_damaged_look_is_no_look(repository, tree, alike, damage):
    first = repository.backup(tree)
    repository.cache._db.transact(lambda db: db.execute("UPDATE looks SET look = ?", (damage,)))
    second = repository.backup(tree, parent=first.snapshot)
    assert alike == []
    assert content_of(repository, second, tree) == content_of(repository, first, tree)
    repository.backup(tree, parent=second.snapshot)
    assert alike


def test_a_lost_cache_costs_a_reading_and_nothing_else(repository, tree, alike):
    first = repository.backup(tree)
    before = content_of(repository, first, tree)
    repository.lose_cache()
    os.utime(tree.parent, ns=(1, 1))  # so that the folders above get pieces of their own in either snapshot
    second = repository.backup(tree, parent=first.snapshot)
    assert alike == []
    assert content_of(repository, second, tree) == before
    assert second.new_bytes == 0


def test_a_cache_that_lets_go_in_the_middle_ends_the_backup_in_words(repository, tree, monkeypatch):
    first = repository.backup(tree)
    (tree / "a/deep/er/one").write_bytes(b"other")
    # First "deep/er" is decoded, since it changed; then "deep" and "a", in which it lies, are to be made anew.
    entries, asked = Past.entries, []

    def forgetful(self, content):
        asked.append(content)
        return entries(self, content) if len(asked) <= len(tree.parts) + 1 else None

    monkeypatch.setattr(Past, "entries", forgetful)
    with pytest.raises(LocalError, match="lost what this backup compares with") as caught:
        repository.backup(tree, parent=first.snapshot)
    assert "again" in caught.value.hint


def test_looks_of_another_index_say_nothing(repository, tree, alike, tmp_path):
    """As after a run that broke off: looks are in the cache, packs at no host."""
    first = repository.backup(tree)
    (tmp_path / "other").mkdir()
    other = Settled(tmp_path / "other")
    cache, other.cache = other.cache, repository.cache
    second = other.backup(tree, parent=first.snapshot)
    other.cache = cache
    other.close()
    assert alike == []
    assert second.new_bytes == first.new_bytes


# --- any sequence of changes
NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "remove", "chmod", "backup", "link"]), PATHS, st.integers(0, 255)), max_size=25
)


def do(step, root: Path):
    verb, name, value = step
    path = root / name
    try:
        if verb == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes([value]) * value)
        elif verb == "remove":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        elif verb == "chmod":
            path.chmod(0o400 + value % 8 + (0o300 if path.is_dir() else 0))
        elif verb == "link":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(str(value))
    except OSError:
        pass


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_backup_with_a_parent_is_the_same_as_one_without(tmp_path_factory, steps):
    home = tmp_path_factory.mktemp("home")
    root = tmp_path_factory.mktemp("root") / "tree"
    root.mkdir()
    repository, parent = Settled(home), None
    try:
        for step in [*steps, ("backup", "", 0), ("backup", "", 0)]:
            if step[0] == "backup":
                result = repository.backup(root, parent=parent)
                fresh = repository.backup(root)
                assert content_of(repository, result, root) == content_of(repository, fresh, root)
                assert (result.files, result.bytes, result.dirs) == (fresh.files, fresh.bytes, fresh.dirs)
                parent = result.snapshot
            else:
                do(step, root)
    finally:
        repository.close()


# --- the look itself
def entry(name, kind=EntryKind.FILE, **changes):
    fields = {"mode": 0o644, "uid": 1, "gid": 2, "mtime_ns": -3, "ctime_ns": 4, "inode": 5, "size": 6, "content": b""}
    fields |= changes
    return TreeEntry(
        kind,
        name,
        *(fields[f] for f in ("mode", "uid", "gid", "mtime_ns", "ctime_ns", "inode", "size", "content")),
        b"",
        "",
        "",
        0,
    )


def test_files_and_folders_of_a_look_are_those_of_the_entries():
    entries = [entry(b"d", EntryKind.DIRECTORY, content=bytes(32), size=0), entry(b"f"), entry(b"g", size=10)]
    look = read_look(take_look(b"c" * 32, entries, b"e"))
    assert (look.walk, look.folders, look.files, look.bytes) == (b"e", [(b"d", bytes(32))], 2, 16)


def test_every_field_and_the_content_make_another_digest():
    def digest(content=b"c" * 32, **changes):
        return read_look(take_look(content, [entry(b"f", **changes)], b"")).digest

    changed = [digest(**{field: 9}) for field in ("mode", "uid", "gid", "mtime_ns", "ctime_ns", "inode", "size")]
    assert len({digest(), digest(content=b"d" * 32), *changed}) == 9


def test_a_directory_too_large_has_no_look():
    entries = [entry(b"%06d" % n) for n in range(LOOK_ENTRIES + 1)]
    assert take_look(bytes(32), entries, b"") is None
    assert take_look(bytes(32), entries[:-1], b"") is not None


def test_what_no_file_system_gives_has_no_look():
    assert take_look(bytes(32), [entry(b"f", uid=-1)], b"") is None


def test_nonsense_is_no_look():
    with pytest.raises(IntegrityFault, match="look"):
        read_look(b"nonsense")
    with pytest.raises(IntegrityFault, match="look"):
        read_look(b"\x96" + msgspec.msgpack.encode((b"", b"", [], 0, 0))[1:] + b"\x91" * 3000 + b"\x90")


def test_rows_of_a_directory_are_compared_with_all_that_was_there(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    directory = open_directory(bytes(tmp_path))
    rows = list_directory(directory, None)
    directory.release()
    s = rows[0][1]
    same = entry(
        b"f",
        mode=s.st_mode & 0o7777,
        uid=s.st_uid,
        gid=s.st_gid,
        size=1,
        mtime_ns=s.st_mtime_ns,
        ctime_ns=s.st_ctime_ns,
        inode=s.st_ino,
    )
    look = read_look(take_look(bytes(32), [same], b""))
    assert is_alike(look, bytes(32), rows)
    assert not is_alike(look, bytes(32), [])
    assert not is_alike(look, bytes(32), [*rows, ("g", s)])
    assert not is_alike(Look(b"", bytes(32), [], 1, 1), bytes(32), rows)
