"""The index: finds what was registered, survives its file, names it when damaged."""

import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.seal import Suite
from backuppeer.errors import DamagedStateError, LocalError
from backuppeer.ids import BlobId, LogicalId, SnapshotId
from backuppeer.repo import index as index_module
from backuppeer.repo.blob import BlobKind, Codec
from backuppeer.repo.cache import TreeCache
from backuppeer.repo.index import Counts, Index, Location
from backuppeer.repo.layout import Entry
from backuppeer.repo.pack import open_directory, seal_pack
from repo.building import KEYS, close_pack, keys_for, noise


@pytest.fixture
def index(tmp_path):
    with_file = Index(tmp_path / "index.db")
    yield with_file
    with_file.close()


def _entry(seed: object, kind: BlobKind = BlobKind.DATA, slot: int = 0) -> Entry:
    return Entry(BlobId(noise(seed, 32)), kind, Codec.ZSTD, slot, 64 + slot, 100, 200)


def _pack(number: int) -> LogicalId:
    return LogicalId(noise(("pack", number), 16))


def test_registered_blobs_are_found_one_by_one_and_many_at_once(index):
    packs = {_pack(n): [_entry((n, slot), slot=slot) for slot in range(700)] for n in range(3)}
    for logical, entries in packs.items():
        index.register(logical, entries)
    every = {e.blob: Location(logical, e) for logical, entries in packs.items() for e in entries}
    unknown = [BlobId(noise(("unknown", i), 32)) for i in range(300)]
    assert index.find_many([*every, *unknown, *every]) == every
    assert index.known([*unknown, *every]) == set(every)
    for blob, location in list(every.items())[::100]:
        assert index.find(blob) == location
        assert index.has(blob)
    assert index.find(unknown[0]) is None
    assert not index.has(unknown[0])
    assert index.find_many([]) == {}
    assert index.counts() == Counts(packs=3, blobs=2100, snapshots=0)


def test_a_location_shows_the_fields_of_its_entry(index):
    entry = _entry("fields", BlobKind.TREE, slot=7)
    index.register(_pack(1), [entry])
    found = index.find(entry.blob)
    assert found is not None
    shown = (found.blob, found.kind, found.codec, found.slot, found.offset, found.sealed_bytes, found.plain_bytes)
    assert shown == (entry.blob, BlobKind.TREE, Codec.ZSTD, 7, 71, 100, 200)
    assert isinstance(found.kind, BlobKind)


def test_packs_come_in_the_order_of_registration_whatever_their_ids(index):
    order = [_pack(n) for n in (5, 3, 9, 1)]
    for logical in order:
        index.register(logical, [_entry(logical)])
    index.register(order[1], [_entry(order[1])])
    assert list(index.packs()) == order
    assert index.has_pack(order[0])
    assert not index.has_pack(_pack(77))


def test_more_packs_than_a_page_are_all_listed(index):
    order = [_pack(n) for n in range(4100)]
    for logical in order:
        index.register(logical, [])
    assert list(index.packs()) == order


def test_a_blob_registered_again_is_found_where_it_lies_last(index):
    entry = _entry("twice")
    index.register(_pack(1), [entry])
    index.register(_pack(2), [entry, entry])
    assert index.find(entry.blob) == Location(_pack(2), entry)
    assert index.counts().blobs == 1


def test_blobs_are_listed_by_kind(index):
    by_kind = {kind: [_entry((kind, i), kind) for i in range(3)] for kind in BlobKind}
    index.register(_pack(1), [e for entries in by_kind.values() for e in entries])
    for kind, entries in by_kind.items():
        assert sorted(index.blobs_of(kind)) == sorted(e.blob for e in entries)


def test_the_rare_kinds_are_listed_without_walking_the_table(index):
    plan = index._db._db.execute(
        "EXPLAIN QUERY PLAN SELECT blob FROM blobs WHERE kind = ? AND kind > 1", (3,)
    ).fetchall()
    assert "blobs_kind" in plan[0][3]


def test_opening_does_not_walk_the_tables_when_there_is_no_snapshot_yet(index):
    # As after a first backup that was interrupted: each pack was joined with each blob, for hours with millions.
    for number in range(40):
        index.register(_pack(number), [_entry((number, slot), slot=slot) for slot in range(100)])
    steps = []
    index._db._db.set_progress_handler(lambda: steps.append(1), 100)
    index._db.run(lambda db: db.execute(index_module._PROBE).fetchone())
    assert len(steps) < 10


def test_snapshots_are_kept_in_order_and_removed(index):
    ids = [SnapshotId(noise(("snapshot", n), 32)) for n in range(3)]
    for snapshot in (*ids, ids[0]):
        index.add_snapshot(snapshot, b"body of " + snapshot)
    assert index.snapshots() == [(s, b"body of " + s) for s in ids]
    index.remove_snapshot(ids[1])
    index.remove_snapshot(ids[1])
    assert [s for s, _ in index.snapshots()] == [ids[0], ids[2]]


