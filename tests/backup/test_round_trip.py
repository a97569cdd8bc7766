"""Back up, restore, compare: with packs that are really sealed and opened."""

import os
import pwd
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup.memory_engine import MemorySink, MemorySource, Repository
from backup.trees_on_disk import describe
from backuppeer.backup.roots import split_path
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.errors import InterruptedByUserError, NotFoundError, Unavailable, UserError
from backuppeer.limits import BATCH_FILES, CHUNK_MAX_BYTES, CHUNK_MIN_BYTES, SEGMENT_BYTES, SMALL_FILE_BYTES
from backuppeer.repo.chunker import Chunker
from backuppeer.repo.head import load_inventory
from backuppeer.repo.tree import TreeEntry
from noise import noise


def below(target: Path, source: Path) -> Path:
    return target / str(source).lstrip("/")


def content_of(repository, result, path) -> bytes:
    """Return the piece ids of a directory: directories above it change their times with every test."""
    return find(repository, result, path).content


def find(repository, result, path) -> TreeEntry:
    reader = TreeReader(repository.keys, repository.index, cache=repository.cache, source=repository.source)
    return find_entry(reader, result.snapshot.tree, split_path(bytes(path)))[-1]


def make_sample(root: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "empty").write_bytes(b"")
    (root / "a" / "text").write_bytes(b"hello\n" * 1000)
    (root / "a" / "again").write_bytes(b"hello\n" * 1000)
    (root / "void").mkdir()
    (root / "deep" / "er" / "est").mkdir(parents=True)
    (root / "deep" / "er" / "est" / "x").write_bytes(noise(1, 300_000))
    (root / "program").write_bytes(b"#!/bin/sh\n")
    (root / "program").chmod(0o4755)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    (root / "link").symlink_to("a/text")
    (root / "dangling").symlink_to("/nowhere/at all")
    (root / "loop").symlink_to("loop")
    (root / "folder-link").symlink_to("a")
    os.utime(root / "program", ns=(0, -1_500_000_000_123_456_789))
    os.utime(root / "deep", ns=(0, 1_234_567_890_987_654_321))
    os.utime(root / "link", ns=(0, 42), follow_symlinks=False)


def test_a_tree_comes_back_as_it_was(repository, source, tmp_path):
    make_sample(source)
    before = describe(source)
    result = repository.backup(source)
    assert result.errors == 0
    assert result.files == 5
    restored = repository.restore(result.snapshot, tmp_path / "target")
    assert restored.errors == 0
    assert restored.files == result.files
    assert restored.bytes == result.bytes
    assert describe(below(tmp_path / "target", source)) == before


def test_names_of_any_bytes_come_back(repository, source, tmp_path):
    names = [
        b"\xff\xfe",
        b"new\nline",
        b"-rf",
        b" ",
        b"~",
        b"a\\b",
        b"\x01\x7f",
        b"x" * 255,
        b"...",
        "ü".encode("latin-1"),
    ]
    for name in names:
        (source / os.fsdecode(name)).write_bytes(name)
    (source / os.fsdecode(b"dir\xff")).mkdir()
    (source / os.fsdecode(b"dir\xff") / "f").write_bytes(b"1")
    (source / os.fsdecode(b"l\xff")).symlink_to(os.fsdecode(b"\xff\nwhere"))
    before = describe(source)
    result = repository.backup(source)
    repository.restore(result.snapshot, tmp_path / "target")
    assert describe(below(tmp_path / "target", source)) == before


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.binary(max_size=2000),
        lambda inner: st.dictionaries(
            st.binary(min_size=1, max_size=20).filter(lambda n: n not in {b".", b".."} and not {0, 47} & set(n)),
            inner,
            max_size=6,
        ),
        max_leaves=25,
    ).filter(lambda tree: isinstance(tree, dict))
)
def test_any_tree_comes_back(tmp_path_factory, tree):
    root = tmp_path_factory.mktemp("any")
    (root / "home").mkdir()
    repository = Repository(root / "home")
    try:
        _write(root / "source", tree)
        result = repository.backup(root / "source")
        repository.restore(result.snapshot, root / "target")
        assert describe(below(root / "target", root / "source")) == describe(root / "source")
    finally:
        repository.close()


