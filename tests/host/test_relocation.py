"""A store moved to another disk: all of it, verified, and one store at every moment, wherever it is killed."""

import errno
import os
from pathlib import Path

import pytest

from backuppeer.errors import StoreUnavailable, UserError
from backuppeer.host import relocation
from backuppeer.host.layout import Layout
from backuppeer.host.lineage import add_lineage, read_lineage
from backuppeer.host.relocation import (
    begin,
    check_target,
    copy,
    finish,
    measure,
    read_marker,
    remove_old,
    rename_store,
    take_over,
)
from backuppeer.host.store import create_store, open_store
from backuppeer.ids import PeerId, StoredId
from backuppeer.limits import FREE_DISK_FLOOR_BYTES
from backuppeer.proof.notices import sign_notice
from host.host_world import NOW_MS, agreement_id, put_pack

A = agreement_id()


def go_on(*_):
    pass


def copy_all(source: Path, target: Path, **options) -> None:
    begin(source, target, size_bytes=measure(source)[1])
    copy(source, target, tell=options.get("tell", go_on), check=options.get("check", go_on))


def move(source: Path, target: Path) -> None:
    """What is done to files, the store being closed."""
    marker = read_marker(source)
    copy_all(source, target)
    finish(source, target)
    take_over(source, target)
    assert remove_old(source, marker=marker)