def test_a_deleted_index_is_rebuilt_from_directories(tmp_path):
    drafts = [close_pack(*(noise((n, i), 50) for i in range(5))) for n in range(3)]
    packs = [seal_pack(draft, KEYS, Suite.AES_256_GCM) for draft in drafts]
    path = tmp_path / "index.db"
    first = Index(path)
    for draft in drafts:
        first.register(draft.logical, draft.entries)
    wanted = [e.blob for draft in drafts for e in draft.entries]
    before = first.find_many(wanted)
    first.close()
    path.unlink()
    second = Index(path)
    for pack in packs:
        directory = open_directory(keys_for, pack.data, len(pack.data))
        second.register(directory.logical, directory.entries)
    assert second.find_many(wanted) == before
    assert list(second.packs()) == [draft.logical for draft in drafts]
    second.close()


def test_what_was_registered_is_there_after_opening_again(tmp_path):
    first = Index(tmp_path / "index.db")
    first.register(_pack(1), [_entry("kept")])
    first.close()
    second = Index(tmp_path / "index.db")
    assert second.has(_entry("kept").blob)
    second.clear()
    assert second.counts() == Counts(0, 0, 0)
    second.close()


def test_a_registration_that_fails_leaves_nothing(index):
    bad = Entry(BlobId(b"x" * 32), BlobKind.DATA, Codec.RAW, 0, 0, 2**70, 0)
    with pytest.raises(OverflowError):
        index.register(_pack(1), [_entry("good"), bad])
    assert index.counts() == Counts(0, 0, 0)
    index.register(_pack(1), [_entry("good")])


def test_threads_share_an_index(index):
    def work(n: int) -> None:
        for i in range(20):
            index.register(_pack(n * 100 + i), [_entry((n, i))])
            assert index.has(_entry((n, i)).blob)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert index.counts() == Counts(80, 80, 0)


@pytest.mark.parametrize("content", [b"not a database at all " * 300, b"SQLite format 3\0" + b"\xff" * 9000])
def test_a_file_that_is_no_index_is_refused_by_name_and_left_alone(tmp_path, content):
    path = tmp_path / "index.db"
    path.write_bytes(content)
    with pytest.raises(DamagedStateError, match=str(path)):
        Index(path)
    assert path.read_bytes() == content


def test_damage_inside_the_file_is_named_when_it_is_met(tmp_path):
    path = tmp_path / "index.db"
    first = Index(path)
    entries = [_entry(i, slot=i) for i in range(5000)]
    first.register(_pack(1), entries)
    first.close()
    data = bytearray(path.read_bytes())
    for page in range(3 * 4096, len(data) - 4096, 4096):
        data[page : page + 200] = b"\xee" * 200
    path.write_bytes(data)
    with pytest.raises(DamagedStateError, match=str(path)):
        Index(path).find_many([e.blob for e in entries])


def test_a_database_without_our_tables_is_damaged_not_busy(tmp_path):
    path = tmp_path / "index.db"
    Index(path).close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE blobs")
    db.close()
    with pytest.raises(DamagedStateError, match=str(path)):
        Index(path)


