"""The comparison at the end of the demo sees every way in which a restored folder can differ."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from backuppeer.cli.compare import compare_trees, measure_tree


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    original = tmp_path / "original"
    (original / "folder" / "deep").mkdir(parents=True)
    (original / "folder" / "file").write_bytes(b"x" * 3_000_000)
    (original / os.fsdecode(b"not-utf8-\xff")).write_bytes(b"")
    (original / "link").symlink_to("folder/file")
    shutil.copytree(original, tmp_path / "copy", symlinks=True)
    return original, tmp_path / "copy"


def test_a_true_copy_has_no_differences_and_everything_is_counted(pair):
    result = compare_trees(*pair)
    assert result.differences == {}
    assert (result.files, result.folders, result.links, result.size_bytes) == (2, 3, 1, 3_000_000)


def test_a_comparison_tells_how_far_it_is(pair):
    seen = []
    compare_trees(*pair, on_entry=lambda so_far: seen.append(so_far.size_bytes))
    assert len(seen) == 6
    assert seen[-1] == 3_000_000


def _flip_last_byte(copy: Path) -> None:
    before = (copy / "folder" / "file").stat()
    with (copy / "folder" / "file").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"y")
    os.utime(copy / "folder" / "file", ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace_by_folder(copy: Path) -> None:
    (copy / "link").unlink()
    (copy / "link").mkdir()


def _point_elsewhere(copy: Path) -> None:
    before = (copy / "link").lstat()
    (copy / "link").unlink()
    (copy / "link").symlink_to("folder/deep")
    os.utime(copy / "link", ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)


@pytest.mark.parametrize(
    ("harm", "path", "word"),
    [
        (_flip_last_byte, b"folder/file", "bytes"),
        (lambda copy: os.truncate(copy / "folder" / "file", 2_999_999), b"folder/file", "bytes"),
        (lambda copy: (copy / "folder" / "file").chmod(0o600), b"folder/file", "mode 600"),
        (lambda copy: os.utime(copy / "folder" / "deep", ns=(0, 1)), b"folder/deep", "time"),
        (lambda copy: (copy / "link").unlink(), b"link", "No such file"),
        (_replace_by_folder, b"link", "kind"),
        (_point_elsewhere, b"link", "target"),
        (lambda copy: (copy / "more").write_bytes(b""), b"more", "not in the original"),
        (lambda copy: os.utime(copy, ns=(0, 1)), b"", "time"),
    ],
)
def test_each_kind_of_damage_is_named_at_its_path(pair, harm: Callable[[Path], None], path: bytes, word: str):
    harm(pair[1])
    assert word in compare_trees(*pair).differences[path]


def test_a_copy_that_is_not_there_differs_everywhere(pair, tmp_path):
    result = compare_trees(pair[0], tmp_path / "nowhere")
    assert len(result.differences) == 6


def test_what_a_backup_does_not_keep_is_skipped_and_counted(pair, monkeypatch):
    monkeypatch.chdir(pair[0])  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    before = pair[1].stat()
    os.utime(pair[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    result = compare_trees(*pair)
    assert (result.skipped, result.differences) == (1, {})


def test_pipes_and_attributes_that_differ_are_named(pair):
    for folder in pair:
        os.mkfifo(folder / "pipe")
        os.utime(folder / "pipe", ns=(1, 1))
        os.utime(folder, ns=(1, 1))
    assert compare_trees(*pair).differences == {}
    os.setxattr(pair[0], "user.note", b"x")
    assert compare_trees(*pair).differences == {b"": "other extended attributes"}
    (pair[1] / "pipe").unlink()
    assert b"pipe" in compare_trees(*pair).differences


def test_a_tree_is_measured_without_following_links(pair):
    assert measure_tree(pair[0]) == (2, 3_000_000)
