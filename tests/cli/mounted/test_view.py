"""The kernel's questions are answered with entries, bytes, or numbers of errors; words go to the person."""

import errno
import stat
from datetime import UTC

import pytest

from backuppeer.cli.mounted.door import Folder
from backuppeer.cli.mounted.layout import build_layout
from backuppeer.cli.mounted.view import View
from backuppeer.control.api import SnapshotRow
from backuppeer.control.mounting import MountEntry
from backuppeer.errors import IntegrityFault, LocalError, NotFoundError, PeerUnreachable
from backuppeer.limits import MOUNT_LIST_S, MOUNT_NAME_BYTES

TOP = "/snapshots/2026-11-22T21:30:00Z"


def make_entry(name, kind="file", **more):
    return MountEntry(name=name, kind=kind, mode=0o644, uid=0, gid=0, size=5, mtime_ns=0, ctime_ns=0, **more)


class FakeDoor:
    """Has one folder with everything; raises `error` if there is one."""

    def __init__(self):
        entries = [
            make_entry("dir", "dir"),
            make_entry("file", attributes={"user.x": b"1"}),
            make_entry("link", "symlink", target="file"),
        ]
        self.folder = Folder({entry.name: entry for entry in entries}, [entry.name for entry in entries])
        self.error = None

    def list_folder(self, snapshot, parts):
        if self.error:
            raise self.error
        return self.folder if not parts else Folder({}, [])

    def find_entry(self, snapshot, parts):
        return self.list_folder(snapshot, parts[:-1]).entries.get(parts[-1])

    def read(self, snapshot, parts, entry, *, offset, length):
        if self.error:
            raise self.error
        return b"hello"[offset : offset + length]


class Scene:
    def __init__(self):
        self.rows = [
            SnapshotRow(
                snapshot="ab" * 32, time="2026-11-22T21:30:00Z", paths=["/"], files=1, bytes=1, peers=[], host="pc"
            )
        ]
        self.door, self.told, self.lists = FakeDoor(), [], 0
        self.view = View(self.door, self.list, lambda path, error: self.told.append((path, error.message)))

    def list(self):
        self.lists += 1
        return build_layout(self.rows, UTC)


@pytest.fixture
def scene():
    return Scene()


def test_what_is_there_is_told(scene):
    view = scene.view
    assert stat.S_ISDIR(view.stat("/")["st_mode"])
    assert stat.S_ISLNK(view.stat("/snapshots/latest")["st_mode"])
    assert stat.S_ISDIR(view.stat(TOP)["st_mode"])
    assert stat.S_ISREG(view.stat(f"{TOP}/file")["st_mode"])
    assert view.read_link("/hosts/pc/latest") == "2026-11-22T21:30:00Z"
    assert view.read_link(f"{TOP}/link") == "file"
    assert view.read(f"{TOP}/file", 3, 1) == b"ell"
    assert view.attributes(f"{TOP}/file") == {"user.x": b"1"}
    assert view.attributes(TOP) == {}
    assert (view.read("/.backupignore", 100, 0), view.read("/.backupignore", 100, 1)) == (b"*\n", b"\n")
    assert scene.told == []


def test_listings_tell_names_types_and_the_numbers_that_stat_tells(scene):
    view = scene.view
    for folder in ("/", "/snapshots", "/hosts/pc", TOP):
        for name, kind, inode in view.list_folder(folder):
            seen = view.stat(f"{folder.rstrip('/')}/{name}")
            assert (kind, inode) == (stat.S_IFMT(seen["st_mode"]), seen["st_ino"])
    assert view.list_folder(f"{TOP}/dir") == []


@pytest.mark.parametrize(
    ("ask", "number"),
    [
        (lambda view: view.stat("/no"), errno.ENOENT),
        (lambda view: view.stat("/snapshots/no/x"), errno.ENOENT),
        (lambda view: view.stat(f"{TOP}/no"), errno.ENOENT),
        (lambda view: view.stat(f"{TOP}/{'x' * (MOUNT_NAME_BYTES + 1)}"), errno.ENAMETOOLONG),
        (lambda view: view.list_folder("/snapshots/latest"), errno.ENOTDIR),
        (lambda view: view.list_folder("/.backupignore"), errno.ENOTDIR),
        (lambda view: view.read_link(f"{TOP}/file"), errno.EINVAL),
        (lambda view: view.read_link("/hosts"), errno.EINVAL),
        (lambda view: view.read("/hosts", 1, 0), errno.EISDIR),
    ],
)
def test_what_can_not_be_has_the_number_that_programs_know(scene, ask, number):
    with pytest.raises(OSError, match=r".") as caught:
        ask(scene.view)
    assert (caught.value.errno, scene.told) == (number, [])


@pytest.mark.parametrize(
    ("error", "number", "is_told"),
    [
        (PeerUnreachable("away"), errno.ETIMEDOUT, True),
        (IntegrityFault("wrong"), errno.EIO, True),
        (LocalError("the agent ended"), errno.EIO, True),
        (NotFoundError("gone"), errno.ENOENT, False),
    ],
)
def test_what_can_not_be_read_is_told_in_words_too(scene, error, number, is_told):
    scene.door.error = error
    for ask in (scene.view.stat, scene.view.attributes, lambda path: scene.view.read(path, 1, 0)):
        with pytest.raises(OSError, match=r".") as caught:
            ask(f"{TOP}/file")
        assert caught.value.errno == number
    assert scene.told == [(f"{TOP}/file", error.message)] * 3 * is_told
    assert scene.view.list_folder("/snapshots")


def test_the_list_of_snapshots_is_asked_for_again_when_it_is_old_and_not_before(scene, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("backuppeer.cli.mounted.view.time.monotonic", lambda: now[0])
    scene = Scene()
    scene.rows = []
    scene.view.stat("/")
    assert (scene.lists, len(scene.view.list_folder("/ids"))) == (1, 1)
    now[0] += MOUNT_LIST_S
    assert (len(scene.view.list_folder("/ids")), scene.lists) == (0, 2)


def test_while_the_list_can_not_be_had_the_last_one_stands(scene, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("backuppeer.cli.mounted.view.time.monotonic", lambda: now[0])
    scene = Scene()

    def fail():
        raise LocalError("the agent is busy")

    scene.view._list = fail
    now[0] += 2 * MOUNT_LIST_S
    assert len(scene.view.list_folder("/ids")) == 1
