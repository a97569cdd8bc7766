"""What snapshots take, each blob once."""

import sqlite3

import pytest

from backuppeer.backup import scratch
from backuppeer.backup.census import Census, Usage
from backuppeer.backup.trees import TreeReader
from backuppeer.errors import LocalError, UserError
from backuppeer.repo.blob import BlobKind


@pytest.fixture
def reader(repository):
    return TreeReader(repository.keys, repository.index, cache=repository.cache, source=repository.source)


def count(repository, reader, *results, **options):
    with Census(reader, repository.index, **options) as taken:
        for result in results:
            taken.add(result.snapshot_id, result.snapshot)
        return taken.usage()


def test_a_blob_counts_once_however_often_it_is_used(repository, source, reader):
    (source / "a").write_bytes(b"x" * 100_000)
    (source / "b").write_bytes(b"x" * 100_000)
    one = repository.backup(source)
    (source / "c").write_bytes(b"y" * 50_000)
    two = repository.backup(source)
    first, both = count(repository, reader, one), count(repository, reader, one, two)
    assert (first.data_blobs, first.data_bytes) == (1, 100_000)
    assert (both.data_blobs, both.data_bytes) == (2, 150_000)
    assert count(repository, reader, one, two, one) == both
    assert first.dedup_ratio(one.snapshot.bytes) == 2
    assert both.dedup_ratio(one.snapshot.bytes + two.snapshot.bytes) == 3
    assert first.compression_ratio > 10


def test_all_snapshots_together_are_all_that_the_index_knows(repository, source, reader, monkeypatch):
    monkeypatch.setattr(scratch, "_PAGE_ROWS", 3)
    for number in range(20):
        (source / f"{number}").write_bytes(b"%d" % number)
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "big").write_bytes(bytes(range(256)) * 20_000)
    results = [repository.backup(source)]
    (source / "deep" / "new").touch()
    results.append(repository.backup(source))
    usage = count(repository, reader, *results)
    assert usage.blobs == repository.index.counts().blobs - len(repository.index.blobs_of(BlobKind.INDEX))
    assert usage.packs == set(repository.vault.packs)
    assert 0 < usage.sealed_bytes <= sum(map(len, repository.vault.packs.values()))
    assert usage.missing == 0


def test_the_lists_of_a_long_file_count_and_so_do_their_chunks(repository, source, reader, monkeypatch):
    monkeypatch.setattr("backuppeer.repo.tree.CONTENT_INLINE_IDS", 1)
    (source / "long").write_bytes(bytes(range(256)) * 40_000)
    usage = count(repository, reader, repository.backup(source))
    assert usage.data_blobs > 1
    assert usage.blobs == repository.index.counts().blobs - len(repository.index.blobs_of(BlobKind.INDEX))


def test_directories_come_out_of_packs_when_the_cache_lost_them(repository, source, reader):
    for name in ("a", "b", "c"):
        (source / name).mkdir()
        (source / name / "f").write_text(name)
    result = repository.backup(source)
    expected = count(repository, reader, result)
    repository.lose_cache()
    assert count(repository, reader, result) == expected


def test_blobs_in_no_known_pack_are_counted_as_missing(repository, source, reader):
    (source / "a").write_bytes(b"x" * 1000)
    result = repository.backup(source)
    repository.index.clear()
    usage = count(repository, reader, result)
    assert usage.missing > 1
    assert (usage.blobs, usage.packs) == (0, set())


def test_nothing_has_ratios_of_one():
    assert (Usage().compression_ratio, Usage().dedup_ratio(0)) == (1.0, 1.0)


def test_a_count_can_be_ended_at_each_piece(repository, source, reader):
    def check(pieces):
        if pieces > 2:
            raise UserError("enough")

    result = repository.backup(source)
    with pytest.raises(UserError, match="enough"):
        count(repository, reader, result, check=check)


def test_a_full_temporary_folder_is_told(repository, source, reader, monkeypatch):
    result = repository.backup(source)
    monkeypatch.setattr(scratch.sqlite3, "connect", lambda *_, **__: Broken())
    with pytest.raises(LocalError, match="full"):
        count(repository, reader, result)


class Broken:
    def execute(self, *_):
        raise sqlite3.OperationalError("database or disk is full")

    def close(self):
        pass
