"""Damage, races and hostile trees: the rest survives, nothing escapes, the causes are kept apart."""

import errno
import os
import socket
import threading
from pathlib import Path
from unittest import mock

import pytest

from backup.memory_engine import MemorySource
from backup.trees_on_disk import describe
from backuppeer.backup import reading, restore_run, window
from backuppeer.backup.restorer import Restorer
from backuppeer.backup.standing import Overwrite
from backuppeer.backup.trees import TreeReader, find_entry
from backuppeer.errors import BackupPeerError, IntegrityFault, InterruptedByUserError, NotFoundError, UserError
from backuppeer.files.scan import FoundKind, list_directory
from backuppeer.files.write import RestoreTarget
from backuppeer.limits import NOTED_SKIPS, SEGMENT_BYTES
from backuppeer.repo.blob import BlobKind, Compressor
from backuppeer.repo.pack import PackDraft
from backuppeer.repo.snapshot import Snapshot
from backuppeer.repo.tree import EntryKind, TreeEntry, encode_pieces
from noise import noise


def below(target: Path, source: Path) -> Path:
    return target / str(source).lstrip("/")


# --- while backing up
def test_a_file_that_vanishes_is_named_and_the_rest_kept(repository, source, tmp_path, monkeypatch):
    for name in "abc":
        (source / name).write_bytes(name.encode())

    def scan_then_lose(directory, report):
        found = list_directory(directory, report)
        (source / "b").unlink(missing_ok=True)
        return found

    monkeypatch.setattr("backuppeer.backup.looking.list_directory", scan_then_lose)
    result = repository.backup(source)
    assert result.errors == 1
    assert list(repository.progress.errors) == [bytes(source / "b")]
    repository.restore(result.snapshot, tmp_path / "target")
    assert set(describe(below(tmp_path / "target", source))) == {b"a", b"c"}


def test_a_file_replaced_by_a_symlink_or_fifo_is_not_followed(repository, source, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (source / "a").write_bytes(b"a")
    (source / "b").write_bytes(b"b")

    def scan_then_swap(directory, report):
        found = list_directory(directory, report)
        for name in "ab":
            (source / name).unlink()
        (source / "a").symlink_to(secret)
        os.mkfifo(source / "b")
        return found

    monkeypatch.setattr("backuppeer.backup.looking.list_directory", scan_then_swap)
    result = repository.backup(source)
    assert set(repository.progress.errors) == {bytes(source / "a"), bytes(source / "b")}
    assert result.new_bytes == 0


def test_a_directory_swapped_for_a_symlink_is_not_followed(repository, source, tmp_path, monkeypatch):
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "secret").write_bytes(b"secret")
    (source / "d" / "inner").mkdir(parents=True)
    (source / "d" / "inner" / "mine").write_bytes(b"mine")

    def scan_then_swap(directory, report):
        found = list_directory(directory, report)
        if directory.path == bytes(source / "d"):
            (source / "d").rename(source / "away")
            (source / "d").symlink_to(outside)
        return found

    monkeypatch.setattr("backuppeer.backup.looking.list_directory", scan_then_swap)
    result = repository.backup(source)
    assert list(repository.progress.errors) == [bytes(source / "d" / "inner")]
    assert result.new_bytes == 0


@pytest.mark.parametrize("size", [10, SEGMENT_BYTES + 1])
@pytest.mark.parametrize("change", [-5, 5])
def test_a_file_that_changes_its_size_is_named_and_kept_consistent(  # noqa: PLR0917 - fixtures
    repository, source, tmp_path, monkeypatch, size, change
):
    (source / "log").write_bytes(b"x" * size)
    (source / "other").write_bytes(b"other")
    original = reading.open_file

    def open_then_change(directory, name):
        opened = original(directory, name)
        if name == b"log":
            os.truncate(source / "log", size + change)
        return opened

    monkeypatch.setattr("backuppeer.backup.reading.open_file", open_then_change)
    monkeypatch.setattr("backuppeer.backup.assembly.open_file", open_then_change)
    result = repository.backup(source)
    assert list(repository.progress.errors) == [bytes(source / "log")]
    assert repository.restore(result.snapshot, tmp_path / "target").errors == 0
    assert (below(tmp_path / "target", source) / "log").read_bytes() == b"x" * (size + min(change, 0))


