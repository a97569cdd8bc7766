"""Looking at directories: everything found, nothing followed."""

import os
import socket

import pytest

from backuppeer.errors import LocalError
from backuppeer.files.scan import (
    FoundKind,
    examine_path,
    find_virtual_mounts,
    join_path,
    open_directory,
    scan_directory,
)
from files.descriptors import count_open


def scan(path):
    directory = open_directory(bytes(path))
    errors = []
    try:
        return scan_directory(directory, lambda at, exc: errors.append((at, exc))), errors
    finally:
        directory.release()


def test_entries_come_sorted_by_bytes_with_their_kinds(tmp_path):
    (tmp_path / "Z").write_bytes(b"12")
    (tmp_path / "a").mkdir()
    (tmp_path / "l").symlink_to("nowhere\n")
    os.mkfifo(tmp_path / "p")
    os.close(os.open(bytes(tmp_path) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        found, errors = scan(tmp_path)
    assert not errors
    assert [(f.name, f.kind) for f in found] == [
        (b"Z", FoundKind.FILE),
        (b"a", FoundKind.DIRECTORY),
        (b"l", FoundKind.SYMLINK),
        (b"p", FoundKind.FIFO),
        (b"s", FoundKind.OTHER),
        (b"\xff", FoundKind.FILE),
    ]
    assert found[0].size == 2
    assert found[2].target == b"nowhere\n"


def test_a_symlink_is_not_opened_as_a_directory(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "l").symlink_to("d")
    with pytest.raises(OSError, match=r"."):
        open_directory(bytes(tmp_path / "l"))
    open_directory(bytes(tmp_path / "l"), search_only=True).release()
    assert examine_path(bytes(tmp_path / "l")).kind is FoundKind.SYMLINK
    assert examine_path(bytes(tmp_path / "l"), follow=True).kind is FoundKind.DIRECTORY


def test_stat_fields_are_those_of_the_file(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"abc")
    file.chmod(0o6755)
    os.utime(file, ns=(0, -5))
    found, status = examine_path(bytes(file)), file.stat()
    assert (found.mode, found.mtime_ns, found.inode, found.name) == (0o6755, -5, status.st_ino, b"f")


def test_paths_longer_than_the_kernel_takes_are_opened_piecewise(tmp_path):
    at = os.open(tmp_path, os.O_RDONLY)
    path = bytes(tmp_path)
    for _ in range(25):
        os.mkdir(b"x" * 250, dir_fd=at)
        below = os.open(b"x" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at, path = below, path + b"/" + b"x" * 250
    inode = os.fstat(at).st_ino
    os.close(at)
    before = count_open()
    directory = open_directory(path)
    assert directory.inode == inode
    directory.release()
    assert examine_path(path).inode == inode
    with pytest.raises(FileNotFoundError):
        open_directory(path + b"/no")
    with pytest.raises(FileNotFoundError):
        open_directory(path.replace(b"x" * 250, b"y" * 250))
    assert count_open() == before


def test_a_directory_is_closed_after_its_last_user_and_not_before(tmp_path):
    directory = open_directory(bytes(tmp_path))
    directory.retain()
    directory.release()
    os.fstat(directory.fd)
    directory.release()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(directory.fd)
    with pytest.raises(LocalError):
        directory.release()


def test_virtual_mounts_are_found_in_the_mount_table():
    table = (
        b"22 28 0:21 / /proc rw,nosuid shared:14 - proc proc rw\n"
        b"23 28 0:22 / /sys\\040x rw - sysfs sysfs rw\n"
        b"28 1 254:1 / / rw shared:1 - ext4 /dev/vda rw\n"
        b"garbage\n\n- proc\n"
    )
    assert find_virtual_mounts(table) == {b"/proc", b"/sys x"}


def test_joining_knows_the_root():
    assert join_path(b"/", b"a") == b"/a"
    assert join_path(b"/a", b"b") == b"/a/b"
