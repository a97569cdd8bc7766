"""Every kind of entry and its metadata comes back: hard links, holes, attributes, lists of rights, pipes, devices."""

import os
import socket
import stat
import struct

import pytest

from backup.trees_on_disk import describe
from backuppeer.backup.standing import Overwrite

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"


def below(target, source):
    return target / str(source).lstrip("/")


def acl(*entries):
    """Return the kernel's form of a list of rights: (tag, rights, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


OWNER, USER, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
NO_ID = 2**32 - 1
SHARED = acl((OWNER, 6, NO_ID), (USER, 4, 1234), (GROUP, 0, NO_ID), (MASK, 4, NO_ID), (OTHER, 0, NO_ID))


def round_trip(repository, source, tmp_path, **options):
    result = repository.backup(source)
    assert result.errors == 0
    restored = repository.restore(result.snapshot, tmp_path / "target", **options)
    assert restored.errors == 0
    return below(tmp_path / "target", source)


def test_names_of_one_file_are_one_file_again(repository, source, tmp_path):
    (source / "a").write_bytes(b"one")
    (source / "d").mkdir()
    (source / "d" / "b").hardlink_to(source / "a")
    (source / "large").write_bytes(os.urandom(5 << 20))
    (source / "also large").hardlink_to(source / "large")
    (source / "empty").touch()
    (source / "z").hardlink_to(source / "empty")
    (source / "twin").write_bytes(b"one")
    target = round_trip(repository, source, tmp_path)
    assert describe(target) == describe(source)
    for one, other in (("a", "d/b"), ("large", "also large"), ("empty", "z")):
        assert (target / one).samefile(target / other)
        assert (target / one).stat().st_nlink == 2
    assert not (target / "twin").samefile(target / "a")


def test_of_a_file_with_names_elsewhere_those_at_hand_are_linked(repository, source, tmp_path):
    (tmp_path / "outside").write_bytes(b"one")
    for name in "ab":
        (source / name).hardlink_to(tmp_path / "outside")
    target = round_trip(repository, source, tmp_path)
    assert (target / "a").samefile(target / "b")
    assert (target / "a").stat().st_nlink == 2


def test_one_name_of_several_is_restored_alone(repository, source, tmp_path):
    (source / "a").write_bytes(b"one")
    (source / "b").hardlink_to(source / "a")
    result = repository.backup(source)
    repository.restore(result.snapshot, tmp_path / "target", bytes(source / "b"))
    assert below(tmp_path / "target", source / "b").read_bytes() == b"one"


def test_a_second_name_replaces_what_stands_there_only_when_told(repository, source, tmp_path):
    (source / "a").write_bytes(b"one")
    (source / "b").hardlink_to(source / "a")
    result = repository.backup(source)
    target = below(tmp_path / "target", source)
    for _ in range(2):  # the second time they are the same file already
        repository.restore(result.snapshot, tmp_path / "target", overwrite=Overwrite.ALWAYS)
        assert (target / "a").samefile(target / "b")
        assert sorted(path.name for path in target.iterdir()) == ["a", "b"]
    (target / "b").unlink()
    (target / "b").write_bytes(b"mine")
    repository.restore(result.snapshot, tmp_path / "target", overwrite=Overwrite.ALWAYS)
    assert (target / "b").read_bytes() == b"one"


def test_links_that_grow_apart_between_backups_do(repository, source, tmp_path):
    (source / "a").write_bytes(b"one")
    (source / "b").hardlink_to(source / "a")
    first = repository.backup(source)
    (source / "b").unlink()
    (source / "b").write_bytes(b"two")
    second = repository.backup(source, parent=first.snapshot)
    repository.restore(second.snapshot, tmp_path / "target")
    target = below(tmp_path / "target", source)
    assert ((target / "a").read_bytes(), (target / "b").read_bytes()) == (b"one", b"two")


@pytest.mark.parametrize("data_mib", [0, 1, 9], ids=["nothing but a hole", "a little", "several chunks"])
def test_holes_stay_holes(repository, source, tmp_path, data_mib):
    size = 64 << 20
    with (source / "image").open("wb") as file:
        file.truncate(size)
        file.seek(20 << 20)
        file.write(os.urandom(data_mib << 20))
        file.seek(50 << 20)
        file.write(b"x" * bool(data_mib))
    with (source / "zeros").open("wb") as file:
        file.write(bytes(1 << 20))  # written, so no hole
    (source / "small hole").write_bytes(b"")
    os.truncate(source / "small hole", 100_000)
    target = round_trip(repository, source, tmp_path)
    assert describe(target) == describe(source)
    for name in ("image", "small hole", "zeros"):
        ours, theirs = (source / name).stat(), (target / name).stat()
        assert theirs.st_size == ours.st_size
        assert abs(theirs.st_blocks - ours.st_blocks) <= 256, name  # 128 KiB for the ends of runs


def test_extended_attributes_come_back_on_everything_that_has_them(repository, source, tmp_path):
    (source / "file").write_bytes(b"x")
    (source / "large").write_bytes(os.urandom(5 << 20))
    (source / "empty").touch()
    (source / "folder").mkdir()
    for path in (source / "file", source / "large", source / "empty", source / "folder", source):
        os.setxattr(path, "user.note", b"\0\xff" + path.name.encode())
        os.setxattr(path, "user.\u00e4", b"")
    target = round_trip(repository, source, tmp_path)
    for name in ("file", "large", "empty", "folder", "."):
        found = {key: os.getxattr(target / name, key) for key in os.listxattr(target / name) if key.startswith("user.")}
        assert found == {key: os.getxattr(source / name, key) for key in os.listxattr(source / name) if "user." in key}
        assert len(found) == 2


@NEEDS_ROOT
def test_attributes_of_links_pipes_and_for_root_alone_come_back(repository, source, tmp_path):
    (source / "link").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    for name in ("link", "pipe"):
        os.setxattr(source / name, "trusted.note", name.encode(), follow_symlinks=False)
    target = round_trip(repository, source, tmp_path)
    for name in ("link", "pipe"):
        assert os.getxattr(target / name, "trusted.note", follow_symlinks=False) == name.encode()


def test_a_changed_attribute_is_in_the_next_backup(repository, source, tmp_path):
    (source / "file").write_bytes(b"x")
    (source / "folder").mkdir()
    first = repository.backup(source)
    for name in ("file", "folder"):
        os.setxattr(source / name, "user.note", b"new")
    second = repository.backup(source, parent=first.snapshot)
    assert second.new_bytes == 0
    repository.restore(second.snapshot, tmp_path / "target")
    for name in ("file", "folder"):
        assert os.getxattr(below(tmp_path / "target", source) / name, "user.note") == b"new"
    third = repository.backup(source, parent=second.snapshot)
    repository.restore(third.snapshot, tmp_path / "again")
    for name in ("file", "folder"):
        assert os.getxattr(below(tmp_path / "again", source) / name, "user.note") == b"new"


def test_lists_of_rights_come_back(repository, source, tmp_path):
    (source / "file").write_bytes(b"x")
    (source / "folder").mkdir()
    os.setxattr(source / "file", ACL, SHARED)
    os.setxattr(source / "folder", ACL, SHARED)
    os.setxattr(source / "folder", DEFAULT_ACL, SHARED)
    (source / "folder" / "child").write_bytes(b"its rights come from the folder")
    target = round_trip(repository, source, tmp_path)
    for name in ("file", "folder", "folder/child"):
        assert os.getxattr(target / name, ACL) == os.getxattr(source / name, ACL)
    assert os.getxattr(target / "folder", DEFAULT_ACL) == SHARED
    assert describe(target) == describe(source)


def test_more_attributes_than_an_entry_holds_are_named_and_the_file_kept(repository, source, tmp_path, monkeypatch):
    monkeypatch.setattr("backuppeer.files.attributes.ATTRIBUTES_BYTES", 20)
    (source / "file").write_bytes(b"x")
    os.setxattr(source / "file", "user.note", bytes(30))
    result = repository.backup(source)
    assert result.errors == 1
    assert "attributes" in repository.progress.errors[bytes(source / "file")]
    repository.restore(result.snapshot, tmp_path / "target")
    assert below(tmp_path / "target", source / "file").read_bytes() == b"x"


def test_pipes_come_back_and_sockets_are_named_and_left_out(repository, source, tmp_path, monkeypatch):
    os.mkfifo(source / "pipe")
    (source / "pipe").chmod(0o620)
    os.utime(source / "pipe", ns=(5, -7))
    monkeypatch.chdir(source)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    result = repository.backup(source)
    assert any("socket" in note for note in repository.progress.notes)
    repository.restore(result.snapshot, tmp_path / "target")
    target = below(tmp_path / "target", source)
    found = (target / "pipe").lstat()
    assert stat.S_ISFIFO(found.st_mode)
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o620, -7)
    assert not (target / "socket").exists()


@NEEDS_ROOT
def test_devices_come_back_for_root(repository, source, tmp_path):
    os.mknod(source / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(source / "disk", 0o640 | stat.S_IFBLK, os.makedev(259, 70_000))
    target = round_trip(repository, source, tmp_path)
    for name in ("null", "disk"):
        ours, theirs = (source / name).lstat(), (target / name).lstat()
        assert (theirs.st_mode, theirs.st_rdev) == (ours.st_mode, ours.st_rdev)


@NEEDS_ROOT
def test_what_a_plain_user_cannot_make_is_counted_and_the_rest_restored(repository, source, as_nobody):
    os.mknod(source / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (source / "file").write_bytes(b"x")
    os.setxattr(source / "file", "trusted.note", b"root's")
    result = repository.backup(source)
    with as_nobody:
        restored = repository.restore(result.snapshot, as_nobody.directory / "target")
        target = below(as_nobody.directory / "target", source)
        assert (target / "file").read_bytes() == b"x"
        assert not (target / "null").exists()
    assert restored.errors == 0
    assert restored.notes["devices"] == 1
    assert restored.notes["extended attributes"] == 1


def test_where_rights_of_others_cannot_be_set_the_group_gets_no_more_than_it_had(
    repository, source, tmp_path, monkeypatch
):
    (source / "file").write_bytes(b"x")
    os.setxattr(source / "file", ACL, SHARED)  # the owning group may do nothing, though the mode says r--
    result = repository.backup(source)

    def refuse(*_args, **_options):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    restored = repository.restore(result.snapshot, tmp_path / "target")
    assert restored.notes["access control lists"] == 1
    assert stat.S_IMODE(below(tmp_path / "target", source / "file").stat().st_mode) == 0o600


@NEEDS_ROOT
def test_other_file_systems_are_left_out_when_told(repository, source, tmp_path):
    (source / "here").write_bytes(b"x")
    (source / "mounted").mkdir()
    mount = source / "mounted"
    assert os.system(f"mount -t tmpfs none {mount}") == 0  # noqa: S605 - a path of ours
    try:
        (mount / "elsewhere").write_bytes(b"y")
        alone = repository.backup(source, one_file_system=True)
        both = repository.backup(source)
    finally:
        os.system(f"umount {mount}")  # noqa: S605
    repository.restore(alone.snapshot, tmp_path / "alone")
    repository.restore(both.snapshot, tmp_path / "both")
    assert describe(below(tmp_path / "alone", source)).keys() == {b"here", b"mounted"}
    assert b"mounted/elsewhere" in describe(below(tmp_path / "both", source))