def test_a_small_file_that_is_rewritten_while_it_is_read_is_named(repository, source, monkeypatch):
    (source / "log").write_bytes(b"first")
    original = reading.read_into

    def read_then_change(fd, view, expected):
        size = original(fd, view, expected)
        (source / "log").write_bytes(b"other")
        return size

    monkeypatch.setattr(reading, "read_into", read_then_change)
    repository.backup(source)
    assert repository.progress.errors == {bytes(source / "log"): "changed while it was read"}


def test_an_unreadable_file_and_directory_are_named(repository, source, as_nobody):
    for directory in (source, source / "closed", source / "open"):
        directory.mkdir(exist_ok=True)
    (source / "closed" / "inside").write_bytes(b"1")
    (source / "open" / "yes").write_bytes(b"2")
    (source / "open" / "no").write_bytes(b"3")
    (source / "open" / "no").chmod(0)
    (source / "closed").chmod(0)
    with as_nobody:
        result = repository.backup(source)
    assert set(repository.progress.errors) == {bytes(source / "closed"), bytes(source / "open" / "no")}
    assert result.files == 1


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_pipe_or_socket_alone_is_no_backup_and_the_way_to_save_what_a_pipe_gives_is_named(repository, source, kind):
    path = source / "it"
    if kind == "pipe":
        os.mkfifo(path)
        with pytest.raises(NotFoundError, match="is a pipe, not a file or folder") as told:
            repository.backup(path)
        assert f"`backup-peer backup --stdin < {path}`" in told.value.hint
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            with pytest.raises(NotFoundError, match="is a socket, not a file or folder"):
                repository.backup(path)
    assert repository.index.snapshots() == []


def test_when_nothing_at_all_can_be_read_no_snapshot_is_made(repository, as_nobody):
    for name in ("file", "folder", "empty"):
        (as_nobody.directory / name).mkdir() if name != "file" else (as_nobody.directory / name).write_bytes(b"x")
    closed = [as_nobody.directory / name for name in ("file", "folder")]
    for path in closed:
        path.chmod(0)
    with as_nobody, pytest.raises(NotFoundError, match=r"no snapshot was made: nothing could be read of .*folder"):
        repository.backup(*closed)
    assert set(repository.progress.errors) == {bytes(path) for path in closed}
    assert repository.index.snapshots() == []
    with as_nobody:
        result = repository.backup(*closed, as_nobody.directory / "empty")
    assert (result.errors, result.files) == (2, 0), "an empty folder is something that could be read"


def bind_sockets(directory, names, monkeypatch):
    monkeypatch.chdir(directory)  # the path of a socket is short
    for name in names:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)


def test_sockets_are_noted_and_left_out(repository, source, monkeypatch):
    bind_sockets(source, ["socket"], monkeypatch)
    (source / "file").write_bytes(b"1")
    result = repository.backup(source)
    assert (result.errors, result.skipped, result.files) == (0, 1, 1)
    (note,) = repository.progress.notes
    assert "socket" in note


def test_of_many_that_are_left_out_the_first_are_named_and_the_rest_counted(repository, source, monkeypatch):
    bind_sockets(source, [f"{number:03}" for number in range(NOTED_SKIPS + 3)], monkeypatch)
    repository.backup(source)
    *named, rest = repository.progress.notes
    assert len(named) == NOTED_SKIPS
    assert rest == "left out 3 more sockets, which hold no data"


def test_a_path_longer_than_the_system_allows_is_backed_up_and_restored(repository, source, tmp_path):
    at = os.open(source, os.O_RDONLY)
    name = b"n" * 200
    for _ in range(30):
        os.mkdir(name, dir_fd=at)
        deeper = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    file = os.open(b"bottom", os.O_WRONLY | os.O_CREAT, dir_fd=at)
    os.write(file, b"found")
    os.close(file)
    os.close(at)
    result = repository.backup(source)
    assert (result.errors, result.files) == (0, 1)
    restored = repository.restore(result.snapshot, tmp_path / "target")
    assert (restored.errors, restored.files) == (0, 1)


