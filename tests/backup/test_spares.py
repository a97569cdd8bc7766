"""A blob that lies in two packs is read from the second one when the first can't be had, by every reader."""

import pytest

from backup.test_dumper import Dumping, take
from backup.test_viewer import Viewing
from backup.trees_on_disk import describe
from backuppeer.backup.fetching import group_by_pack, read_pack
from backuppeer.errors import IntegrityFault, Unavailable
from backuppeer.repo.blob import Compressor
from backuppeer.repo.pack import PackDraft
from noise import noise

SIZES = (300_000, 20_000, 3_000_000)


@pytest.fixture
def twice(repository, source):
    """Return what was saved in a repository in which every blob lies in two packs, and the packs of both places."""
    for number, size in enumerate(SIZES):
        (source / str(number)).write_bytes(noise(number, size))
    snapshot = repository.backup(source).snapshot
    old = set(repository.data_packs())
    draft, compressor = PackDraft(), Compressor(1)
    for pack, places in group_by_pack(repository.index.locations()):
        for place, plain in read_pack(repository.keys, repository.source, pack=pack, places=places):
            assert draft.add(compressor.pack_blob(repository.keys, place.kind, plain))
    repository.sink.store(draft.close())
    repository.lose_cache()
    assert packs_found_in(repository) == {draft.logical}
    return snapshot, old, {draft.logical}


def packs_found_in(repository):
    return {place.pack for place in repository.index.locations()}


def lose(repository, packs):
    for pack in packs:
        del repository.vault.packs[pack]


def test_a_restore_takes_from_the_spare_place_what_the_first_does_not_give(repository, source, tmp_path, twice):
    snapshot, _, _ = twice
    found = packs_found_in(repository)
    lose(repository, found)
    result = repository.restore(snapshot, tmp_path / "out")
    assert (result.integrity_errors, repository.progress.errors) == (0, {})
    assert describe(tmp_path / "out" / str(source).lstrip("/")) == describe(source)


def test_a_dump_takes_from_the_spare_place_what_the_first_does_not_give(repository, source, twice):
    snapshot, _, _ = twice
    lose(repository, packs_found_in(repository))
    for number, size in enumerate(SIZES):
        assert take(Dumping(repository).file(snapshot, source / str(number))) == (noise(number, size), None)


def test_a_mount_takes_from_the_spare_place_what_the_first_does_not_give(repository, source, twice):
    snapshot, _, _ = twice
    lose(repository, packs_found_in(repository))
    view = Viewing(repository, snapshot)
    for number, size in enumerate(SIZES):
        assert view.read(source / str(number), 0, size) == noise(number, size)


def test_what_neither_place_gives_is_named_and_nothing_else(repository, source, tmp_path, twice):
    snapshot, old, new = twice
    repository.restore(snapshot, tmp_path / "warm")  # folders are at hand from here on
    lose(repository, old | new)
    result = repository.restore(snapshot, tmp_path / "out")
    assert result.integrity_errors == len(SIZES)
    assert set(repository.progress.errors) == {bytes(source / str(number)) for number in range(len(SIZES))}


def test_a_spare_place_with_a_host_that_is_away_is_not_called_lost(repository, source, twice):
    snapshot, old, new = twice
    dumping = Dumping(repository)
    dumping.find(snapshot, source / "1")
    lose(repository, new)
    repository.source.offline |= old
    data, error = take(dumping.file(snapshot, source / "1"))
    assert data == b""
    assert isinstance(error, Unavailable)
    repository.source.offline.clear()
    lose(repository, old)
    assert isinstance(take(dumping.file(snapshot, source / "1"))[1], IntegrityFault)
