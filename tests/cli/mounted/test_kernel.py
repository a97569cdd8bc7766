"""libfuse is brought the answers, ended when it is to end, and its failures told in words."""

import errno
import sys
import threading
from types import SimpleNamespace

import pytest

from backuppeer.cli.mounted import kernel as module
from backuppeer.cli.mounted.kernel import Kernel, load_library
from backuppeer.errors import LocalError, NotFoundError
from backuppeer.limits import MOUNT_THREADS


class Shown:
    """One folder with one file."""

    def stat(self, path):
        return {"st_mode": 0o100644, "st_ino": 99, "st_mtime": 5}

    def list_folder(self, path):
        return [("file", 0o100000, 99)]

    def read_link(self, path):
        return "file"

    def read(self, path, size, offset):
        return b"hello"[offset : offset + size]

    def attributes(self, path):
        return {"user.x": b"1"}


class Library:
    """Stands for mfusepy: its loop runs until a callback asks for the end."""

    fuse_version_major, fuse_version_minor = 3, 14

    def __init__(self, failure=None):
        self.failure, self.ended, self.options = failure, threading.Event(), {}

    def FUSE(self, operations, place, **options):  # noqa: N802 - its name
        self.operations, self.options = operations, options
        if self.failure:
            raise self.failure
        operations.init("/")
        assert self.ended.wait(10)

    def fuse_exit(self):
        self.ended.set()


class Stage:
    def __init__(self, library, *, allow_other=False):
        self.library, self.ready, self.ends = library, threading.Event(), []
        self.over = threading.Event()
        self.kernel = Kernel(
            library,
            Shown(),
            "/",
            allow_other=allow_other,
            on_ready=self.ready.set,
            on_end=self.end,
        )

    def end(self, error):
        self.ends.append(error)
        self.over.set()


@pytest.fixture
def asking(monkeypatch):
    """Let the request for the file system's state reach the callback, as the kernel would."""

    def connect(stage):
        monkeypatch.setattr(module.os, "statvfs", lambda _: stage.library.operations.statfs("/"))

    return connect


def test_a_mount_is_read_only_and_without_devices_and_ends_when_told(asking):
    stage = Stage(Library())
    asking(stage)
    stage.kernel.start()
    assert stage.ready.wait(10)
    options = stage.library.options
    assert all(options[name] is True for name in ("ro", "nodev", "nosuid", "use_ino", "foreground"))
    assert not {"allow_other", "default_permissions"} & set(options)
    assert options["max_threads"] == MOUNT_THREADS
    assert stage.library.operations.statfs("/")["f_bsize"]
    assert not stage.library.ended.is_set()
    assert stage.kernel.end(10)
    assert stage.ends == [None]


def test_a_mount_that_is_told_to_end_before_it_is_there_ends_as_soon_as_it_is(monkeypatch):
    stage = Stage(Library())
    monkeypatch.setattr(module.os, "statvfs", lambda _: None)
    stage.kernel._operations.is_ending = True
    stage.kernel.start()
    assert stage.over.wait(10)
    assert stage.kernel.end(10)


def test_for_others_the_kernel_enforces_modes(asking):
    stage = Stage(Library(), allow_other=True)
    asking(stage)
    stage.kernel.start()
    assert stage.ready.wait(10)
    assert stage.library.options["allow_other"] is stage.library.options["default_permissions"] is True
    assert stage.kernel.end(10)


def test_a_mount_that_can_not_be_is_told_in_words():
    stage = Stage(Library(RuntimeError(1)), allow_other=True)
    stage.kernel.start()
    assert stage.over.wait(10)
    (error,) = stage.ends
    assert isinstance(error, LocalError)
    assert "user_allow_other" in error.hint
    assert not stage.ready.is_set()


def test_an_older_libfuse_is_not_told_of_options_that_it_does_not_know():
    library = Library(RuntimeError(1))
    library.fuse_version_minor = 10
    stage = Stage(library)
    stage.kernel.start()
    assert stage.over.wait(10)
    assert "max_threads" not in library.options


def test_questions_are_answered_and_an_attribute_that_is_not_there_has_its_number(asking):
    stage = Stage(Library())
    asking(stage)
    stage.kernel.start()
    assert stage.ready.wait(10)
    ask = stage.library.operations
    assert ask.use_ns
    assert ask.getattr("/file")["st_ino"] == 99
    assert [name for name, _, _ in ask.readdir("/", 0)] == [".", "..", "file"]
    assert (ask.read("/file", 3, 1, 0), ask.readlink("/link"), ask.listxattr("/file")) == (b"ell", "file", ["user.x"])
    assert ask.getxattr("/file", "user.x") == b"1"
    with pytest.raises(OSError, match=r".") as caught:
        ask.getxattr("/file", "user.y")
    assert caught.value.errno == errno.ENODATA
    assert not any(hasattr(ask, name) for name in ("write", "create", "unlink", "mkdir", "rename", "setxattr", "chmod"))
    assert stage.kernel.end(10)


def test_without_the_package_or_libfuse_it_is_said_how_to_install_them(monkeypatch):
    monkeypatch.setenv("FUSE_LIBRARY_NAME", "none")
    monkeypatch.setitem(sys.modules, "mfusepy", None)
    with pytest.raises(NotFoundError, match="mfusepy") as caught:
        load_library()
    assert "pipx inject backup-peer mfusepy" in caught.value.hint


@pytest.mark.parametrize(
    ("libraries", "helpers", "user", "chosen"),
    [
        ({"fuse3", "fuse"}, set(), 0, "fuse3"),
        ({"fuse3", "fuse"}, {"fusermount"}, 1000, "fuse"),
        ({"fuse3", "fuse"}, {"fusermount", "fusermount3"}, 1000, "fuse3"),
        ({"fuse"}, set(), 0, "fuse"),
        ({"fuse"}, set(), 1000, "fuse"),
        (set(), set(), 0, "fuse3"),
    ],
)
def test_the_newest_libfuse_that_this_user_can_mount_with_is_taken(monkeypatch, libraries, helpers, user, chosen):
    monkeypatch.setattr(module, "find_library", lambda name: name if name in libraries else None)
    monkeypatch.setattr(module, "shutil", SimpleNamespace(which=lambda name: name if name in helpers else None))
    monkeypatch.setattr(module.os, "geteuid", lambda: user)
    assert module._choose_library() == chosen