def test_an_index_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "index.db"
    Index(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(DamagedStateError, match="newer version"):
        Index(path)


def test_an_index_that_is_closed_is_not_called_damaged(index):
    index.close()
    with pytest.raises(LocalError) as caught:
        index.has(BlobId(bytes(32)))
    assert not isinstance(caught.value, DamagedStateError)


def test_a_full_disk_is_not_called_damage_and_loses_nothing(index):
    index.register(_pack(1), [_entry("before")])
    pages = index._db._db.execute("PRAGMA page_count").fetchone()[0]
    index._db._db.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(LocalError, match="full") as caught:
        index.register(_pack(2), [_entry(i) for i in range(5000)])
    assert not isinstance(caught.value, DamagedStateError)
    assert index.has(_entry("before").blob)
    assert list(index.packs()) == [_pack(1)]


def test_a_snapshot_known_by_name_only_keeps_its_place_and_is_not_among_those_that_can_be_read(index):
    first, second, third = (SnapshotId(bytes([n]) * 32) for n in range(3))
    index.add_snapshot(third, b"dropped, since it is not among those set")
    index.set_snapshots([(first, b"body"), (second, b"")])
    assert index.snapshots() == [(first, b"body")]
    assert index.snapshot_names() == {first: True, second: False}
    index.set_snapshots([(second, b"found"), (first, b"body")])
    assert list(index.snapshot_names()) == [second, first]


def test_a_forgotten_pack_takes_with_it_just_the_blobs_last_found_in_it(index):
    kept, lost = LogicalId(b"k" * 16), LogicalId(b"l" * 16)
    entries = [_entry(n) for n in range(4)]
    index.register(lost, entries)
    index.register(kept, entries[:2])
    index.turnover.forget([lost, LogicalId(b"?" * 16)])
    index.turnover.forget([])
    assert list(index.packs()) == [kept]
    assert index.known(e.blob for e in entries) == {e.blob for e in entries[:2]}


def test_trees_of_concealed_packs_are_listed_also_while_they_are_registered_elsewhere(index):
    concealed, new = LogicalId(b"c" * 16), LogicalId(b"n" * 16)
    trees = sorted((_entry(n, BlobKind.TREE) for n in range(5000)), key=lambda e: e.blob)
    index.register(concealed, [*trees, _entry("data")])
    index.conceal([concealed])
    found = []
    for blob in index.blobs_concealed(BlobKind.TREE):
        found.append(blob)
        if len(found) % 1000 == 1:
            index.register(new, [e for e in trees if e.blob == blob])
    assert found == [e.blob for e in trees]
    assert len(list(index.blobs_concealed(BlobKind.TREE))) == 4995


def test_a_row_whose_pack_is_not_known_is_no_known_blob_and_is_told(tmp_path):
    path = tmp_path / "stray.db"
    index = Index(path)
    index.register(_pack(1), [_entry("a")])
    assert index.find_fault() == ""
    index.close()
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM packs")
    db.close()
    index = Index(path)
    # Taken for known it would never be sent again, and be found by nobody.
    assert index.known([_entry("a").blob]) == set()
    assert index.find(_entry("a").blob) is None
    assert index.find_fault() == "1 rows name a pack that it does not know"
    assert list(index.locations()) == []
    index.close()


def test_a_row_of_an_impossible_kind_is_damage_and_no_crash(tmp_path):
    path = tmp_path / "kind.db"
    index = Index(path)
    index.register(_pack(1), [_entry("a")])
    index.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE blobs SET kind = 77")
    db.close()
    index = Index(path)
    for look in (lambda: index.find(_entry("a").blob), lambda: list(index.locations())):
        with pytest.raises(DamagedStateError, match="kind 77") as caught:
            look()
        assert "check --repair" in caught.value.hint
    index.close()


@pytest.mark.parametrize("name", ["index", "cache"])
def test_a_full_disk_is_not_taken_for_damage(tmp_path, name):
    made = Index(tmp_path / "full.db") if name == "index" else TreeCache(tmp_path / "full.db", 1 << 30)
    made._db._db.execute("PRAGMA max_page_count=20")  # SQLite says SQLITE_FULL, as for a full disk

    def fill():
        for number in range(1000):
            if name == "index":
                made.register(_pack(number), [_entry((number, slot)) for slot in range(50)])
            else:
                made.put_many([(_entry(number).blob, noise(number, 5000))])

    with pytest.raises(LocalError, match="full") as caught:
        fill()
    assert not isinstance(caught.value, DamagedStateError)
    assert made.find_fault() == ""
    made.close()


@given(
    directories=st.lists(st.lists(st.integers(1, 12), max_size=6), min_size=6, max_size=6),
    stored=st.lists(st.integers(0, 5), max_size=3),
    named=st.sets(st.integers(0, 5)),
    dropped=st.sets(st.integers(0, 5)),
    met=st.lists(st.integers(0, 5), min_size=1, max_size=9),
)
def test_packs_found_together_are_known_as_if_found_one_by_one(directories, stored, named, dropped, met):
    contents = [(_pack(n), [_entry(b, slot=s) for s, b in enumerate(blobs)]) for n, blobs in enumerate(directories)]

    def look(folder, *, together):
        index = Index(folder / "index.db")
        for number in stored:
            index.register(*contents[number])
        index.register_found([(_pack(number), []) for number in named])
        index.turnover.drop([_pack(number) for number in dropped], [])
        found = [contents[number] for number in met]
        for some in [found] if together else [[each] for each in found]:
            index.register_found(some)
        places = {blob: index.find(_entry(blob).blob) for blob in range(1, 13)}
        seen = places.keys(), [b for b in places if places[b]], set(index.packs()), dict(index.weigh_packs())
        alive = {n for n in {*stored, *met} if not index.turnover.is_dropped(_pack(n))}
        assert {b for n in alive for b in directories[n]} <= {b for b in places if places[b]}
        assert all(places[b].pack in {_pack(n) for n in {*stored, *met} if b in directories[n]} for b in seen[1])
        index.close()
        return seen

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        assert look(Path(one), together=True) == look(Path(other), together=False)


def test_a_pack_met_at_a_further_host_is_not_written_again(index):
    index.register_found([(_pack(n), [_entry((n, slot), slot=slot) for slot in range(70)]) for n in range(3)])
    before = index._db.run(lambda db: db.total_changes)
    index.register_found([(_pack(n), [_entry((n, slot), slot=slot) for slot in range(70)]) for n in range(3)])
    assert index._db.run(lambda db: db.total_changes) == before


def test_a_pack_known_by_name_only_is_recorded_when_its_directory_is_read(index):
    index.register_found([(_pack(1), [])])
    index.register_found([(_pack(1), [_entry("late")])])
    assert index.find(_entry("late").blob).pack == _pack(1)