# --- damage at the hosts
def test_one_rotten_blob_costs_one_file(repository, source, tmp_path):
    for i in range(50):
        (source / str(i)).write_bytes(noise(i, 5000))
    result = repository.backup(source)
    draft = repository.sink.drafts[0]
    entry = next(entry for entry in draft.entries if entry.kind is BlobKind.DATA)
    copy = bytearray(repository.vault.packs[draft.logical])
    copy[entry.offset + 7] ^= 1
    repository.vault.packs[draft.logical] = bytes(copy)
    packs = MemorySource(repository.vault, verify=False)
    restored = repository.restore(result.snapshot, tmp_path / "target", source=packs)
    assert (restored.integrity_errors, restored.local_errors, restored.files) == (1, 0, 49)
    (lost,) = repository.progress.errors
    found = below(tmp_path / "target", source)
    assert not (found / Path(os.fsdecode(lost)).name).exists()
    assert len(list(found.iterdir())) == 49


class RangeVerifyingSource(MemorySource):
    """Refuses any request that touches the bad byte, as a source that verifies ranges does."""

    def __init__(self, vault, bad):
        super().__init__(vault)
        self._bad = bad

    def fetch(self, pack, ranges):
        if any(offset <= self._bad < offset + length for offset, length in ranges):
            self.fetches.append((pack, list(ranges)))
            raise IntegrityFault("leaf is wrong")
        return super().fetch(pack, ranges)


def test_a_refused_range_is_halved_until_the_bad_blob_stands_alone(repository, source, tmp_path):
    for i in range(100):
        (source / str(i)).write_bytes(noise(i, 5000))
    result = repository.backup(source)
    draft = repository.sink.drafts[0]
    entry = next(entry for entry in draft.entries if entry.kind is BlobKind.DATA)
    packs = RangeVerifyingSource(repository.vault, entry.offset)
    restored = repository.restore(result.snapshot, tmp_path / "target", source=packs)
    assert (restored.integrity_errors, restored.files) == (1, 99)
    assert len(packs.fetches) < 30


def test_a_lost_pack_costs_its_files_and_leaves_no_partial_ones(repository, source, tmp_path):
    for i in range(12):
        (source / str(i)).write_bytes(noise(i, 3 << 20))
    result = repository.backup(source)
    lost = max(repository.sink.drafts[:-1], key=lambda draft: len(draft.entries))
    del repository.vault.packs[lost.logical]
    restored = repository.restore(result.snapshot, tmp_path / "target")
    assert restored.integrity_errors == len(repository.progress.errors) > 0
    assert restored.files + restored.integrity_errors == 12
    whole = describe(source)
    assert all(whole[name] == value for name, value in describe(below(tmp_path / "target", source)).items())


def test_a_host_that_is_away_is_not_taken_for_damage(repository, source, tmp_path):
    (source / "f").write_bytes(b"f")
    result = repository.backup(source)
    repository.source.offline = set(repository.vault.packs)
    restored = repository.restore(result.snapshot, tmp_path / "target")
    assert (restored.unavailable_errors, restored.integrity_errors, restored.files) == (1, 0, 0)


def test_data_the_index_does_not_know_is_missing_data(repository, source, tmp_path):
    (source / "f").write_bytes(b"f")
    (source / "empty").write_bytes(b"")
    result = repository.backup(source)
    repository.index.clear()
    restored = repository.restore(result.snapshot, tmp_path / "target")
    assert (restored.integrity_errors, restored.files) == (1, 1)


def test_a_lost_directory_is_named_and_its_neighbours_restored(repository, source, tmp_path):
    for name in "abc":
        (source / name).mkdir()
        (source / name / "f").write_bytes(name.encode())
    result = repository.backup(source)
    reader = TreeReader(repository.keys, repository.index, cache=repository.cache)
    entry = find_entry(reader, result.snapshot.tree, [p for p in bytes(source / "b").split(b"/") if p])[-1]
    repository.cache.clear()
    draft = repository.sink.drafts[0]
    place = next(e for e in draft.entries if e.blob == entry.content)
    copy = bytearray(repository.vault.packs[draft.logical])
    copy[place.offset] ^= 1
    repository.vault.packs[draft.logical] = bytes(copy)
    packs = MemorySource(repository.vault, verify=False)
    restored = repository.restore(result.snapshot, tmp_path / "target", source=packs)
    assert (restored.integrity_errors, restored.integrity_dirs, restored.files) == (1, 1, 2)
    assert list(repository.progress.errors) == [bytes(source / "b")]


