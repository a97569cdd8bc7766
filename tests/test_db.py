"""Databases: opened one way, upgraded forwards, refused by name."""

import errno
import os
import resource
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from backuppeer.db import explain_full, find_fault, mark_place, open_database, put_back
from backuppeer.errors import DamagedStateError, LocalError, NewerFormatError, is_full_disk

ONE = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"
TWO = "ALTER TABLE things ADD COLUMN size INTEGER NOT NULL DEFAULT 7; CREATE INDEX by_size ON things (size)"


def ask(connection: sqlite3.Connection, sql: str) -> object:
    return connection.execute(sql).fetchone()[0]


def test_new_database_has_every_script_and_its_version(tmp_path: Path):
    with closing(open_database(tmp_path / "x.db", [ONE, TWO])) as connection:
        assert ask(connection, "PRAGMA user_version") == 2
        assert ask(connection, "PRAGMA journal_mode") == "wal"
        assert ask(connection, "PRAGMA foreign_keys") == 1
        assert ask(connection, "PRAGMA busy_timeout") == 5000
        connection.execute("INSERT INTO things (name) VALUES ('a')")
        assert ask(connection, "SELECT size FROM things") == 7
    assert not list(tmp_path.glob("*.v*"))


@pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1)])
def test_durability_is_what_was_asked_for(tmp_path: Path, synchronous, number):
    with closing(open_database(tmp_path / "x.db", [ONE], synchronous=synchronous)) as connection:
        assert ask(connection, "PRAGMA synchronous") == number


def test_every_statement_commits_by_itself(tmp_path: Path):
    with closing(open_database(tmp_path / "x.db", [ONE])) as connection:
        connection.execute("INSERT INTO things (name) VALUES ('a')")
        with closing(open_database(tmp_path / "x.db", [ONE])) as other:
            assert ask(other, "SELECT count(*) FROM things") == 1


def test_older_database_is_upgraded_and_a_copy_of_it_kept(tmp_path: Path):
    path = tmp_path / "x.db"
    with closing(open_database(path, [ONE])) as connection:
        connection.execute("INSERT INTO things (name) VALUES ('a')")
    with closing(open_database(path, [ONE, TWO])) as connection:
        assert ask(connection, "PRAGMA user_version") == 2
        assert ask(connection, "SELECT size FROM things") == 7
    with closing(sqlite3.connect(tmp_path / "x.db.v1.bak")) as copy:
        assert ask(copy, "PRAGMA user_version") == 1
        assert ask(copy, "SELECT name FROM things") == "a"
    assert (tmp_path / "x.db.v1.bak").stat().st_mode & 0o777 == 0o600


def test_copy_before_an_upgrade_holds_what_stood_in_the_log_only(tmp_path: Path):
    path = tmp_path / "x.db"
    writer = open_database(path, [ONE])
    writer.execute("INSERT INTO things (name) VALUES ('in the log')")
    with closing(open_database(path, [ONE, TWO])), closing(sqlite3.connect(tmp_path / "x.db.v1.bak")) as copy:
        assert ask(copy, "SELECT name FROM things") == "in the log"
    writer.close()


def test_only_the_copy_of_the_last_upgrade_is_kept(tmp_path: Path):
    path = tmp_path / "x.db"
    open_database(path, [ONE]).close()
    (tmp_path / "x.db.v0").write_bytes(b"of a program that named copies otherwise")
    open_database(path, [ONE, TWO]).close()
    assert {found.name for found in tmp_path.glob("*.v*")} == {"x.db.v1.bak"}
    open_database(path, [ONE, TWO, "CREATE TABLE three (id INTEGER)"]).close()
    assert {found.name for found in tmp_path.glob("*.v*")} == {"x.db.v2.bak"}


def test_what_must_be_forgotten_is_in_no_byte_of_the_copy(tmp_path: Path):
    path, secret = tmp_path / "x.db", "the secret of a knock" * 50
    with closing(open_database(path, [ONE])) as connection:
        connection.execute("INSERT INTO things (name) VALUES (?)", (secret,))
        connection.execute("INSERT INTO things (name) VALUES (?)", ("gone " + secret,))
        connection.execute("DELETE FROM things WHERE name LIKE 'gone%'")
    open_database(path, [ONE, TWO], forget="DELETE FROM things").close()
    assert secret.encode() in path.read_bytes()
    assert secret.encode() not in (tmp_path / "x.db.v1.bak").read_bytes()


