"""Streams as backups: one file, cut like any other, in constant memory."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.memory_engine import Recorder, Repository
from backuppeer.backup.archiver import ArchiveOptions, Archiver
from backuppeer.backup.browse import list_roots
from backuppeer.backup.piped import read_stream_name
from backuppeer.backup.trees import TreeReader
from backuppeer.errors import IncompleteError, InterruptedByUserError, UserError
from backuppeer.limits import CONTENT_INLINE_IDS, MIB, SEGMENT_BYTES, STREAM_NAME_BYTES, TREE_DEPTH
from backuppeer.repo.tree import EntryKind
from noise import noise


class Source:
    """Reads `data`; what a file of it would give."""

    def __init__(self, data, *, fail_at=None):
        self.data, self.at, self.fail_at = memoryview(data), 0, fail_at

    def __call__(self, view):
        if self.fail_at is not None and self.at >= self.fail_at:
            raise IncompleteError("the command failed")
        part = self.data[self.at : self.at + len(view)]
        view[: len(part)] = part
        self.at += len(part)
        return len(part)


def archive(repository, data, path=b"/stdin", *, fail_at=None, **options):
    repository.progress = Recorder()
    archiver = Archiver(
        repository.keys,
        repository.index,
        cache=repository.cache,
        sink=repository.sink,
        progress=repository.progress,
        options=ArchiveOptions(**options),
    )
    return archiver.run_stream(path, Source(data, fail_at=fail_at))


@pytest.mark.parametrize(
    "size", [0, 1, 5000, 3 * MIB, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 4 * SEGMENT_BYTES]
)
def test_a_stream_comes_back_as_the_file_it_was_named(repository, tmp_path, size):
    data = noise(size, size)
    result = archive(repository, data, b"/db/all.sql", now_ns=lambda: 1_600_000_000_123_456_789)
    assert (result.files, result.dirs, result.bytes, result.new_bytes, result.errors) == (1, 0, size, size, 0)
    assert result.snapshot.paths == [b"/db/all.sql"]
    repository.lose_cache()
    assert repository.restore(result.snapshot, tmp_path / "back").files == 1
    back = tmp_path / "back" / "db" / "all.sql"
    assert back.read_bytes() == data
    assert (back.stat().st_mode & 0o777, back.stat().st_mtime_ns) == (0o600, 1_600_000_000_123_456_789)
    assert (back.parent.stat().st_mode & 0o777) == 0o700


def test_a_stream_is_cut_where_a_file_of_its_bytes_is(repository, source):
    data = noise(7, 9 * MIB + 17)
    (source / "file").write_bytes(data)
    repository.backup(source)
    assert archive(repository, data).new_bytes == 0
    changed = data[: 4 * MIB] + b"a few bytes more" + data[4 * MIB :]
    assert 0 < archive(repository, changed).new_bytes < 5 * MIB


def test_a_long_stream_has_lists_of_its_chunks(repository, tmp_path, monkeypatch):
    data = noise(3, 20 * MIB)
    monkeypatch.setattr("backuppeer.repo.tree.CONTENT_INLINE_IDS", 4)
    result = archive(repository, data)
    trees = TreeReader(repository.keys, repository.index, cache=repository.cache)
    (visit,) = list_roots(trees, result.snapshot, recursive=True)
    assert (visit.entry.kind, visit.entry.depth, visit.entry.size) == (EntryKind.FILE, 1, len(data))
    assert CONTENT_INLINE_IDS > 4
    repository.restore(result.snapshot, tmp_path / "back")
    assert (tmp_path / "back" / "stdin").read_bytes() == data


def test_a_stream_that_fails_leaves_no_snapshot_but_what_is_stored_helps_the_next(repository):
    data = noise(4, 40 * MIB)
    with pytest.raises(IncompleteError, match="the command failed"):
        archive(repository, data, fail_at=36 * MIB)
    assert repository.index.snapshots() == []
    assert archive(repository, data).new_bytes < len(data)


def test_a_cancelled_stream_ends_at_the_next_segment(repository):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(InterruptedByUserError):
        archive(repository, bytes(20 * MIB), cancel=cancel)
    assert repository.index.snapshots() == []


def test_a_dry_run_reads_all_and_stores_nothing(repository: Repository):
    result = archive(repository, bytes(5 * MIB), dry_run=True)
    assert (result.bytes, result.stored_bytes, repository.sink.drafts) == (5 * MIB, 0, [])
    assert repository.index.snapshots() == []


@pytest.mark.parametrize(
    "name",
    ["", "/", "//", "a/", ".", "..", "a/../b", "./a", "a\0b", "x" * (STREAM_NAME_BYTES + 1), "a/" * TREE_DEPTH + "b"],
)
def test_what_is_no_name_of_a_file_is_refused(name):
    with pytest.raises(UserError):
        read_stream_name(name)


@settings(max_examples=200)
@given(st.lists(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60), min_size=1))
def test_any_other_name_is_kept_as_it_is(parts):
    if {".", ".."} & set(parts):
        return
    path = "/".join(parts)
    assert read_stream_name(path) == read_stream_name(f"/{path}") == f"/{path}".encode()
