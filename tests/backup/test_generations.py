"""A repository whose keys go on to another generation (ADR 69): old packs are read, new ones sealed under the new."""

import io
import threading
from collections import Counter

import pytest

from backup.memory_engine import MemorySink, Recorder
from backup.trees_on_disk import describe
from backuppeer.backup.blocks import Blocks
from backuppeer.backup.dumper import Dumper
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.backup.viewer import Viewer
from backuppeer.crypto.keys import derive_heir, derive_repository_keys, derive_working
from backuppeer.crypto.seal import preferred_suite
from backuppeer.errors import AuthenticationFault
from backuppeer.ids import SnapshotId
from backuppeer.limits import MOUNT_BLOCKS_BYTES
from backuppeer.repo.index import Index
from backuppeer.repo.layout import parse_header
from backuppeer.repo.pack import open_directory, reopen_pack, seal_pack
from noise import noise

MASTER = bytes(range(32))


def speak_as(repository, generation):
    """Let the repository go on under the keys of a generation."""
    heir = derive_heir(MASTER, generation, repository.keys.repository)
    repository.keys = derive_repository_keys(heir, repository.keys.repository)
    repository.sink = MemorySink(repository.keys, repository.index, repository.vault)


def generations_of(repository, packs=None):
    """Return how many packs are of which generation, as their headers say it."""
    chosen = repository.vault.packs.values() if packs is None else (repository.vault.packs[pack] for pack in packs)
    return Counter(parse_header(data[:64]).generation for data in chosen)


def keys_for(keys):
    def find(repository, generation):
        if not keys.may_open(repository, generation):
            raise AuthenticationFault("none of ours")
        return keys

    return find


@pytest.fixture
def grown(repository, source):
    """Return two snapshots, one of each generation, and what the second backup stored."""
    speak_as(repository, 1)
    (source / "before").write_bytes(noise(1, 3_000_000))
    first = repository.backup(source)
    speak_as(repository, 2)
    (source / "after").write_bytes(noise(2, 400_000))
    second = repository.backup(source, parent=first.snapshot)
    return first, second


def test_packs_of_both_generations_lie_side_by_side_and_nothing_is_sent_again(repository, source, grown):
    del source
    first, second = grown
    assert set(generations_of(repository)) == {1, 2}
    assert set(generations_of(repository, repository.data_packs())) == {2}
    assert (first.new_bytes >= 3_000_000, 400_000 <= second.new_bytes < 500_000) == (True, True)


def test_nothing_is_sent_again_though_all_is_read_anew(repository, source):
    speak_as(repository, 1)
    (source / "large").write_bytes(noise(1, 3_000_000))
    repository.backup(source)
    speak_as(repository, 3)
    repository.lose_cache()
    again = repository.backup(source)  # with no snapshot to go on from, every file is chunked and hashed
    assert again.new_bytes < 100_000


def test_snapshots_of_both_generations_come_back(repository, source, tmp_path, grown):
    first, second = grown
    repository.lose_cache()
    repository.restore(second.snapshot, tmp_path / "second")
    assert describe(tmp_path / "second" / str(source).lstrip("/")) == describe(source)
    (source / "after").unlink()
    repository.restore(first.snapshot, tmp_path / "first")
    restored = tmp_path / "first" / str(source).lstrip("/")
    assert (restored / "before").read_bytes() == (source / "before").read_bytes()
    assert not (restored / "after").exists()


def test_the_keys_of_the_first_generation_open_nothing_that_came_later(repository, source, tmp_path, grown):
    _, second = grown
    thief = derive_working(MASTER, 1)
    repository.keys = derive_repository_keys(thief, repository.keys.repository)
    repository.lose_cache()
    assert repository.restore(second.snapshot, tmp_path / "stolen").errors
    assert not (tmp_path / "stolen" / str(source).lstrip("/") / "after").exists()


def test_an_index_is_made_anew_of_packs_of_both_generations(repository, source, tmp_path, grown):
    _, second = grown
    repository.index.close()
    repository.index = Index(tmp_path / "anew.db")
    for data in repository.vault.packs.values():
        directory = open_directory(keys_for(repository.keys), data, len(data))
        repository.index.register(directory.logical, directory.entries)
    repository.lose_cache()
    repository.restore(second.snapshot, tmp_path / "back")
    assert describe(tmp_path / "back" / str(source).lstrip("/")) == describe(source)


def test_a_copy_for_another_host_is_sealed_under_the_newest_generation(repository, grown):
    assert grown
    for logical, data in repository.vault.packs.items():
        directory = open_directory(keys_for(repository.keys), data, len(data))
        again = seal_pack(reopen_pack(directory, repository.keys, data), repository.keys, preferred_suite())
        assert again.logical == logical
        assert parse_header(again.header).generation == 2
        assert open_directory(keys_for(repository.keys), again.data, len(again.data)).entries == directory.entries


def test_files_of_both_generations_are_dumped_and_looked_into(repository, source, grown):
    _, second = grown
    trees = TreeReader(repository.keys, repository.index, cache=repository.cache, source=repository.source)
    vault = repository.vault
    blocks = Blocks(repository.source, lambda pack: len(vault.packs.get(pack, b"")), MOUNT_BLOCKS_BYTES)
    viewer = Viewer(repository.keys, repository.index, trees=trees, source=blocks)
    dumper = Dumper(
        repository.keys,
        repository.index,
        trees=trees,
        source=repository.source,
        progress=Recorder(),
        cancel=threading.Event(),
    )
    for name in ("before", "after"):
        path, content = bytes(source / name), (source / name).read_bytes()
        entry = find_entry(trees, second.snapshot.tree, [part for part in path.split(b"/") if part])[-1]
        dumped = io.BytesIO()
        for piece in dumper.dump_file(path.lstrip(b"/"), entry):
            dumped.write(piece)
        assert dumped.getvalue() == content
        assert viewer.read(SnapshotId(bytes(32)), second.snapshot, path, offset=0, length=len(content)) == content
