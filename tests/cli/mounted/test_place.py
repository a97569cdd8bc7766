"""Where nothing can be mounted a person is told why, and what to do."""

import errno
import os
from pathlib import Path

import pytest

from backuppeer.cli.mounted import place as module
from backuppeer.cli.mounted.place import check_place, check_system
from backuppeer.errors import NotFoundError, UserError


def test_an_empty_folder_will_do_however_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "mnt").mkdir()
    monkeypatch.chdir(tmp_path)
    assert check_place("mnt/") == str(tmp_path / "mnt")


def test_what_is_not_there_can_be_made(tmp_path):
    with pytest.raises(NotFoundError, match="no folder") as caught:
        check_place(str(tmp_path / "a b"))
    assert f"mkdir '{tmp_path}/a b'" in caught.value.hint


def test_a_file_a_full_folder_and_a_mounted_one_are_refused(tmp_path):
    (tmp_path / "file").touch()
    for where, said in ((tmp_path / "file", "is no folder"), (tmp_path, "not empty"), (Path("/proc"), "mounted at")):
        with pytest.raises(UserError, match=said) as caught:
            check_place(str(where))
        assert type(caught.value) is UserError
        assert caught.value.hint


def test_a_mount_whose_command_was_killed_is_told_from_other_failures(monkeypatch):
    def fail(number):
        def stat(path):
            raise OSError(number, os.strerror(number))

        return stat

    for number, said in ((errno.ENOTCONN, "was killed"), (errno.EACCES, "permission denied")):
        with monkeypatch.context() as patch:
            patch.setattr(module.os.path, "isdir", lambda _: False)
            patch.setattr(module.os, "stat", fail(number))
            with pytest.raises(UserError, match=said) as caught:
                check_place("/mnt/x")
        assert ("/mnt/x" in caught.value.hint) == (number == errno.ENOTCONN)


def test_without_the_kernel_s_device_or_the_program_that_mounts_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "DEVICE", tmp_path / "fuse")
    with pytest.raises(NotFoundError, match="there is no"):
        check_system()
    (tmp_path / "fuse").touch()
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    with pytest.raises(NotFoundError, match="fusermount3") as caught:
        check_system()
    assert "apt install fuse3" in caught.value.hint
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    check_system()
