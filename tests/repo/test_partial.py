"""The partial tree remembers what was finished, the newest word first, and lets go of places that a snapshot has."""

import sqlite3

import pytest

from backuppeer.errors import DamagedStateError
from backuppeer.repo.partial import PartialTree, Row, read_finished
from backuppeer.repo.tree import EntryKind, TreeEntry


def entry(name: bytes, inode: int = 1) -> TreeEntry:
    return TreeEntry(EntryKind.FILE, name, 0o644, 0, 0, 5, 6, inode, 3, b"c" * 32)


@pytest.fixture
def partial(tmp_path):
    made = PartialTree(tmp_path / "partial.db")
    yield made
    made.close()


def test_rows_of_a_directory_are_joined_and_a_later_one_is_the_newer_word(partial):
    assert partial.is_empty()
    partial.write([Row(b"/a", [entry(b"z"), entry(b"b")]), Row(b"/a/b", [entry(b"x")])])
    partial.write([Row(b"/a", [entry(b"z", inode=9)])])
    assert partial.entries_in(b"/a") == {b"b": entry(b"b"), b"z": entry(b"z", inode=9)}
    assert partial.entries_in(b"/") == {}
    assert not partial.is_empty()


def test_a_finished_directory_lets_go_of_its_rows(partial):
    partial.write([Row(b"/a", [entry(b"x")]), Row(b"/a/b", [entry(b"y")])])
    partial.write([Row(b"/", [entry(b"a")], b"/a")], stale=[b"/a"])
    assert partial.entries_in(b"/a") == {}
    assert partial.entries_in(b"/") == {b"a": entry(b"a")}
    assert partial.entries_in(b"/a/b") == {b"y": entry(b"y")}


def test_what_a_snapshot_has_is_forgotten_and_neighbours_stay(partial):
    for directory in (b"/a", b"/a/b", b"/a/b/c", b"/a.b", b"/ab", b"/a0", b"/b"):
        partial.write([Row(directory, [entry(b"x")]), Row(directory, [entry(b"o")], directory + b"/o")])
    partial.write([Row(b"/", [entry(b"a")], b"/a"), Row(b"/", [entry(b"b")], b"/b")])
    partial.forget([b"/a"])
    assert partial.entries_in(b"/") == {b"b": entry(b"b")}
    left = [d for d in (b"/a", b"/a/b", b"/a/b/c", b"/a.b", b"/ab", b"/a0", b"/b") if partial.entries_in(d)]
    assert left == [b"/a.b", b"/ab", b"/a0", b"/b"]
    partial.forget([b"/"])
    assert partial.is_empty()


def test_it_is_there_after_opening_again_and_a_row_that_makes_no_sense_is_passed_over(tmp_path, partial):
    partial.write([Row(b"/a", [entry(b"x")]), Row(b"/a", [entry(b"y")])])
    with sqlite3.connect(tmp_path / "partial.db") as db:
        db.execute("UPDATE finished SET body = x'9201' WHERE number = 1")
    db.close()
    again = PartialTree(tmp_path / "partial.db")
    assert again.entries_in(b"/a") == {b"y": entry(b"y")}
    again.close()


@pytest.mark.parametrize("body", [b"", b"\x92\x01", b"\x91" * 3000 + b"\x90", b"\x91\xa2\xff\xfe"])
def test_a_row_of_whatever_bytes_is_no_entry(body):
    assert read_finished(body) == {}


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "bad.db").write_bytes(b"no database" * 100)
    with pytest.raises(DamagedStateError):
        PartialTree(tmp_path / "bad.db")