# --- at the target
def test_existing_files_are_refused_up_front_unless_overwriting(repository, source, tmp_path):
    (source / "a").write_bytes(b"new a")
    (source / "b").write_bytes(b"new b")
    result = repository.backup(source)
    found = below(tmp_path / "target", source)
    found.mkdir(parents=True)
    (found / "b").write_bytes(b"old b")
    (found / "mine").write_bytes(b"mine")
    with pytest.raises(UserError, match="1 existing"):
        repository.restore(result.snapshot, tmp_path / "target")
    assert sorted(p.name for p in found.iterdir()) == ["b", "mine"]
    assert (found / "b").read_bytes() == b"old b"
    assert repository.restore(result.snapshot, tmp_path / "target", overwrite=Overwrite.ALWAYS).errors == 0
    assert {p.name: p.read_bytes() for p in found.iterdir()} == {"a": b"new a", "b": b"new b", "mine": b"mine"}


def test_overwriting_goes_through_neither_symlinks_nor_hard_links(repository, source, tmp_path):
    (source / "link").write_bytes(b"new")
    (source / "hard").write_bytes(b"new")
    (source / "big").write_bytes(noise(1, 600_000))
    (source / "dir").mkdir()
    (source / "dir" / "f").write_bytes(b"new")
    result = repository.backup(source)
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("one", "two", "three", "f"):
        (outside / name).write_bytes(b"precious")
    found = below(tmp_path / "target", source)
    found.mkdir(parents=True)
    (found / "link").symlink_to(outside / "one")
    os.link(outside / "two", found / "hard")
    os.link(outside / "three", found / "big")
    (found / "dir").symlink_to(outside)
    assert repository.restore(result.snapshot, tmp_path / "target", overwrite=Overwrite.ALWAYS).errors == 0
    assert describe(found) == describe(source)
    assert {p.read_bytes() for p in outside.iterdir()} == {b"precious"}


def test_a_symlink_in_the_way_to_the_files_is_not_followed(repository, source, tmp_path):
    (source / "d").mkdir()
    (source / "d" / "f").write_bytes(b"f")
    result = repository.backup(source)
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / str(source).split("/")[1]).symlink_to(outside)
    with pytest.raises(UserError):
        repository.restore(result.snapshot, target)
    assert not list(outside.iterdir())


def test_what_is_only_on_the_way_is_never_replaced(repository, source, tmp_path):
    (source / "d" / "e").mkdir(parents=True)
    (source / "d" / "e" / "f").write_bytes(b"f")
    outside = tmp_path / "outside"
    outside.mkdir()
    of_all, of_some = repository.backup(source).snapshot, repository.backup(source / "d").snapshot
    first, way = str(source).split("/")[1], str(source).lstrip("/")
    cases = [(of_all, "/", first), (of_all, "/", way.rpartition("/")[0]), (of_some, f"/{first}", way)]
    cases += [(of_all, f"/{way}/d/e/f", f"{way}/d/e"), (of_all, f"/{way}/d", way)]
    for number, (snapshot, wanted, link) in enumerate(cases):
        target = tmp_path / f"target{number}"
        (target / link).parent.mkdir(parents=True)
        (target / link).symlink_to(outside)
        for overwrite in Overwrite:
            with pytest.raises(UserError, match=r"is a link to .*only on the way"):
                repository.restore(snapshot, target, wanted.encode(), overwrite=overwrite)
            assert (target / link).is_symlink()
            assert not list(outside.iterdir())


def test_a_link_in_the_place_of_a_wanted_folder_may_be_replaced(repository, source, tmp_path):
    (source / "d").mkdir()
    snapshot = repository.backup(source).snapshot
    found = below(tmp_path / "target", source)
    found.mkdir(parents=True)
    (found / "d").symlink_to(tmp_path)
    restorer = Restorer(
        repository.keys,
        repository.index,
        cache=repository.cache,
        source=repository.source,
        target=bytes(tmp_path / "target"),
    )
    (taken,) = restorer.survey(snapshot).taken
    (seen,) = restorer.examine_existing([taken])
    assert (seen.kind, seen.target) == (FoundKind.SYMLINK, bytes(tmp_path))
    repository.restore(snapshot, tmp_path / "target", overwrite=Overwrite.ALWAYS)
    assert not (found / "d").is_symlink()


