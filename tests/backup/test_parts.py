"""Small pieces of the engine: paths, ranges, jobs, packs."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.memory_engine import MemorySink
from backuppeer.backup.fetching import group_by_pack, plan_ranges
from backuppeer.backup.jobs import Jobs
from backuppeer.backup.packer import Packer
from backuppeer.backup.roots import normalise_path, plan_roots, split_path
from backuppeer.backup.selection import plan_way
from backuppeer.errors import UserError
from backuppeer.ids import BlobId, LogicalId
from backuppeer.repo.blob import Blob, BlobKind, Codec, Compressor
from backuppeer.repo.index import Location
from backuppeer.repo.layout import Entry


def test_paths_are_normalised_and_relative_ones_refused():
    for text, wanted in ((b"//a///b/./c/", b"/a/b/c"), (b"/", b"/"), (b"/a/../b", b"/b"), (b"/..", b"/")):
        assert normalise_path(text) == wanted
    for bad in (b"", b"a", b"./a", b"/a\0b"):
        with pytest.raises(UserError):
            normalise_path(bad)


def test_the_root_swallows_everything():
    for paths in ([b"/", b"/a"], [b"/a/b", b"/"]):
        root = plan_roots(paths)
        assert root.whole
        assert not root.below


@given(st.lists(st.sampled_from([b"/a", b"/a/b", b"/a/b/c", b"/d", b"/d/e", b"/"]), min_size=1))
def test_the_order_of_paths_does_not_matter(paths):
    assert plan_roots(paths) == plan_roots(sorted(paths))


def place(offset, size, pack=b"p"):
    return Location(
        LogicalId(pack * 16), Entry(BlobId(bytes(32)), BlobKind.DATA, Codec.RAW, 0, offset, size, size - 16)
    )


@given(
    st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1).filter(lambda blobs: any(w for _, w in blobs))
)
def test_planned_ranges_cover_what_is_wanted_and_little_more(blobs):
    offset, wanted = 64, []
    for size, is_wanted in blobs:
        if is_wanted:
            wanted.append(place(offset, size + 16))
        offset += size + 16
    ranges = plan_ranges(wanted)
    assert [p for _, _, inside in ranges for p in inside] == wanted
    for start, length, inside in ranges:
        assert start <= inside[0].offset
        assert inside[-1].offset + inside[-1].sealed_bytes <= start + length
    total = sum(p.sealed_bytes for p in wanted)
    assert sum(length for _, length, _ in ranges) <= 2 * total


def test_places_are_grouped_in_order_of_first_mention():
    grouped = group_by_pack([place(9, 17, b"b"), place(5, 17, b"a"), place(1, 17, b"b")])
    assert [(pack[:1], [p.offset for p in places]) for pack, places in grouped] == [(b"b", [9, 1]), (b"a", [5])]


def test_jobs_come_back_in_order_and_errors_are_raised():
    got = []
    with Jobs(2, 3) as jobs:
        gate = threading.Event()
        jobs.submit(gate.wait, lambda _: got.append(0))
        jobs.submit(lambda: 1, got.append)
        jobs.collect()
        assert got == []
        gate.set()
        jobs.collect(most=0)
        assert got == [0, 1]
        jobs.submit(lambda: 1 // 0, got.append)
        with pytest.raises(ZeroDivisionError):
            jobs.collect(most=0)


def test_each_blob_is_claimed_by_one_thread_only(repository):
    packer = Packer(repository.index, repository.sink)
    ids = [BlobId(i.to_bytes(32, "big")) for i in range(500)]
    claimed = []
    barrier = threading.Barrier(4)

    def claim():
        barrier.wait()
        for start in range(0, 500, 50):
            claimed.extend(packer.claim(ids[start : start + 50]))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == ids


def test_claims_are_let_go_when_the_index_has_taken_over(repository):
    packer = Packer(repository.index, repository.sink)
    compressor = Compressor(1)
    for i in range(40):
        data = i.to_bytes(4, "big") * (1 << 18)
        blob = Blob(repository.keys.blob_id(1, data), BlobKind.DATA, Codec.RAW, len(data), data)
        assert packer.claim([blob.blob]) == {blob.blob}
        packer.add([blob])
    assert len(packer._claimed) <= 32
    root = compressor.pack_blob(repository.keys, BlobKind.INDEX, b"root")
    packer.finish([], lambda _: [root])
    assert packer.new_bytes == 40 << 20


def test_an_inventory_that_needs_another_pack_names_that_pack_too(repository):
    sink = MemorySink(repository.keys, repository.index, repository.vault)
    packer = Packer(repository.index, sink)
    seen = []

    def big_inventory(packs):
        seen.append(list(packs))
        parts = [len(packs).to_bytes(1, "big") + bytes([i]) + bytes(4 << 20)[2:] for i in range(6)]
        return [Blob(repository.keys.blob_id(4, p), BlobKind.INDEX, Codec.RAW, len(p), p) for p in parts]

    packer.finish([], big_inventory)
    assert [draft.logical for draft in sink.drafts] == seen[-1]
    assert len(sink.drafts) == 2


@pytest.mark.parametrize(
    ("wanted", "paths", "way"),
    [
        (b"/", [b"/"], []),
        (b"/", [b"/a/b/c", b"/a/x"], [b"a", b"a/b"]),
        (b"/", [b"/a", b"/a/b/c"], []),
        (b"/a/b", [b"/a/b/c/d", b"/z/y"], [b"a", b"a/b", b"a/b/c"]),
        (b"/a/b/c", [b"/a"], [b"a", b"a/b"]),
        (b"/a/b", [b"/a/b"], [b"a"]),
    ],
)
def test_what_lies_only_on_the_way_is_neither_wanted_nor_backed_up_whole(wanted, paths, way):
    assert plan_way(paths, split_path(wanted)) == way
