"""Which snapshot is meant, and what it holds."""

import msgspec
import pytest

from backuppeer.backup.browse import SnapshotFilter, find_snapshot, list_entries, list_roots, list_snapshots
from backuppeer.backup.roots import normalise_path
from backuppeer.backup.trees import TreeReader
from backuppeer.errors import ExitCode, NotFoundError, UserError
from backuppeer.ids import SnapshotId
from backuppeer.repo.snapshot import encode_snapshot


@pytest.fixture
def reader(repository):
    return TreeReader(repository.keys, repository.index, cache=repository.cache, source=repository.source)


def test_latest_is_the_newest_by_time_and_obeys_filters(repository, source):
    times = iter([300, 100, 200])
    made = [
        repository.backup(source, now_ns=lambda: next(times), tags=(tag,), set_name=set_name)
        for tag, set_name in (("a", "x"), ("b", "y"), ("a", "y"))
    ]
    assert find_snapshot(repository.index, "latest")[0] == made[0].snapshot_id
    assert find_snapshot(repository.index, "latest", SnapshotFilter(set_name="y"))[0] == made[2].snapshot_id
    assert find_snapshot(repository.index, "LATEST", SnapshotFilter(tags=("b", "c")))[0] == made[1].snapshot_id
    assert find_snapshot(repository.index, "latest", SnapshotFilter(path=bytes(source)))[0] == made[0].snapshot_id
    with pytest.raises(NotFoundError):
        find_snapshot(repository.index, "latest", SnapshotFilter(path=b"/elsewhere"))
    assert find_snapshot(repository.index, made[0].snapshot_id.hex(), SnapshotFilter())[0] == made[0].snapshot_id
    for useless in (SnapshotFilter(tags=("a",)), SnapshotFilter(path=bytes(source))):
        with pytest.raises(UserError, match="latest"):
            find_snapshot(repository.index, made[0].snapshot_id.hex(), useless)
    assert [pair[1].time_ns for pair in list_snapshots(repository.index)] == [100, 200, 300]


def test_prefixes_must_be_long_enough_hex_and_unambiguous(repository, source):
    result = repository.backup(source)
    text = result.snapshot_id.hex()
    for good in (text, text[:4], text[:10].upper()):
        assert find_snapshot(repository.index, good)[0] == result.snapshot_id
    body = encode_snapshot(result.snapshot)
    repository.index.add_snapshot(SnapshotId(result.snapshot_id[:3] + bytes(29)), body)
    missing = f"{int(text[:4], 16) ^ 1:04x}"
    for bad in (text[:3], "", "zzzz", text + "0", missing, text[:6], "latest1", "\u0660\u0661\u0662\u0663"):
        with pytest.raises(NotFoundError) as caught:
            find_snapshot(repository.index, bad)
        assert caught.value.exit_code is ExitCode.NOT_FOUND


def test_no_snapshot_at_all_is_told(repository):
    with pytest.raises(NotFoundError, match="no snapshot yet"):
        find_snapshot(repository.index, "latest")


def test_a_set_that_no_snapshot_is_of_is_named(repository, source):
    repository.backup(source, set_name="photos")
    assert find_snapshot(repository.index, "latest", SnapshotFilter(set_name="photos"))
    with pytest.raises(NotFoundError, match="no snapshot of a set 'nope'") as caught:
        find_snapshot(repository.index, "latest", SnapshotFilter(set_name="nope"))
    assert "`backup-peer backup sets`" in caught.value.hint


def test_a_path_that_no_snapshot_is_of_is_answered_with_how_a_part_is_named(repository, source):
    (source / "a b").write_bytes(b"1")
    repository.backup(source)
    with pytest.raises(NotFoundError, match="no snapshot fits") as caught:
        find_snapshot(repository.index, "latest", SnapshotFilter(path=bytes(source / "a b")))
    assert f"`backup-peer restore 'latest:{source}/a b' --target DIR`" in caught.value.hint


def test_a_relative_path_is_answered_with_how_a_whole_one_looks():
    with pytest.raises(UserError, match="not an absolute path") as caught:
        normalise_path(b"data")
    assert "latest:/home/me" in caught.value.hint


def test_without_a_path_the_backed_up_ones_are_listed(repository, source, reader):
    (source / "d" / "e").mkdir(parents=True)
    (source / "d" / "e" / "f").write_bytes(b"1")
    (source / "d-e").write_bytes(b"1")
    (source / "g").write_bytes(b"22")
    snapshot = repository.backup(source / "g", source / "d", source / "d" / "e", source / "d-e").snapshot
    base = str(source).lstrip("/")

    def names(**options):
        return [visit.path.decode().removeprefix(base) for visit in list_roots(reader, snapshot, **options)]

    assert names() == ["/d", "/d-e", "/g"]
    assert names(recursive=True) == ["/d", "/d/e", "/d/e/f", "/d-e", "/g"]
    everything = msgspec.structs.replace(snapshot, paths=[b"/"])
    assert [visit.path for visit in list_roots(reader, everything)] == [base.split("/")[0].encode()]


def test_listing_shows_one_level_or_all(repository, source, reader):
    (source / "d" / "e").mkdir(parents=True)
    (source / "d" / "e" / "f").write_bytes(b"1")
    (source / "a").write_bytes(b"22")
    snapshot = repository.backup(source).snapshot
    base = bytes(source).lstrip(b"/")

    def names(path, **options):
        return [visit.path for visit in list_entries(reader, snapshot, path, **options)]

    assert names(bytes(source)) == [base + b"/a", base + b"/d"]
    assert names(bytes(source), recursive=True) == [base + tail for tail in (b"/a", b"/d", b"/d/e", b"/d/e/f")]
    assert names(bytes(source / "a")) == [base + b"/a"]
    assert names(b"/") == [base.split(b"/")[0]]
    for missing in (b"/no", bytes(source / "a" / "below")):
        with pytest.raises(NotFoundError):
            names(missing)