def test_a_directory_swapped_for_a_symlink_during_the_restore_stays_inside(repository, source, tmp_path, monkeypatch):
    (source / "d").mkdir()
    (source / "d" / "f").write_bytes(b"f")
    result = repository.backup(source)
    outside = tmp_path / "outside"
    outside.mkdir()
    found = below(tmp_path / "target", source)
    original = MemorySource.fetch

    def swap_then_fetch(self, pack, ranges):
        (found / "d").rename(found / "away")
        (found / "d").symlink_to(outside)
        return original(self, pack, ranges)

    monkeypatch.setattr(MemorySource, "fetch", swap_then_fetch)
    restored = repository.restore(result.snapshot, tmp_path / "target")
    assert not list(outside.iterdir())
    assert restored.local_errors + restored.files >= 1


def make_hostile(repository, entries, tree_bytes=None):
    """Return a snapshot whose root directory is what an attacker with the keys would write."""
    pieces = [tree_bytes] if tree_bytes is not None else list(encode_pieces(entries))
    draft = PackDraft()
    compressor = Compressor(3)
    for piece in pieces:
        draft.add(compressor.pack_blob(repository.keys, BlobKind.TREE, piece))
    repository.sink.store(draft.close())
    tree = b"".join(repository.keys.blob_id(BlobKind.TREE, piece) for piece in pieces)
    return Snapshot(
        tree=tree, time_ns=0, paths=[b"/"], host="", user="", tags=[], set="", files=0, dirs=0, bytes=0, program=""
    )


def entry(kind, name, **fields):
    base = {"mode": 0o644, "uid": 0, "gid": 0, "mtime_ns": 0, "ctime_ns": 0, "inode": 1, "size": 0}
    return TreeEntry(kind=kind, name=name, **(base | fields))


