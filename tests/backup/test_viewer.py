"""A snapshot looked into bit by bit is byte for byte what was saved, and what is not is an error."""

import os
import random
import threading
from itertools import pairwise

import msgspec
import pytest

from backuppeer.backup.blocks import Blocks
from backuppeer.backup.trees import TreeReader
from backuppeer.backup.viewer import Viewer
from backuppeer.errors import IntegrityFault, NotFoundError, Unavailable, UserError
from backuppeer.ids import SnapshotId
from backuppeer.limits import CONTROL_PIECE_BYTES, MOUNT_BLOCKS_BYTES, TREE_PIECE_ENTRIES
from noise import noise

NAME = SnapshotId(bytes(32))


class Viewing:
    """Looks into snapshots of a repository in memory."""

    def __init__(self, repository, snapshot, source=None):
        self.repository, self.snapshot = repository, snapshot
        trees = TreeReader(
            repository.keys, repository.index, cache=repository.cache, source=source or repository.source
        )
        vault = repository.vault
        blocks = Blocks(source or repository.source, lambda pack: len(vault.packs.get(pack, b"")), MOUNT_BLOCKS_BYTES)
        self.viewer = Viewer(repository.keys, repository.index, trees=trees, source=blocks)

    def entries(self, path):
        return list(self.viewer.entries(NAME, self.snapshot, bytes(path)))

    def names(self, path):
        return [entry.name for entry in self.entries(path)]

    def read(self, path, offset, length):
        return self.viewer.read(NAME, self.snapshot, bytes(path), offset=offset, length=length)

    def read_files(self, *paths):
        return self.viewer.read_files(NAME, self.snapshot, [bytes(path) for path in paths])

    def is_at_hand(self, path):
        return self.viewer.is_at_hand(NAME, self.snapshot, bytes(path))


@pytest.fixture
def view(repository, source):
    def back_up():
        return Viewing(repository, repository.backup(source).snapshot)

    return back_up


def test_any_part_of_a_file_comes_in_any_order_and_ends_with_the_file(view, source):
    data = noise(1, 9_000_000)
    (source / "large").write_bytes(data)
    (source / "empty").touch()
    viewing = view()
    chance = random.Random(2)
    places = [0, 1, 8_999_999, 9_000_000, 10_000_000, *(chance.randrange(9_000_000) for _ in range(30))]
    for offset in places:
        length = chance.choice([1, 4096, 131_072, CONTROL_PIECE_BYTES])
        assert viewing.read(source / "large", offset, length) == data[offset : offset + length]
    assert viewing.read(source / "empty", 0, 100) == b""


def test_a_file_whose_chunks_stand_in_lists_is_read_the_same(view, source, monkeypatch):
    monkeypatch.setattr("backuppeer.repo.tree.CONTENT_INLINE_IDS", 2)
    data = noise(1, 12_000_000)
    (source / "large").write_bytes(data)
    viewing = view()
    assert viewing.entries(source)[0].depth == 1
    assert viewing.read(source / "large", 5_000_000, 1_000_000) == data[5_000_000:6_000_000]


def test_small_files_come_whole_one_behind_the_other(view, source):
    texts = {f"{number:03}": os.urandom(number * 10) for number in range(60)}
    for name, text in texts.items():
        (source / name).write_bytes(text)
    viewing = view()
    wanted = list(texts)[5:50]
    assert viewing.read_files(*(source / name for name in wanted)) == b"".join(texts[name] for name in wanted)
    assert viewing.read_files() == b""
    (source / "big").write_bytes(os.urandom(CONTROL_PIECE_BYTES))
    viewing = view()
    with pytest.raises(UserError, match="at once"):
        viewing.read_files(source / "big", source / "001")


def test_files_saved_together_are_fetched_together_however_they_are_read(view, source, repository):
    for number in range(200):
        (source / f"{number:03}").write_bytes(os.urandom(5000))
    viewing = view()
    repository.source.fetches.clear()
    for number in range(200):
        assert len(viewing.read(source / f"{number:03}", 0, 5000)) == 5000
    # a megabyte of files lies in two blocks
    assert len(repository.source.fetches) <= 2


