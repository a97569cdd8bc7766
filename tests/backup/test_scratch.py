import pytest

from backuppeer.backup import scratch
from backuppeer.backup.scratch import Scratch
from backuppeer.errors import LocalError

TABLES = ("used (blob PRIMARY KEY)",)
ADD = "INSERT OR IGNORE INTO used VALUES (?)"
PAGES = "SELECT blob FROM used WHERE blob > ? ORDER BY blob LIMIT ?"


def test_what_is_noted_is_found_once_and_in_order_of_pages(monkeypatch):
    monkeypatch.setattr(scratch, "_PAGE_ROWS", 3)
    with Scratch("note", TABLES) as notes:
        assert [notes.change(ADD, blob) for blob in (b"b", b"a", b"b")] == [1, 1, 0]
        notes.change_many(ADD, [(bytes([number]),) for number in range(1, 6)])
        assert list(notes.pages(PAGES)) == [[b"\1", b"\2", b"\3"], [b"\4", b"\5", b"a"], [b"b"]]
        assert notes.select("SELECT 1 FROM used WHERE blob = ?", b"c") == []


def test_nothing_is_left_for_the_next_one():
    with Scratch("note", TABLES) as notes:
        notes.change(ADD, b"a")
    with Scratch("note", TABLES) as notes:
        assert list(notes.pages(PAGES)) == []


def test_a_full_disk_is_told_with_what_it_kept_from_being_done():
    rows = [(bytes([number]) * 900,) for number in range(20)]
    with Scratch("note what is what", TABLES) as notes:
        notes._db.execute("PRAGMA max_page_count=3")
        with pytest.raises(LocalError, match=r"disk of this machine is full: a temporary database in .*"):
            notes.change_many(ADD, rows)
        with pytest.raises(LocalError):
            notes.change(ADD, *rows[-1])
        with pytest.raises(LocalError, match="can't note what is what in a temporary database") as caught:
            notes.select("SELECT nothing")
        assert "temporary folder" in caught.value.hint
