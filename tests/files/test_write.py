"""Restoring files: whole or not at all, inside or not at all."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from backuppeer.errors import IntegrityFault
from backuppeer.files import folders, write
from backuppeer.files.folders import OpenFolders
from backuppeer.files.metadata import Metadata, MetadataNote, OwnerNames
from backuppeer.files.unfinished import can_be_unnamed
from backuppeer.files.write import RestoreTarget
from files.descriptors import count_open


def meta(mode=0o640, mtime_ns=5, **fields):
    base = {"uid": os.getuid(), "gid": os.getgid(), "user": "", "group": ""}
    return Metadata(mode=mode, mtime_ns=mtime_ns, **(base | fields))


@pytest.fixture(params=["unnamed", "named"])
def root(tmp_path, request, monkeypatch):
    if request.param == "named":
        # as on file systems without O_TMPFILE
        monkeypatch.setattr(write, "can_be_unnamed", lambda _: False)
    elif not unnamed_work_in(tmp_path):
        pytest.skip("this file system has no files without a name")
    return tmp_path / "target"


def unnamed_work_in(folder):
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return can_be_unnamed(directory)
    finally:
        os.close(directory)


@pytest.fixture
def target(root):
    with RestoreTarget(bytes(root)) as opened:
        yield opened


@pytest.fixture
def replacing(root):
    with RestoreTarget(bytes(root), overwrite=True) as opened:
        yield opened


BAD_PATHS = [b"..", b".", b"", b"a/", b"a/..", b"a/../b", b"../x", b"/etc", b"a//b", b"a\0b", b"./x"]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_no_path_leads_out(target, root, path):
    (root / "a").mkdir()
    for act in (
        lambda: target.write_file(path, b"x", meta()),
        lambda: target.make_directory(path),
        lambda: target.make_symlink(path, b"t", meta()),
        lambda: target.create_file(path),
    ):
        with pytest.raises((IntegrityFault, OSError)):
            act()
    assert [p.name for p in root.iterdir()] == ["a"]
    assert not list((root / "a").iterdir())
    assert [p.name for p in root.parent.iterdir()] == ["target"]


def test_no_component_may_be_a_symlink(target, root, tmp_path):
    outside = tmp_path / "outside"
    (outside / "in").mkdir(parents=True)
    (root / "l").symlink_to(outside)
    for path in (b"l/f", b"l/in/f"):
        with pytest.raises(OSError, match=r"."):
            target.write_file(path, b"x", meta())
        with pytest.raises(OSError, match=r"."):
            target.make_directory(path)
        assert not target.is_taken(path, directory_wanted=False)
    with pytest.raises(OSError, match=r"."):
        target.finish_directory(b"l", meta())
    assert not target.has_directory(b"l")
    assert target.is_taken(b"l", directory_wanted=True)
    assert [p.name for p in outside.iterdir()] == ["in"]


def test_files_get_content_and_metadata(target, root):
    target.write_file(b"f", b"abc", meta(0o4751, -3))
    status = (root / "f").stat()
    assert ((root / "f").read_bytes(), status.st_mode & 0o7777, status.st_mtime_ns) == (b"abc", 0o4751, -3)


def test_pieces_may_come_in_any_order_and_the_name_appears_last(target, root):
    writer = target.create_file(b"f")
    writer.write_at(3, b"def")
    assert not (root / "f").exists()
    writer.write_at(0, memoryview(b"abc"))
    writer.finish(meta())
    assert {p.name: p.read_bytes() for p in root.iterdir()} == {"f": b"abcdef"}


def test_an_aborted_file_leaves_nothing(target, root):
    writer = target.create_file(b"f")
    writer.write_at(0, b"abc")
    writer.abort()
    assert not list(root.iterdir())
    with pytest.raises(OSError, match="Bad file"):
        writer.write_at(3, b"late")


@pytest.mark.parametrize("piecewise", [True, False])
def test_what_exists_is_not_touched_without_overwrite(target, root, piecewise):
    (root / "f").write_bytes(b"old")

    def act():
        if piecewise:
            writer = target.create_file(b"f")
            writer.write_at(0, b"new")
            writer.finish(meta())
        else:
            target.write_file(b"f", b"new", meta())

    with pytest.raises(FileExistsError):
        act()
    with pytest.raises(FileExistsError):
        target.make_symlink(b"f", b"x", meta())
    with pytest.raises(FileExistsError):
        target.make_directory(b"f")
    assert {p.name: p.read_bytes() for p in root.iterdir()} == {"f": b"old"}


def test_overwriting_replaces_names_not_what_they_lead_to(replacing, root, tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    for name in ("a", "b", "c", "d"):
        (root / name).symlink_to(precious)
    os.link(precious, root / "h")
    replacing.write_file(b"a", b"new", meta())
    writer = replacing.create_file(b"b")
    writer.finish(meta())
    replacing.make_symlink(b"c", b"elsewhere", meta())
    assert replacing.make_directory(b"d")
    replacing.write_file(b"h", b"new", meta())
    assert precious.read_bytes() == b"precious"
    assert precious.stat().st_nlink == 1
    assert (root / "c").readlink().name == "elsewhere"
    assert sorted(p.name for p in root.iterdir()) == ["a", "b", "c", "d", "h"]


def test_a_directory_is_never_replaced_by_a_file(replacing, root):
    (root / "d").mkdir()
    (root / "d" / "inner").write_bytes(b"1")
    with pytest.raises(OSError, match=r"."):
        replacing.write_file(b"d", b"x", meta())
    with pytest.raises(OSError, match=r"."):
        replacing.make_symlink(b"d", b"x", meta())
    assert [p.name for p in root.iterdir()] == ["d"]
    assert (root / "d" / "inner").read_bytes() == b"1"


def test_a_full_disk_leaves_no_part_of_a_file(target, root, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(write.os, "write", full)
    with pytest.raises(OSError, match="no space"):
        target.write_file(b"f", b"abc", meta())
    assert not list(root.iterdir())


def test_a_restore_killed_between_bytes_and_name_leaves_nothing_behind(tmp_path):
    if not unnamed_work_in(tmp_path):
        pytest.skip("this file system has no files without a name")
    program = textwrap.dedent(
        """
        import os, signal, sys
        from backuppeer.files import write
        from backuppeer.files.metadata import Metadata
        write.apply_to_file = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        with write.RestoreTarget(os.fsencode(sys.argv[1])) as target:
            target.create_file(b"pieces").write_at(0, b"half")
            target.write_file(b"whole", b"bytes", Metadata(0o600, 0, 0, 0, "", ""))
        """
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "t"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not list((tmp_path / "t").iterdir())


def test_without_hard_links_a_taken_name_is_still_not_replaced(target, root, monkeypatch):
    def unsupported(*_, **__):
        raise OSError(errno.EPERM, "operation not permitted")

    monkeypatch.setattr(write.os, "link", unsupported)
    target.create_file(b"free").finish(meta())
    (root / "f").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        target.create_file(b"f").finish(meta())
    assert {p.name: p.read_bytes() for p in root.iterdir()} == {"f": b"old", "free": b""}


def test_directories_are_private_until_finished_and_keep_their_time(target, root):
    assert target.make_directory(b"d")
    assert not target.make_directory(b"d")
    assert (root / "d").stat().st_mode & 0o7777 == 0o700
    target.write_file(b"d/f", b"", meta())
    target.finish_directory(b"d", meta(0o2555, 77))
    assert ((root / "d").stat().st_mode & 0o7777, (root / "d").stat().st_mtime_ns) == (0o2555, 77)


def test_files_get_their_own_owner_whatever_the_directory_gives(target, root):
    if os.getuid() != 0:
        pytest.skip("other owners need root")
    target.make_directory(b"d")
    os.chown(root / "d", 0, 17)
    (root / "d").chmod(0o2700)
    wanted = [(0, 0), (0, 17), (5, 17), (0, 0), (5, 6)]
    for number, (uid, gid) in enumerate(wanted):
        target.write_file(b"d/%d" % number, b"x", meta(uid=uid, gid=gid))
    found = [(root / "d" / str(n)).stat() for n in range(len(wanted))]
    assert [(s.st_uid, s.st_gid) for s in found] == wanted


def test_symlinks_keep_target_and_time(target, root):
    target.make_symlink(b"l", b"/no\xff where", meta(mtime_ns=9))
    assert bytes((root / "l").readlink()) == b"/no\xff where"
    assert (root / "l").lstat().st_mtime_ns == 9


def test_numbers_no_system_takes_become_notes(target):
    target.write_file(b"f", b"", meta(0o4700, 2**100, uid=2**40))
    assert target.notes == {MetadataNote.OWNER: 1, MetadataNote.SPECIAL_BITS: 1, MetadataNote.TIME: 1}


def test_names_win_over_numbers_and_unknown_names_fall_back():
    names = OwnerNames()
    assert names.uid("root", 12345) == 0
    assert names.gid("root", 12345) == 0
    for unknown in ("no such user here", "a\0b", "\udc80"):
        assert names.uid(unknown, 12345) == 12345
        assert names.gid(unknown, 12345) == 12345
    assert names.user(0) == "root"
    assert names.user(2**31 + 11) == ""
    assert names.group(2**70) == ""


def test_open_folders_stay_few_and_all_are_closed(root, monkeypatch):
    monkeypatch.setattr(folders, "RESTORE_OPEN_DIRECTORIES", 4)
    before = count_open()
    with RestoreTarget(bytes(root)) as target:
        for i in range(40):
            target.make_directory(b"%d" % i)
            target.make_directory(b"%d/in" % i)
            target.write_file(b"%d/in/f" % i, b"x", meta())
        assert count_open() <= before + 7
    assert count_open() == before


def test_folders_in_use_by_other_threads_are_not_closed(root, monkeypatch):
    monkeypatch.setattr(folders, "RESTORE_OPEN_DIRECTORIES", 1)
    for i in range(8):
        (root / str(i)).mkdir(parents=True)
    opened = OpenFolders(bytes(root))
    failures = []

    def work(number):
        try:
            for i in range(200):
                with opened.use(b"%d" % ((number + i) % 8)) as folder:
                    status = os.fstat(folder.fd)
                    if status.st_ino != (root / str((number + i) % 8)).stat().st_ino:
                        failures.append("wrong folder")
        except OSError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened.close()
    assert not failures