def test_folders_are_listed_and_names_found_in_those_of_several_pieces(view, source):
    (source / "many").mkdir()
    (source / "deep" / "er").mkdir(parents=True)
    for number in range(TREE_PIECE_ENTRIES + 500):
        (source / "many" / f"{number:05}").write_bytes(b"%d" % number if number % 500 == 0 else b"")
    viewing = view()
    assert viewing.names(source) == [b"deep", b"many"]
    assert viewing.names(source / "deep" / "er") == []
    found = viewing.names(source / "many")
    assert len(found) == TREE_PIECE_ENTRIES + 500
    assert all(one < other for one, other in pairwise(found))
    for number in (0, 500, 4000, TREE_PIECE_ENTRIES // 500 * 500, 8500):
        assert viewing.read(source / "many" / f"{number:05}", 0, 10) == b"%d" % number


@pytest.mark.parametrize("name", ["no", "a-file/below", "no/thing", "zzz", ""])
def test_what_is_not_there_is_not_found(view, source, name):
    (source / "a-file").write_text("x")
    (source / "folder").mkdir()
    viewing = view()
    with pytest.raises(NotFoundError):
        viewing.read(source / name, 0, 1)
    with pytest.raises(NotFoundError):
        viewing.entries(source / (name or "a-file"))


def test_wrong_bytes_are_never_told(view, source, repository):
    (source / "file").write_bytes(os.urandom(100_000))
    viewing = view()
    for pack, data in repository.vault.packs.items():
        spoilt = bytearray(data)
        for at in range(64, len(spoilt), 1024):
            spoilt[at] ^= 1
        repository.vault.packs[pack] = bytes(spoilt)
    with pytest.raises(IntegrityFault):
        viewing.read(source / "file", 0, 10)


def test_the_size_that_the_tree_says_must_be_that_of_the_chunks(view, source, monkeypatch):
    (source / "file").write_bytes(b"x" * 1000)
    viewing = view()
    (entry,) = viewing.entries(source)
    monkeypatch.setattr(viewing.viewer, "_find", lambda *_: msgspec.structs.replace(entry, size=2000))
    monkeypatch.setattr(viewing.viewer, "_content", lambda *_: b"")
    with pytest.raises(IntegrityFault, match="1000 bytes, the snapshot says 2000"):
        viewing.read(source / "file", 0, 10)


def test_while_nobody_is_there_what_was_read_before_still_is(view, source, repository):
    (source / "old").write_bytes(os.urandom(9_000_000))
    viewing = view()
    data = viewing.read(source / "old", 0, 1000)
    repository.source.offline = set(repository.vault.packs)
    assert viewing.read(source / "old", 0, 1000) == data
    with pytest.raises(Unavailable):
        viewing.read(source / "old", 0, 9_000_000)
    repository.source.offline = set()
    assert len(viewing.read(source / "old", 2_000_000, 1_000_000)) == 1_000_000


def test_a_folder_is_at_hand_only_while_its_pieces_are_in_the_cache(view, source, repository):
    (source / "sub" / "low").mkdir(parents=True)
    (source / "file").touch()
    viewing = view()
    viewing.entries(source / "sub")
    assert viewing.is_at_hand(source / "sub" / "low")
    assert not viewing.is_at_hand(source / "no")
    assert not viewing.is_at_hand(source / "file")
    assert not viewing.is_at_hand(b"/")
    repository.lose_cache()
    assert not viewing.is_at_hand(source / "sub" / "low")


def test_many_readers_at_once_see_the_same(view, source):
    data = noise(3, 6_000_000)
    (source / "large").write_bytes(data)
    viewing = view()
    wrong = []

    def read(seed):
        chance = random.Random(seed)
        for _ in range(20):
            offset = chance.randrange(6_000_000)
            if viewing.read(source / "large", offset, 300_000) != data[offset : offset + 300_000]:
                wrong.append(offset)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
