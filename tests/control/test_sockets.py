import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from backuppeer.control import sockets
from backuppeer.control.sockets import open_listener, socket_path_for
from backuppeer.errors import LocalError
from backuppeer.limits import SOCKET_PATH_BYTES


@pytest.fixture
def long_home(tmp_path):
    return tmp_path / ("x" * SOCKET_PATH_BYTES)


@pytest.fixture
def folder(monkeypatch):
    """Stands for /tmp/backup-peer-<uid>: as short as that, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory(prefix="bp") as name:
        found = Path(name) / "shared"
        monkeypatch.setattr(sockets, "_private_path", lambda: found)
        yield found


def test_the_socket_lies_in_the_home():
    assert socket_path_for(Path("/home/me/.backup")) == Path("/home/me/.backup/agent.sock")


def test_a_long_home_gets_a_path_that_fits_and_can_be_bound(long_home, folder):
    path = socket_path_for(long_home)
    assert path.parent == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(os.fsencode(path.name)) < 40
    open_listener(path).close()


def test_two_long_homes_have_two_sockets_and_one_home_always_the_same(long_home, folder):
    other = long_home.with_name("y" * SOCKET_PATH_BYTES)
    assert socket_path_for(long_home) != socket_path_for(other)
    assert socket_path_for(long_home) == socket_path_for(long_home)


def test_the_limit_is_counted_in_bytes_not_characters(tmp_path, folder):
    home = tmp_path / ("ü" * (SOCKET_PATH_BYTES // 2))
    assert socket_path_for(home).parent == folder


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o777])
def test_a_folder_open_to_others_is_refused(long_home, folder, mode):
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(LocalError, match="this user alone"):
        socket_path_for(long_home)


def test_a_planted_link_instead_of_the_folder_is_refused(long_home, folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)
    with pytest.raises(LocalError, match="this user alone"):
        socket_path_for(long_home)


def test_a_folder_of_another_user_is_refused(long_home, folder, monkeypatch):
    folder.mkdir(mode=0o700)
    owner = os.geteuid()
    monkeypatch.setattr(sockets.os, "geteuid", lambda: owner + 1)
    with pytest.raises(LocalError, match="this user alone"):
        socket_path_for(long_home)


def test_the_listener_is_for_this_user_only_and_replaces_a_stale_socket(tmp_path):
    path = tmp_path / "agent.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with open_listener(path) as listener:
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            accepted, _ = listener.accept()
            accepted.close()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_not_a_socket_is_never_removed(tmp_path, kind):
    path = tmp_path / "agent.sock"
    {"file": path.touch, "folder": path.mkdir, "link": lambda: path.symlink_to("/etc/passwd")}[kind]()
    with pytest.raises(LocalError, match="not a socket"):
        open_listener(path)
    assert os.path.lexists(path)
