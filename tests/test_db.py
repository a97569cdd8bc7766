"""Databases: opened one way, upgraded forwards, refused by name."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backuppeer.db import open_database
from backuppeer.errors import DamagedStateError, LocalError

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
    with closing(sqlite3.connect(tmp_path / "x.db.v1")) as copy:
        assert ask(copy, "PRAGMA user_version") == 1
        assert ask(copy, "SELECT name FROM things") == "a"


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


def test_database_in_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(DamagedStateError):
        open_database(tmp_path / "missing" / "x.db", [ONE])


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
