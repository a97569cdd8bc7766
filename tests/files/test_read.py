"""Opening and reading files that may change under our hands."""

import os

import pytest

from backuppeer.files.read import has_changed, open_file, read_into
from backuppeer.files.scan import open_directory
from files.descriptors import count_open


@pytest.fixture
def directory(tmp_path):
    opened = open_directory(bytes(tmp_path))
    yield opened
    opened.release()


def test_only_regular_files_are_opened(tmp_path, directory):
    (tmp_path / "f").write_bytes(b"f")
    (tmp_path / "l").symlink_to("f")
    os.mkfifo(tmp_path / "p")
    (tmp_path / "d").mkdir()
    before = count_open()
    for name in (b"l", b"p", b"d", b"missing"):
        with pytest.raises(OSError, match=r"."):
            open_file(directory.fd, name)
    assert count_open() == before
    os.close(open_file(directory.fd, b"f").fd)


def test_access_times_are_left_alone(tmp_path, directory):
    file = tmp_path / "f"
    file.write_bytes(b"f")
    os.utime(file, ns=(1, 10**18))
    opened = open_file(directory.fd, b"f")
    read_into(opened.fd, memoryview(bytearray(2)), 1)
    os.close(opened.fd)
    assert file.stat().st_atime_ns == 1


@pytest.mark.parametrize(
    ("size", "room", "expected"), [(5, 6, 5), (5, 5, 5), (5, 3, 5), (3, 6, 5), (0, 6, 5), (9, 6, 5)]
)
def test_reading_fills_the_view_up_to_the_end_of_the_file(tmp_path, directory, size, room, expected):
    (tmp_path / "f").write_bytes(b"x" * size)
    opened = open_file(directory.fd, b"f")
    buffer = bytearray(room)
    assert read_into(opened.fd, memoryview(buffer), expected) == min(size, room)
    os.close(opened.fd)


def test_short_reads_are_followed_up():
    reader, writer = os.pipe()
    os.write(writer, b"ab")
    os.close(writer)
    buffer = bytearray(4)
    assert read_into(reader, memoryview(buffer), 4) == 2
    os.close(reader)


def test_a_change_under_the_same_size_is_seen(tmp_path, directory):
    file = tmp_path / "f"
    file.write_bytes(b"one")
    os.utime(file, ns=(0, 0))
    opened = open_file(directory.fd, b"f")
    assert not has_changed(opened)
    file.write_bytes(b"two")
    assert has_changed(opened)
    os.close(opened.fd)