def _write(path, tree):
    if isinstance(tree, bytes):
        path.write_bytes(tree)
        return
    path.mkdir()
    for name, inner in tree.items():
        _write(path / os.fsdecode(name), inner)


SIZES = [
    1,
    CHUNK_MIN_BYTES,
    CHUNK_MIN_BYTES + 1,
    SMALL_FILE_BYTES,
    SMALL_FILE_BYTES + 1,
    SEGMENT_BYTES + CHUNK_MAX_BYTES,
    3 * SEGMENT_BYTES + 17,
    9 * SEGMENT_BYTES,
]


@pytest.mark.slow
def test_files_around_every_size_limit_come_back(repository, source, tmp_path):
    for size in SIZES:
        (source / f"random{size}").write_bytes(noise(size, size))
        (source / f"zeros{size}").write_bytes(bytes(size))
    before = describe(source)
    result = repository.backup(source)
    assert result.bytes == 2 * sum(SIZES)
    repository.restore(result.snapshot, tmp_path / "target")
    assert describe(below(tmp_path / "target", source)) == before


def test_a_streamed_file_is_cut_as_if_it_were_whole(repository, source):
    data = noise(5, 5 * SEGMENT_BYTES)
    (source / "big").write_bytes(data)
    repository.backup(source)
    cuts = {entry.plain_bytes for draft in repository.sink.drafts for entry in draft.entries if entry.kind == 1}
    assert max(cuts) <= CHUNK_MAX_BYTES
    whole = {len(part) for part in Chunker(repository.keys.chunker_seed).split(data)}
    assert cuts == whole


def test_an_unchanged_tree_is_not_read_and_its_pieces_are_shared(repository, source):
    make_sample(source)
    first = repository.backup(source)
    packs = len(repository.vault.packs)
    second = repository.backup(source, parent=first.snapshot)
    assert second.unchanged == second.files
    assert second.new_bytes == 0
    assert content_of(repository, second, source) == content_of(repository, first, source)
    assert second.snapshot_id != first.snapshot_id
    assert len(repository.vault.packs) == packs + 1


def test_what_changed_is_read_again_even_under_the_same_size_and_time(repository, source, tmp_path):
    make_sample(source)
    first = repository.backup(source)
    text = source / "a" / "text"
    status = text.stat()
    text.write_bytes(b"HELLO\n" * 1000)
    os.utime(text, ns=(status.st_atime_ns, status.st_mtime_ns))
    (source / "deep" / "new").write_bytes(b"new")
    (source / "program").unlink()
    before = describe(source)
    second = repository.backup(source, parent=first.snapshot)
    assert second.new_bytes == 6003
    repository.restore(second.snapshot, tmp_path / "target")
    assert describe(below(tmp_path / "target", source)) == before


def test_a_parent_whose_blobs_are_lost_is_not_relied_on(repository, source, tmp_path):
    make_sample(source)
    first = repository.backup(source)
    repository.index.clear()
    repository.vault.packs.clear()
    second = repository.backup(source, parent=first.snapshot)
    assert second.unchanged == 1  # the empty file needs no blob
    assert second.new_bytes == first.new_bytes
    repository.lose_cache()
    assert repository.restore(second.snapshot, tmp_path / "target").errors == 0
    assert describe(below(tmp_path / "target", source)) == describe(source)


def test_a_parent_that_the_cache_lost_costs_reading_but_no_storage(repository, source):
    make_sample(source)
    first = repository.backup(source)
    repository.lose_cache()
    second = repository.backup(source, parent=first.snapshot)
    assert second.unchanged == 0
    assert second.new_bytes == 0
    assert content_of(repository, second, source) == content_of(repository, first, source)


def test_the_same_content_is_stored_once(repository, source):
    data = noise(3, 1 << 20)
    for i in range(40):
        (source / str(i)).write_bytes(data)
    result = repository.backup(source)
    assert result.new_bytes == 1 << 20
    blobs = [entry.blob for draft in repository.sink.drafts for entry in draft.entries]
    assert len(blobs) == len(set(blobs))