@pytest.mark.parametrize("point", range(12))
def test_upgrade_killed_anywhere_leaves_the_old_or_the_new_file_and_is_done_the_next_time(
    tmp_path: Path, point, monkeypatch
):
    path = tmp_path / "x.db"
    with closing(open_database(path, [ONE])) as connection:
        connection.execute("INSERT INTO things (name) VALUES ('a')")
    pid = os.fork()
    if not pid:  # the child dies at the given call of the steps that touch the disk
        count = iter(range(100))

        def counted(real):
            def call(*args, **kwargs):
                if next(count) == point:
                    os._exit(0)
                return real(*args, **kwargs)

            return call

        for module, name in ((os, "open"), (os, "fsync"), (os, "close"), (Path, "replace"), (Path, "unlink")):
            monkeypatch.setattr(module, name, counted(getattr(module, name)))
        open_database(path, [ONE, TWO, "CREATE TABLE three (id INTEGER)"])
        os._exit(0)
    os.waitpid(pid, 0)
    with closing(sqlite3.connect(path)) as connection:
        assert ask(connection, "PRAGMA user_version") in {1, 3}
        assert ask(connection, "SELECT name FROM things") == "a"
    with closing(open_database(path, [ONE, TWO, "CREATE TABLE three (id INTEGER)"])) as connection:
        assert ask(connection, "SELECT size FROM things") == 7
        assert find_fault(connection) == ""
    with closing(sqlite3.connect(tmp_path / "x.db.v1.bak")) as copy:
        assert ask(copy, "SELECT name FROM things") == "a"


def test_no_upgrade_begins_where_its_copy_has_no_room(tmp_path: Path, monkeypatch):
    path = tmp_path / "x.db"
    open_database(path, [ONE]).close()

    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(LocalError, match="a disk of this machine is full") as caught:
            open_database(path, [ONE, TWO])
        assert not isinstance(caught.value, DamagedStateError), "a full disk is no damage"
    assert [found.name for found in tmp_path.iterdir() if "v1" in found.name] == []
    with closing(open_database(path, [ONE])) as connection:
        assert ask(connection, "PRAGMA user_version") == 1


def test_database_of_the_same_version_is_left_as_it_is(tmp_path: Path):
    path = tmp_path / "x.db"
    for _ in range(3):
        with closing(open_database(path, [ONE])) as connection:
            connection.execute("INSERT INTO things (name) VALUES ('a')")
    with closing(open_database(path, [ONE])) as connection:
        assert ask(connection, "SELECT count(*) FROM things") == 3
    assert not list(tmp_path.glob("*.v*"))


def test_database_of_a_newer_version_is_refused_by_number_and_not_changed(tmp_path: Path):
    path = tmp_path / "x.db"
    open_database(path, [ONE, TWO]).close()
    before = path.read_bytes()
    with pytest.raises(DamagedStateError, match="format 2, this program knows 1") as caught:
        open_database(path, [ONE])
    assert "newer" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database, but long enough to have a header" * 50, b"\xff" * 4096])
def test_file_that_is_no_database_is_refused_and_not_changed(tmp_path: Path, content):
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(DamagedStateError, match=r"x\.db"):
        open_database(path, [ONE])
    assert path.read_bytes() == content


def test_database_in_a_folder_that_is_not_there_is_no_damaged_one(tmp_path: Path):
    with pytest.raises(LocalError) as caught:
        open_database(tmp_path / "missing" / "x.db", [ONE])
    assert not isinstance(caught.value, DamagedStateError), "it would be moved aside and begun anew"


def test_database_that_can_not_be_opened_for_want_of_descriptors_is_no_damaged_one(tmp_path: Path):
    path = tmp_path / "x.db"
    open_database(path, [ONE]).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(LocalError) as caught:
            open_database(path, [ONE])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not isinstance(caught.value, DamagedStateError)


def test_folder_in_the_place_of_a_database_is_damage(tmp_path: Path):
    (tmp_path / "x.db").mkdir()
    with pytest.raises(DamagedStateError, match="something else stands in its place"):
        open_database(tmp_path / "x.db", [ONE])


