"""A restore with the names of another system: everything comes back, under names that can stand there."""

import os

import pytest

from backup.trees_on_disk import describe
from backuppeer.backup.selection import Choice
from backuppeer.backup.standing import Overwrite
from backuppeer.files.dialect import Platform, mark_name

AWKWARD = [b"README", b"readme", b"a:b", b"con", b"dot.", b"\xff", b"Dir/x:1", b"dir/x:2", b"dir/deep?/y", b"plain"]


@pytest.fixture
def snapshot(repository, source):
    for number, name in enumerate(AWKWARD):
        path = source / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    return repository.backup(source).snapshot


def read(root):
    return {os.fsencode(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_for_windows_every_file_comes_back_under_a_name_it_takes(repository, snapshot, source, tmp_path):
    result = repository.restore(snapshot, tmp_path / "t", platform=Platform.WINDOWS, verify=True)
    assert (result.files, result.errors) == (len(AWKWARD), 0)
    marked = mark_name(b"dir", Platform.WINDOWS)
    assert read(tmp_path / "t" / str(source).lstrip("/")) == {
        b"README": b"0",
        mark_name(b"readme", Platform.WINDOWS): b"1",
        b"a%3Ab": b"2",
        b"co%6E": b"3",
        b"dot%2E": b"4",
        b"%FF": b"5",
        b"Dir/x%3A1": b"6",
        marked + b"/x%3A2": b"7",
        marked + b"/deep%3F/y": b"8",
        b"plain": b"9",
    }
    notes = [note for note in repository.progress.notes if "can't have that name here" in note]
    assert len(notes) == 9
    assert any("a:b" in note and "a%3Ab" in note for note in notes)


def test_for_macos_only_what_it_can_not_have_is_renamed(repository, snapshot, source, tmp_path):
    repository.restore(snapshot, tmp_path / "t", platform=Platform.MACOS)
    names = set(read(tmp_path / "t" / str(source).lstrip("/")))
    assert {b"README", mark_name(b"readme", Platform.MACOS), b"a:b", b"con", b"dot.", b"%FF", b"plain"} <= names


def test_on_linux_nothing_is_renamed(repository, snapshot, source, tmp_path):
    repository.restore(snapshot, tmp_path / "t", platform=Platform.LINUX)
    assert describe(tmp_path / "t" / str(source).lstrip("/")) == describe(source)
    assert repository.progress.notes == []


def test_a_second_restore_keeps_what_the_first_made_and_deletes_none_of_it(repository, snapshot, source, tmp_path):
    options = {"platform": Platform.WINDOWS, "overwrite": Overwrite.IF_CHANGED}
    repository.restore(snapshot, tmp_path / "t", **options)
    found = tmp_path / "t" / str(source).lstrip("/")
    before = read(found)
    (found / "new").touch()
    again = repository.restore(snapshot, tmp_path / "t", delete=True, **options)
    assert (again.files, again.left.files, again.removed) == (0, len(AWKWARD), 1)
    assert read(found) == before


def test_patterns_and_parts_are_of_stored_names(repository, snapshot, source, tmp_path):
    choice = Choice(include=["x:*"])
    repository.restore(snapshot, tmp_path / "t", platform=Platform.WINDOWS, choice=choice)
    assert len(read(tmp_path / "t")) == 2
    part = bytes(source) + b"/dir/deep?"
    repository.restore(snapshot, tmp_path / "u", part, platform=Platform.WINDOWS)
    (path,) = read(tmp_path / "u")
    assert path.endswith(b"/dir/deep%3F/y")