@pytest.fixture
def target(tmp_path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk" / "store"


def is_store(path: Path) -> bool:
    return Layout(path).marker.exists()


def test_everything_is_there_afterwards_and_nothing_where_it_was(store, kept, world, target):
    source, store_id = store.directory, store.store_id
    notice = sign_notice(A, world.host, last=0, time_ms=NOW_MS)
    store.notices.give(A, notice)
    store.sweep.add_age(77)
    store.close()
    add_lineage(source, [b"a signed succession"])
    move(source, target)
    assert not source.exists()
    assert read_lineage(target) == [b"a signed succession"]
    moved = open_store(target, world.peer, floor_bytes=0)
    try:
        assert (moved.store_id, moved.notes) == (store_id, [])
        for stored, data in kept.items():
            assert moved.read(A, stored, offset=0, length=len(data)) == data
        assert moved.heads.get(A).head.number == 1
        assert moved.removals.graveyard.age_s() == 77, "the catalogue came along: no lock begins anew"
        assert moved.notices.last_of_host(A).notice.number == 1
        assert moved.rebuild_catalogue(verify=True).damaged == []
    finally:
        moved.close()
    assert list(Layout(target).incoming.iterdir()) == []


def test_what_comes_changes_and_goes_while_it_is_copied_is_as_at_the_source(store, kept, world, target):
    source = store.directory
    first = next(iter(kept))

    def change(files, _):
        if files == 1:
            store.notices.give(A, sign_notice(A, world.host, last=0, time_ms=NOW_MS))
            late.append(put_pack(store, b"late" * 1000))

    late: list[StoredId] = []
    copy_all(source, target, tell=change)
    gone = source / Layout(source).pack(A, first).relative_to(source)
    gone.unlink()
    store.close()
    finish(source, target)
    take_over(source, target)
    assert not Layout(target).pack(A, first).exists()
    moved = open_store(target, world.peer, floor_bytes=0)
    assert moved.read(A, late[0], offset=0, length=4) == b"late"
    assert moved.notices.last_of_host(A).notice.number == 1
    moved.close()


STEPS = ["create_file", "make_directory", "sync_directory", "_verify", "_copy_file", "replace_file", "forget_pages"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_there_is_one_store_and_the_same_again_goes_on(
    store, kept, world, target, *, monkeypatch, step
):
    """At each call of each step in turn, until none is left at which it could be killed."""
    source = store.directory
    store.close()
    at, done = 0, False
    while not done:
        calls = 0
        whole = getattr(relocation, step)

        def killed(*given, whole=whole, at=at, **options):
            nonlocal calls
            calls += 1
            if calls > at:
                raise KeyboardInterrupt
            return whole(*given, **options)

        with monkeypatch.context() as patch:
            patch.setattr(relocation, step, killed)
            try:
                copy_all(source, target)
                finish(source, target)
                done = True
            except KeyboardInterrupt:
                at = at + 1 if at < 3 else at * 2
        assert is_store(source)
        assert not is_store(target), "no second truth before the switch"
        check_target(source, target)
    marker = read_marker(source)
    take_over(source, target)
    assert not is_store(source)
    assert remove_old(source, marker=marker)
    moved = open_store(target, world.peer, floor_bytes=0)
    assert moved.rebuild_catalogue(verify=True).notes() == []
    assert moved.usage(A).packs == len(kept)
    moved.close()


@pytest.mark.parametrize("call", ["unlink", "rename"])
def test_killed_within_the_switch_it_is_finished_by_doing_it_again(store, kept, world, target, *, monkeypatch, call):
    source = store.directory
    store.close()
    copy_all(source, target)
    finish(source, target)

    def killed(self, *args, **options):
        del self, args, options
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, killed)
        with pytest.raises(KeyboardInterrupt):
            take_over(source, target)
    assert is_store(source) + is_store(target) <= 1
    take_over(source, target)
    take_over(source, target)
    assert (is_store(source), is_store(target)) == (False, True)
    open_store(target, world.peer, floor_bytes=0).close()
    assert len(kept) == 3


def test_a_full_disk_leaves_the_store_where_it_was_and_the_next_try_goes_on(store, kept, target, monkeypatch):
    source, written = store.directory, []

    def full(descriptor, data):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(len(data))
        os.write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(relocation, "write_all", full)
        with pytest.raises(StoreUnavailable, match="is full"):
            copy_all(source, target)
    assert list(Layout(target).incoming.iterdir()) == []
    assert store.usage(A).packs == len(kept), "it serves all the while"
    copy_all(source, target)


def test_what_can_not_fit_is_refused_before_a_byte_is_copied(store, kept, target, monkeypatch):
    assert kept
    monkeypatch.setattr(relocation, "free_bytes", lambda _: FREE_DISK_FLOOR_BYTES + 1000)
    with pytest.raises(UserError, match=r"the store holds .* and .* has room for 1 kB"):
        copy_all(store.directory, target)


def test_a_disk_that_gives_back_other_bytes_is_found_out_before_the_old_place_goes(store, kept, target, monkeypatch):
    assert kept

    def rot(descriptor, data):
        os.write(descriptor, b"\0" * len(data))

    monkeypatch.setattr(relocation, "write_all", rot)
    with pytest.raises(StoreUnavailable, match="gives back other bytes"):
        copy_all(store.directory, target)
    assert is_store(store.directory)


def test_a_pack_that_was_damaged_before_moves_as_it_is(store, kept, world, target):
    source = store.directory
    stored, data = next(iter(kept.items()))
    Layout(source).pack(A, stored).write_bytes(b"x" * len(data))
    store.close()
    move(source, target)
    moved = open_store(target, world.peer, floor_bytes=0)
    assert stored.hex() in moved.rebuild_catalogue(verify=True).damaged
    moved.close()


def test_a_copy_of_before_that_rotted_is_made_anew(store, kept, target):
    source = store.directory
    copy_all(source, target)
    stored = next(iter(kept))
    path = Layout(target).pack(A, stored)
    status = path.stat()
    path.write_bytes(b"r" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(StoreUnavailable, match="other bytes"):
        copy_all(source, target)
    copy_all(source, target)
    assert path.read_bytes() == Layout(source).pack(A, stored).read_bytes()


def test_leaving_it_stops_at_the_next_piece(store, kept, target):
    assert kept

    def check():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        copy_all(store.directory, target, check=check)
    assert is_store(store.directory)


def test_places_where_no_store_can_go_are_refused_untouched(store, tmp_path, target):
    source = store.directory
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").touch()
    (tmp_path / "file").touch()
    other = tmp_path / "other"
    other.mkdir()
    Layout(other).marker.touch()
    (tmp_path / "link").symlink_to(source)
    for place, why in (
        (source, "already"),
        (tmp_path / "link", "already"),
        (source / "inner", "lie in each other"),
        (source.parent, "lie in each other"),
        (tmp_path / "letters", "not empty"),
        (tmp_path / "file", "no folder"),
        (tmp_path / "no" / "such", "there is no folder"),
        (other, "not empty|a store already"),
    ):
        with pytest.raises(UserError, match=why):
            check_target(source, place)
    with pytest.raises(UserError, match="not empty") as caught:
        check_target(source, tmp_path / "letters")
    assert caught.value.hint.endswith("--move-store DIR"), "as it was typed"
    check_target(source, target)
    target.mkdir()
    check_target(source, target)
    assert (tmp_path / "letters" / "to-mum.txt").exists()


def test_within_one_file_system_it_is_one_rename(store, kept, world, target):
    source = store.directory
    store.close()
    assert relocation.is_one_disk(source, target)
    assert rename_store(source, target)
    assert not source.exists()
    moved = open_store(target, world.peer, floor_bytes=0)
    assert moved.usage(A).packs == len(kept)
    moved.close()


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EBUSY, errno.ENOTEMPTY])
def test_what_can_not_be_renamed_is_to_be_copied(store, target, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "rename", refuse)
    assert rename_store(store.directory, target) is False
    assert is_store(store.directory)