def test_blobs_not_yet_durable_are_not_stored_twice(repository, source):
    for i in range(30):
        (source / str(i)).write_bytes(noise(i % 10, 2 << 20))
    sink = MemorySink(repository.keys, repository.index, repository.vault, late=True)
    result = repository.backup(source, sink=sink)
    blobs = [entry.blob for draft in sink.drafts for entry in draft.entries]
    assert len(blobs) == len(set(blobs))
    assert result.new_bytes == 20 << 20


def test_trees_come_out_of_packs_when_the_cache_is_lost(repository, source, tmp_path):
    make_sample(source)
    result = repository.backup(source)
    repository.lose_cache()
    assert repository.restore(result.snapshot, tmp_path / "target").errors == 0
    assert describe(below(tmp_path / "target", source)) == describe(source)


def test_a_file_and_a_subdirectory_can_be_restored_alone(repository, source, tmp_path):
    make_sample(source)
    result = repository.backup(source)
    repository.restore(result.snapshot, tmp_path / "one", bytes(source / "a" / "text"))
    assert set(describe(below(tmp_path / "one", source))) == {b"a", b"a/text"}
    repository.restore(result.snapshot, tmp_path / "two", bytes(source / "deep"))
    assert set(describe(below(tmp_path / "two", source))) == {b"deep", b"deep/er", b"deep/er/est", b"deep/er/est/x"}
    assert (below(tmp_path / "two", source) / "deep").stat().st_mtime_ns == 1_234_567_890_987_654_321
    with pytest.raises(NotFoundError):
        repository.restore(result.snapshot, tmp_path / "three", bytes(source / "no"))


def test_overlapping_and_repeated_paths_are_merged(repository, source):
    make_sample(source)
    one = repository.backup(source)
    two = repository.backup(source / "a", source, source / "a" / "text", source)
    assert content_of(repository, one, source) == content_of(repository, two, source)
    assert two.files == one.files


def test_single_files_and_symlinks_are_backed_up_as_they_are(repository, source, tmp_path):
    make_sample(source)
    result = repository.backup(source / "a" / "text", source / "link", source / "deep" / "er")
    assert result.errors == 0
    repository.restore(result.snapshot, tmp_path / "target")
    found = describe(below(tmp_path / "target", source))
    assert set(found) == {b"a", b"a/text", b"link", b"deep", b"deep/er", b"deep/er/est", b"deep/er/est/x"}
    assert found[b"link"] == describe(source)[b"link"]


def test_a_path_through_a_symlink_is_followed_on_the_way_only(repository, source, tmp_path):
    make_sample(source)
    result = repository.backup(source / "folder-link" / "text")
    repository.restore(result.snapshot, tmp_path / "target")
    restored = below(tmp_path / "target", source) / "folder-link"
    assert restored.is_dir()
    assert not restored.is_symlink()
    assert (restored / "text").read_bytes() == b"hello\n" * 1000


def test_a_link_is_saved_as_a_link_and_the_person_is_told_what_it_points_to(repository, source, tmp_path):
    make_sample(source)
    link = tmp_path / "li nk"
    link.symlink_to("source")
    repository.backup(link)
    (note,) = repository.progress.notes
    assert note.startswith(f"{link} is a link to source: only the link itself is saved")
    assert note.endswith(f"to save what it points to: `backup-peer backup {source}`")
    repository.backup(link, source)
    assert repository.progress.notes == [], "what it points to is saved, too"
    link.unlink()
    link.symlink_to("gone")
    repository.backup(link)
    assert repository.progress.notes == [f"{link} is a link to gone: only the link itself is saved"]


def test_paths_that_are_missing_are_named_and_the_others_backed_up(repository, source):
    make_sample(source)
    gone = bytes(source / "no" / "such")
    result = repository.backup(source, gone, gone + b"/")
    assert repository.progress.errors == {gone: "no such file or folder"}
    assert result.errors == 1
    assert result.files
    assert result.snapshot.paths == [bytes(source)], "a snapshot is never of a path that was not there"