def test_a_planted_symlink_is_not_written_through(repository, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = list(encode_pieces([entry(EntryKind.FILE, b"evil")]))
    content = repository.keys.blob_id(BlobKind.TREE, inner[0])
    make_hostile(repository, [], inner[0])
    # Two pieces, so that the same name comes as a symlink and again as a directory.
    first = next(encode_pieces([entry(EntryKind.SYMLINK, b"x", target=bytes(outside))]))
    second = next(encode_pieces([entry(EntryKind.DIRECTORY, b"x", content=content)]))
    snapshot = make_hostile(repository, [], first)
    other = make_hostile(repository, [], second)
    both = Snapshot(
        tree=snapshot.tree + other.tree,
        time_ns=0,
        paths=[b"/"],
        host="",
        user="",
        tags=[],
        set="",
        files=0,
        dirs=0,
        bytes=0,
        program="",
    )
    restored = repository.restore(both, tmp_path / "target", overwrite=Overwrite.ALWAYS)
    assert restored.integrity_errors == 1
    assert not list(outside.iterdir())


@pytest.mark.parametrize("name", [b"..", b".", b"a/b", b"/etc", b"", b"a\0b"])
def test_names_that_would_escape_are_refused(repository, tmp_path, name):
    good = next(encode_pieces([entry(EntryKind.FILE, b"placeholder")]))
    packed = b"\xc4" + bytes([11]) + b"placeholder"
    bad = good.replace(packed, b"\xc4" + bytes([len(name)]) + name)
    assert bad != good
    restored = repository.restore(make_hostile(repository, [], bad), tmp_path / "target")
    assert restored.integrity_errors == 1
    assert not list((tmp_path / "target").iterdir())


def test_metadata_out_of_range_is_noted_not_fatal(repository, tmp_path):
    odd = entry(EntryKind.FILE, b"odd", mtime_ns=2**63 - 1, uid=2**32 - 1, gid=2**32 - 1, user="a\0b", group="no such")
    restored = repository.restore(make_hostile(repository, [odd]), tmp_path / "target")
    assert (restored.files, restored.errors) == (1, 0)


def test_a_file_whose_data_does_not_add_up_is_refused(repository, source, tmp_path):
    (source / "f").write_bytes(b"content")
    repository.backup(source)
    blob = repository.keys.blob_id(BlobKind.DATA, b"content")
    wrong = [entry(EntryKind.FILE, b"long", size=8, content=blob), entry(EntryKind.FILE, b"none", size=5)]
    restored = repository.restore(make_hostile(repository, wrong), tmp_path / "target")
    assert (restored.integrity_errors, restored.files) == (2, 0)
    assert not list((tmp_path / "target").iterdir())


def test_owners_that_may_not_be_set_are_noted_and_setuid_dropped(repository, source, tmp_path, as_nobody):
    (source / "s").write_bytes(b"#!")
    (source / "s").chmod(0o4755)
    result = repository.backup(source)
    target = as_nobody.directory / "target"
    with as_nobody:
        restored = repository.restore(result.snapshot, target)
    assert restored.errors == 0
    assert restored.notes
    assert (below(target, source) / "s").stat().st_mode & 0o7777 == 0o755


def test_a_target_that_can_not_be_written_is_a_local_error(repository, source, as_nobody):
    (source / "f").write_bytes(b"f")
    result = repository.backup(source)
    target = as_nobody.directory / "target"
    below(target, source).mkdir(parents=True)
    with as_nobody:
        restored = repository.restore(result.snapshot, target)
    assert (restored.local_errors, restored.integrity_errors, restored.files) == (1, 0, 0)


@pytest.mark.parametrize(
    ("number", "size", "code"), [(errno.ENOSPC, 10, 13), (errno.ENOSPC, 3_000_000, 13), (errno.EROFS, 10, 3)]
)
def test_a_full_target_ends_the_restore_at_the_first_file(  # noqa: PLR0917 - fixtures and cases
    repository, source, tmp_path, number, size, code
):
    for name in range(20):
        (source / f"{name:02}").write_bytes(noise(name, size))
    snapshot = repository.backup(source).snapshot
    finish = RestoreTarget.finish_file
    finished = []

    def finish_some(*args):
        if len(finished) == 2:
            raise OSError(number, os.strerror(number))
        finished.append(args)
        finish(*args)

    with (
        mock.patch.object(RestoreTarget, "finish_file", finish_some),
        pytest.raises(BackupPeerError, match="what is finished stays: 2 files") as told,
    ):
        repository.restore(snapshot, tmp_path / "target", workers=1)
    assert told.value.exit_code == code
    assert "--target" in told.value.hint
    assert len(repository.progress.errors) == 1
    left = sorted(path.name for path in below(tmp_path / "target", source).iterdir())
    assert left == ["00", "01"], "what is finished stays, and nothing unfinished does"


def test_a_cancelled_restore_leaves_no_unfinished_files(repository, source, tmp_path):
    (source / "big").write_bytes(noise(1, 40 << 20))
    result = repository.backup(source)
    cancel = threading.Event()

    class CancellingSource(MemorySource):
        def fetch(self, pack, ranges):
            cancel.set()
            return super().fetch(pack, ranges)

    with pytest.raises(InterruptedByUserError):
        repository.restore(
            result.snapshot, tmp_path / "target", source=CancellingSource(repository.vault), cancel=cancel
        )
    assert not list(below(tmp_path / "target", source).iterdir())


@pytest.mark.parametrize("blobs", [3, 8192], ids=["a part per window", "all parts in one window"])
def test_small_windows_and_small_parts_give_the_same_result(repository, source, tmp_path, monkeypatch, blobs):
    monkeypatch.setattr(window, "RESTORE_WINDOW_BLOBS", blobs)
    monkeypatch.setattr(restore_run, "_PART_BLOBS", 2)
    for i in range(20):
        (source / f"d{i % 3}").mkdir(exist_ok=True)
        (source / f"d{i % 3}" / str(i)).write_bytes(noise(i, 200_000 * (i % 4)))
    (source / "big").write_bytes(noise(99, 12 << 20))
    os.utime(source / "d1", ns=(0, 1))
    result = repository.backup(source)
    restored = repository.restore(result.snapshot, tmp_path / "target")
    assert restored.errors == 0
    assert describe(below(tmp_path / "target", source)) == describe(source)