def test_others_files_in_the_old_place_stay(store, kept, target):
    assert kept
    source = store.directory
    store.close()
    (source / "lost+found").mkdir()
    move(source, target)
    assert [path.name for path in source.iterdir()] == ["lost+found"]
    assert not remove_old(target, marker=read_marker(target)), "never of a store"
    assert remove_old(target, marker=b"another store's"), "nothing of it is left here"
    assert is_store(target)


@pytest.fixture
def foreign(tmp_path):
    """The store of another home, with something in it."""
    made = create_store(tmp_path / "foreign", PeerId(b"f" * 32), floor_bytes=0)
    directory = made.directory
    made.close()
    (directory / "agreements" / "theirs").write_bytes(b"x")
    return directory


def test_a_folder_that_became_another_store_meanwhile_is_left_as_it_is(store, kept, target, foreign):
    assert kept
    source = store.directory
    copy_all(source, target)
    store.close()
    (target / "backup-peer-moving").unlink()
    foreign.rename(target.parent / "kept")
    for path in (target.parent / "kept").iterdir():
        if path.name == "agreements":
            (path / "theirs").rename(target / "agreements" / "theirs")
        elif path.name == "backup-peer-store" or path.is_file():
            path.rename(target / path.name)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    with pytest.raises(StoreUnavailable, match="no copy of this store"):
        finish(source, target)
    with pytest.raises((UserError, StoreUnavailable)):
        begin(source, target, size_bytes=0)
    take_over(target, source)  # as at the next start after a move that was over long ago
    assert remove_old(target, marker=read_marker(source))
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
    assert is_store(source)


def test_a_link_among_the_folders_is_refused(store, target, tmp_path):
    (tmp_path / "large disk").mkdir()
    (store.directory / "agreements" / "linked").symlink_to(tmp_path / "large disk")
    with pytest.raises(UserError, match="is a link"):
        check_target(store.directory, target)


def test_a_disk_that_rounds_times_gets_each_pack_once(store, kept, target, monkeypatch):
    copied = []
    honest = relocation._copy_file

    def count(source, there, incoming, *, check):
        copied.append(there.name)
        done = honest(source, there, incoming, check=check)
        status = there.stat()
        os.utime(there, ns=(status.st_atime_ns, status.st_mtime_ns // 10**10 * 10**10))
        return done

    monkeypatch.setattr(relocation, "_copy_file", count)
    copy_all(store.directory, target)
    store.close()
    finish(store.directory, target)
    assert all(copied.count(stored.hex()) == 1 for stored in kept)