def test_newer_database_is_refused_before_anything_is_opened_for_writing(tmp_path: Path):
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:  # no log: WAL would be switched on by a careless opening
        connection.execute("PRAGMA user_version=9")
        connection.execute("CREATE TABLE new (x)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(NewerFormatError, match="format 9"):
        open_database(path, [ONE])
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["x.db"]


def test_a_flipped_page_is_found_by_looking_at_all_of_it(tmp_path: Path):
    path = tmp_path / "x.db"
    with closing(open_database(path, [ONE])) as connection:
        connection.executemany("INSERT INTO things (name) VALUES (?)", [("n" * 500,)] * 100)
        assert find_fault(connection) == ""
    data = bytearray(path.read_bytes())
    data[8192:8300] = bytes(108)
    path.write_bytes(data)
    with closing(open_database(path, [ONE])) as connection:
        assert find_fault(connection)


def test_failing_upgrade_leaves_the_old_version(tmp_path: Path):
    path = tmp_path / "x.db"
    with closing(open_database(path, [ONE])) as connection:
        connection.execute("INSERT INTO things (name) VALUES ('a')")
    with pytest.raises(LocalError):
        open_database(path, [ONE, "CREATE TABLE more (id INTEGER); CREATE TABLE things (id INTEGER)"])
    with closing(open_database(path, [ONE])) as connection:
        assert ask(connection, "PRAGMA user_version") == 1
        assert ask(connection, "SELECT count(*) FROM sqlite_master WHERE name = 'more'") == 0
        assert ask(connection, "SELECT name FROM things") == "a"


# --- a disk without room
def test_a_database_that_finds_no_room_is_told_as_a_full_disk_of_this_machine(tmp_path: Path):
    with closing(open_database(tmp_path / "x.db", [ONE])) as connection:
        connection.execute("PRAGMA max_page_count=3")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("INSERT INTO things (name) VALUES (zeroblob(100000))")
    told = explain_full(caught.value, "the things", tmp_path / "x.db")
    assert told is not None
    assert is_full_disk(told)
    assert told.exit_code == 13
    assert f"the things {tmp_path / 'x.db'} can't be written" in told.message


@pytest.mark.parametrize(("free_bytes", "is_full"), [(0, True), (4096, False)])
def test_an_input_output_error_is_a_full_disk_only_when_the_disk_is(tmp_path: Path, monkeypatch, free_bytes, is_full):
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free_bytes // 4096, f_frsize=4096))
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    assert (explain_full(error, "the things", tmp_path / "x.db") is not None) == is_full


@pytest.mark.parametrize(("number", "is_full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_system_calls_tell_a_full_disk_by_their_number(tmp_path: Path, number, is_full):
    assert (explain_full(OSError(number, "no"), "", tmp_path / "x") is not None) == is_full


def test_other_failures_are_not_called_a_full_disk(tmp_path: Path):
    assert explain_full(sqlite3.ProgrammingError("closed"), "", tmp_path / "x") is None
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    assert explain_full(error, "", tmp_path / "gone" / "x") is None
    assert not is_full_disk(LocalError("another"))


# --- a file that is deleted under an open database
@pytest.mark.parametrize("suffixes", [("",), ("", "-wal", "-shm")])
def test_an_open_database_is_put_back_whole_where_its_file_was_deleted(tmp_path: Path, suffixes):
    path = tmp_path / "x.db"
    with closing(open_database(path, [ONE])) as connection:
        connection.execute("INSERT INTO things (name) VALUES ('in the log only')")
        mark = mark_place(path)
        for suffix in suffixes:
            path.with_name(path.name + suffix).unlink()
        assert mark is not None
        assert mark_place(path) is None
        put_back(connection, path)
        assert mark_place(path) not in {None, mark}
        assert path.stat().st_mode & 0o777 == 0o600
        with closing(open_database(path, [ONE])) as again:
            assert ask(again, "SELECT name FROM things") == "in the log only"
            again.execute("INSERT INTO things (name) VALUES ('later')")
            connection.close()  # the old one goes last, and leaves the new one's log alone
            assert ask(again, "SELECT count(*) FROM things") == 2
    with closing(open_database(path, [ONE])) as again:
        assert ask(again, "SELECT count(*) FROM things") == 2
    assert {entry.name for entry in tmp_path.iterdir()} == {"x.db"}


def test_what_cannot_be_put_back_is_told_and_goes_on(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with closing(open_database(folder / "x.db", [ONE])) as connection:
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()
        with pytest.raises(LocalError, match="was deleted, and can't be written again"):
            put_back(connection, folder / "x.db")
        assert ask(connection, "SELECT count(*) FROM things") == 0
