"""The first half of a check: every tree opens, every blob is somewhere; and what it costs where that is not so."""

import pytest

from backuppeer.backup.checker import Checker
from backuppeer.backup.trees import TreeReader
from backuppeer.errors import LocalError, UserError
from backuppeer.repo.tree import EntryKind


@pytest.fixture
def results(repository, source):
    (source / "sub").mkdir()
    for number in range(4):
        (source / "sub" / f"{number}").write_bytes(b"%d" % number * 50_000)
    (source / "a").write_bytes(b"x" * 100_000)
    (source / "copy of a").write_bytes(b"x" * 100_000)
    first = repository.backup(source)
    (source / "b").write_bytes(b"y" * 50_000)
    return [first, repository.backup(source)]


def reader(repository, *, cached=True):
    if not cached:
        repository.cache.clear()
    return TreeReader(repository.keys, repository.index, cache=repository.cache, source=repository.source)


def check(repository, results, *, spoil=(), cached=True, told=lambda _: None):
    with Checker(reader(repository, cached=cached), repository.index, check=told) as checker:
        for result in results:
            checker.add(result.snapshot_id, result.snapshot)
        found = checker.finish()
        checker.mark_bad(spoil)
        hits = list(checker.name_hits([(r.snapshot_id, r.snapshot) for r in results])) if checker.has_bad else []
        return found, hits, list(checker.needed_packs())


def chunks(repository, result, name):
    trees = reader(repository)
    waiting = [result.snapshot.tree]
    while waiting:
        for entry in trees.entries(waiting.pop()):
            if entry.kind == EntryKind.DIRECTORY:
                waiting.append(entry.content)
            elif entry.name == name:
                return list(trees.chunks_of(entry))
    raise AssertionError(name)


def test_what_is_whole_has_no_hits_and_names_every_pack_it_lies_in(repository, results):
    found, hits, packs = check(repository, results)
    assert (found.missing, found.wrong, found.unread, hits) == (0, 0, 0, [])
    assert set(packs) == set(repository.vault.packs)
    assert packs == sorted(packs)


def test_a_bad_chunk_hits_every_file_that_has_it_in_every_snapshot(repository, source, results):
    _, hits, _ = check(repository, results, spoil=chunks(repository, results[0], b"a"))
    place = bytes(source).lstrip(b"/")
    assert {hit.path for hit in hits} == {place + b"/a", place + b"/copy of a"}
    assert [hit.snapshot for hit in hits].count(results[0].snapshot_id) == 2
    assert {hit.snapshot for hit in hits} == {result.snapshot_id for result in results}
    _, hits, _ = check(repository, results, spoil=chunks(repository, results[1], b"b"))
    assert [(hit.snapshot, hit.path) for hit in hits] == [(results[1].snapshot_id, place + b"/b")]


def test_a_blob_in_no_pack_is_missing_and_its_file_is_named(repository, source, results):
    lost = repository.index.find(chunks(repository, results[0], b"2")[0])
    repository.index._db.transact(lambda db: db.execute("DELETE FROM blobs WHERE blob = ?", (lost.blob,)))
    found, hits, _ = check(repository, results)
    assert found.missing == 1
    assert {hit.path for hit in hits} == {bytes(source).lstrip(b"/") + b"/sub/2"}


def test_a_folder_that_can_not_be_read_is_named_and_the_others_are_still_looked_at(repository, source, results):
    spoiled = results[0]
    trees = reader(repository)
    content = spoiled.snapshot.tree
    for part in (*bytes(source).strip(b"/").split(b"/"), b"sub"):
        content = next(e for e in trees.entries(content) if e.name == part).content
    repository.cache.clear()
    repository.index._db.transact(lambda db: db.execute("DELETE FROM blobs WHERE blob = ?", (content[:32],)))
    found, hits, _ = check(repository, results, cached=False, spoil=chunks(repository, results[1], b"b"))
    assert found.wrong == 1
    place = bytes(source).lstrip(b"/")
    assert {hit.path for hit in hits} == {place + b"/sub", place + b"/b"}


def test_folders_with_hosts_that_are_away_are_unread_and_nothing_is_called_lost(repository, results):
    repository.source.offline = set(repository.vault.packs)
    found, hits, _ = check(repository, results, cached=False)
    assert found.unread > 0
    assert (found.missing, found.wrong, hits) == (0, 0, [])


def test_all_blobs_of_a_pack_can_be_marked(repository, results):
    with Checker(reader(repository), repository.index) as checker:
        for pack in repository.vault.packs:
            checker.mark_bad(place.blob for place in repository.index.locations_in(pack))
        hits = list(checker.name_hits([(r.snapshot_id, r.snapshot) for r in results]))
    assert {hit.path.rpartition(b"/")[2] for hit in hits} >= {b"a", b"b", b"0", b"1", b"2", b"3", b""}


def test_a_check_can_be_ended_in_the_middle(repository, results):
    def end(pieces):
        if pieces > 1:
            raise UserError("enough")

    with pytest.raises(UserError):
        check(repository, results, told=end)


def test_a_full_temporary_folder_is_told_as_such(repository, results):
    with Checker(reader(repository), repository.index) as checker:
        checker._notes._db.execute("PRAGMA max_page_count=8")
        with pytest.raises(LocalError, match="full"):
            checker.mark_bad(number.to_bytes(32, "big") for number in range(10_000))