def test_when_no_path_is_there_nothing_is_read(repository, source):
    with pytest.raises(NotFoundError, match="no1"):
        repository.backup(source / "no1", source / "no2")
    assert not repository.vault.packs
    with pytest.raises(UserError):
        repository.backup(b"relative")
    with pytest.raises(UserError):
        repository.backup()


def test_a_dry_run_counts_the_same_and_stores_nothing(repository, source):
    make_sample(source)
    dry = repository.backup(source, dry_run=True)
    assert not repository.vault.packs
    assert not repository.index.snapshots()
    wet = repository.backup(source)
    assert (dry.files, dry.bytes, dry.new_bytes, dry.dirs) == (wet.files, wet.bytes, wet.new_bytes, wet.dirs)
    assert repository.backup(source, dry_run=True).new_bytes == 0


def test_a_failed_sink_makes_no_snapshot(repository, source):
    for i in range(12):
        (source / str(i)).write_bytes(noise(i, 3 << 20))
    for fail_after in (0, 1):
        sink = MemorySink(repository.keys, repository.index, repository.vault, fail_after=fail_after)
        with pytest.raises(Unavailable):
            repository.backup(source, sink=sink)
        assert not repository.index.snapshots()
    result = repository.backup(source)
    assert 0 < result.new_bytes < result.bytes  # what the failed run stored is not stored again


def test_cancelling_stops_without_a_snapshot(repository, source):
    make_sample(source)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(InterruptedByUserError):
        repository.backup(source, cancel=cancel)
    assert not repository.index.snapshots()


def test_the_inventory_names_every_pack_and_can_be_read_back(repository, source):
    make_sample(source)
    repository.backup(source)
    (source / "more").write_bytes(b"more")
    second = repository.backup(source)
    assert set(second.inventory.packs) == set(repository.vault.packs)
    assert second.inventory.snapshots[-1] == second.snapshot_id
    assert len(second.inventory.snapshots) == 2
    repository.lose_cache()
    reader = TreeReader(repository.keys, repository.index, cache=repository.cache, source=repository.source)
    assert load_inventory(second.index, reader.read_blob) == second.inventory


def test_a_small_backup_makes_one_pack(repository, source):
    make_sample(source)
    repository.backup(source)
    assert len(repository.vault.packs) == 1


def test_an_unchanged_backup_costs_what_the_readme_says(repository, source):
    make_sample(source)
    first = repository.backup(source)
    before = set(repository.vault.packs)
    repository.backup(source, parent=first.snapshot)
    assert [len(pack) for name, pack in repository.vault.packs.items() if name not in before] == [262_144]


def test_many_files_in_many_batches_keep_their_places(repository, source, tmp_path):
    for i in range(BATCH_FILES * 5):
        directory = source / str(i % 37)
        directory.mkdir(exist_ok=True)
        (directory / str(i)).write_bytes(str(i).encode())
    result = repository.backup(source)
    repository.restore(result.snapshot, tmp_path / "target")
    assert describe(below(tmp_path / "target", source)) == describe(source)


def test_entries_hold_names_of_owners(repository, source):
    (source / "f").write_bytes(b"x")
    result = repository.backup(source / "f")
    entry = find(repository, result, source / "f")
    assert entry.uid == os.getuid()
    assert entry.user == pwd.getpwuid(os.getuid()).pw_name


def test_adjacent_blobs_are_fetched_in_one_range_per_pack(repository, source, tmp_path):
    for i in range(200):
        (source / str(i)).write_bytes(noise(i, 3000))
    result = repository.backup(source)
    source_of_packs = MemorySource(repository.vault)
    repository.restore(result.snapshot, tmp_path / "target", source=source_of_packs)
    assert len(source_of_packs.fetches) == 1
    assert len(source_of_packs.fetches[0][1]) == 1


def test_folders_that_are_only_on_the_way_to_a_path_are_not_counted(repository, source):
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "c").touch()
    assert repository.backup(source).dirs == 3, "as find counts: itself, a, b"
    assert repository.backup(source / "a" / "b" / "c").dirs == 0
    again = repository.backup(source, parent=repository.backup(source).snapshot)
    assert again.dirs == 3
