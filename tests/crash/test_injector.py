"""The mishaps are what they say: a test of durability that forgives a missing fsync would prove nothing."""

import errno
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from backuppeer.db import open_database
from backuppeer.host.disk import replace_file
from crash.injector import Injector, Mishap
from crash.run import fork


def after(tmp_path: Path, mishap: Mishap, at: int, work) -> tuple[list[str], int]:
    """Do work in `tmp_path`/root in a process with a mishap at a point; return what it said and how it ended."""
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)

    def child(say):
        injector = Injector([root], tmp_path / "aside", mishap, at)
        injector.install()
        work(root, say)
        say(" ".join(injector.kinds))

    return fork(child)


def write(path: Path, data: bytes, *, sync: bool, sync_name: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, data)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)
    if sync_name:
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


@pytest.mark.parametrize(
    ("sync", "sync_name", "at", "left"),
    [
        (False, True, 4, b""),  # even points lose names too
        (True, False, 4, None),
        (True, True, 5, b"data"),
        (False, True, 5, b""),
    ],
)
def test_a_power_cut_takes_what_was_not_synced(tmp_path, sync, sync_name, at, left):
    def work(root, _say):
        write(root / "file", b"data", sync=sync, sync_name=sync_name)
        while True:
            (root / "more").mkdir(exist_ok=True)

    _, code = after(tmp_path, Mishap.POWER, at, work)
    assert code == -signal.SIGKILL
    found = tmp_path / "root" / "file"
    assert (found.read_bytes() if found.exists() else None) == left


def test_whatever_the_point_a_file_that_is_replaced_is_the_old_or_the_new_one(tmp_path):
    replace_file(_made(tmp_path) / "file", b"old")

    def work(root, _say):
        replace_file(root / "file", b"newer")

    said, _ = after(tmp_path, Mishap.NONE, 0, work)
    kinds = said[-1].split()
    assert kinds == ["unlink", "open", "write", "fsync", "rename", "fsync"]
    for mishap in (Mishap.KILL, Mishap.POWER):
        for at in range(1, len(kinds) + 1):
            replace_file(_made(tmp_path) / "file", b"old")
            assert after(tmp_path, mishap, at, work)[1] == -signal.SIGKILL
            assert (tmp_path / "root" / "file").read_bytes() in {b"old", b"newer"}


def test_a_replacement_without_fsync_is_found_out(tmp_path):
    def careless(root, _say):
        write(root / "new", b"newer", sync=False, sync_name=False)
        (root / "new").rename(root / "file")
        (root / "more").mkdir()
        (root / "more").rmdir()

    found = set()
    for at in range(1, 6):
        (_made(tmp_path) / "file").write_bytes(b"old")
        after(tmp_path, Mishap.POWER, at, careless)
        found.add((tmp_path / "root" / "file").read_bytes())
        for name in ("new", "more"):
            path = tmp_path / "root" / name
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    assert found == {b"old", b""}, "its name came through the power cut, its bytes did not"


def _made(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    return root


def test_a_write_is_torn_by_a_kill(tmp_path):
    _, code = after(tmp_path, Mishap.KILL, 2, lambda root, _: write(root / "f", b"abcd", sync=True, sync_name=True))
    assert code == -signal.SIGKILL
    assert (tmp_path / "root" / "f").read_bytes() == b"ab"


@pytest.mark.parametrize(
    ("mishap", "number", "again"),
    [(Mishap.FULL, errno.ENOSPC, "28"), (Mishap.QUOTA, errno.EDQUOT, "122"), (Mishap.FAULTY, errno.EIO, "fine")],
)
def test_a_full_disk_stays_full_and_a_fault_happens_once(tmp_path, mishap, number, again):
    def work(root, say):
        for _ in range(2):
            try:
                write(root / "f", b"abcd", sync=True, sync_name=False)
            except OSError as exc:
                say(str(exc.errno))
            else:
                say("fine")

    said, _ = after(tmp_path, mishap, 1, work)
    assert said[:2] == [str(number), again]


def test_the_database_too_is_full_and_counts_each_commit(tmp_path):
    script = "CREATE TABLE t(x)"

    def work(root, say):
        database = open_database(root / "a.db", [script])
        database.execute("INSERT INTO t VALUES (1)")
        try:
            with database:
                database.execute("BEGIN")
                database.execute("INSERT INTO t VALUES (2)")
        except sqlite3.OperationalError as exc:
            say(f"{exc.sqlite_errorcode} {exc}")
        say(str(database.execute("SELECT count(*) FROM t").fetchone()[0]))

    assert after(tmp_path, Mishap.NONE, 0, work)[0] == ["2", "commit commit commit"]
    (tmp_path / "root" / "a.db").unlink()
    assert after(tmp_path, Mishap.FULL, 3, work)[0][0] == f"{sqlite3.SQLITE_FULL} database or disk is full"


def test_what_lies_elsewhere_is_not_counted(tmp_path):
    def work(root, _say):
        write(root.parent / "elsewhere", b"x", sync=True, sync_name=True)

    assert after(tmp_path, Mishap.KILL, 1, work) == ([""], 0)
