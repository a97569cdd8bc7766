"""A home deleted: all that it is made of, nothing else, and to the end however often it is stopped."""

import errno
import itertools
import os
import shutil

import pytest

from backuppeer.agent.home import removal
from backuppeer.agent.home.belongings import settle_in
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import create_identity, recover_identity
from backuppeer.agent.home.removal import check_not_busy, remove_home
from backuppeer.cli.homes import check_writable
from backuppeer.clock import SystemClock
from backuppeer.errors import LocalError, UserError
from backuppeer.host.vacancy import count_running

REPOSITORY, AGREEMENT, PACK = "repository/" + "0a" * 16, "store/agreements/" + "1b" * 16, "2c" * 32
OURS = (
    *("state.db", "state.db-wal", "state.db.v3.bak", "state.db.before2", "evidence.db.damaged", "receipts.db-shm"),
    *("anchor.json", "config.toml", ".config.toml.0a1b2c3d", ".anchor.json.00000000", "config.mine-ab_d3fgh.toml"),
    *(
        "keys/device",
        "keys/grant.moved",
        "keys/former.2",
        "keys/.working.0a1b2c3d",
        "logs/agent.log",
        "logs/agent.log.1",
    ),
    *(f"{REPOSITORY}/index.db", f"{REPOSITORY}/trees.db.damaged", f"{REPOSITORY}/ledger.db-journal"),
    "logs/agent.log.1",
    "proofs/lost-pack-0123456789ab-0123456789abcdef.proof",
    *("store/backup-peer-store", "store/catalogue.db-wal", f"store/incoming/{'3d' * 16}.part"),
    *(f"{AGREEMENT}/agreement", f"{AGREEMENT}/ended", f"{AGREEMENT}/removals/1.delete"),
    "backup-peer-drill-a_b0c1d2/home/letter",
)
THEIRS = (
    *("logs/mine.log", "keys/house.txt", "repository/code.c", "proofs/theorem.tex", "drill-plans/north"),
    *(".photos.20240101/baby.jpg", ".bash_history.deadbeef", "config.notes.toml", "state.db.mine", "state.db.v3"),
    *("store/shop.txt", "incoming/letter"),
)


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    made.prepare()
    (made.keys / "working").write_bytes(b"secret")
    for name in OURS:
        (made.path / name).parent.mkdir(parents=True, exist_ok=True)
        (made.path / name).write_text("x")
    return made


def test_nothing_is_left_of_a_home(home):
    with home.lock():
        assert remove_home(home) == []
    assert not home.path.exists()


def test_what_is_called_much_as_something_of_ours_stays_and_is_named(home):
    for name in THEIRS:
        (home.path / name).parent.mkdir(exist_ok=True)
        (home.path / name).write_text("theirs")
    left = remove_home(home)
    folders = {"drill-plans/north": "drill-plans", ".photos.20240101/baby.jpg": ".photos.20240101"}
    assert left == sorted({**{name: name for name in THEIRS}, **folders, "incoming/letter": "incoming"}.values())
    stays = {str(path.relative_to(home.path)) for path in home.path.rglob("*") if path.is_file()}
    assert stays == set(THEIRS)


def test_a_folder_store_that_is_no_store_stays_whole(home):
    (home.path / "store" / "backup-peer-store").unlink()
    assert remove_home(home) == ["store"]
    assert (home.path / "store" / "catalogue.db-wal").exists()


def test_a_folder_in_the_place_of_a_file_and_a_file_in_that_of_a_folder_stay(home):
    (home.path / "evidence.db").mkdir()
    (home.path / "evidence.db" / "case").touch()
    (home.path / "proofs" / "lost-pack-0123456789ab-0123456789abcdef.proof").unlink()
    (home.path / "proofs").rmdir()
    (home.path / "proofs").touch()
    assert remove_home(home) == ["evidence.db", "proofs"]


def test_a_home_that_is_a_link_goes_with_what_it_leads_to(home, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(home.path)
    assert remove_home(Home(link)) == []
    assert (os.path.lexists(link), home.path.exists()) == (False, False)


def test_a_folder_that_the_system_keeps_stays_empty_and_is_no_error(home, monkeypatch):
    real = type(home.path).rmdir

    def refuse(path):
        if path == home.path:
            raise OSError(errno.EBUSY, "busy", str(path))
        real(path)

    with monkeypatch.context() as patched:
        patched.setattr(type(home.path), "rmdir", refuse)
        assert remove_home(home) == []
    assert list(home.path.iterdir()) == []


def test_what_somebody_else_put_there_stays_and_is_named(home, tmp_path):
    (home.path / "holidays").mkdir()
    (home.path / "holidays" / "cat.jpg").write_text("cat")
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    shutil.rmtree(home.path / "proofs")
    (home.path / "proofs").symlink_to(elsewhere)
    assert remove_home(home) == ["holidays"]
    assert [path.name for path in home.path.iterdir()] == ["holidays"]
    assert (elsewhere / "file").read_text() == "mine", "a link goes, not what it leads to"


@pytest.mark.parametrize("call", ["unlink", "rmdir"])
def test_one_that_was_stopped_anywhere_is_no_home_holds_nothing_of_others_and_goes_on(home, monkeypatch, call):
    real, store = getattr(type(home.path), call), home.default_store
    for allowed in itertools.count():
        calls = itertools.count()

        def stop(path, *args, calls=calls, allowed=allowed, **kwargs):
            if next(calls) == allowed:
                raise KeyboardInterrupt
            return real(path, *args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(type(home.path), call, stop)
            try:
                remove_home(home)
            except KeyboardInterrupt:
                assert not (store / "agreements").exists() or count_running(store) == 0
            else:
                break
    assert allowed > 0
    assert not home.path.exists()


def test_among_what_is_left_of_one_no_identity_is_made(home):
    (home.keys / "working").unlink()
    home.leaving_mark.touch()
    assert home.is_half_removed
    for make in (
        lambda: create_identity(home, bytes(32), SystemClock()),
        lambda: recover_identity(home, bytes(32)),
        lambda: settle_in(home, None),
        lambda: check_writable(home),
    ):
        with pytest.raises(UserError, match="was being deleted"):
            make()
    assert not home.exists_identity


def test_a_mark_beside_a_key_is_let_go_of_when_the_agent_starts(home):
    home.leaving_mark.touch()
    home.settle_mark()
    (home.keys / "working").unlink()
    assert not home.is_half_removed


def test_a_home_that_another_command_has_stays(home):
    with home.lock(), home.lock() as is_ours, pytest.raises(LocalError, match="nothing was deleted"):
        check_not_busy(home, is_ours=is_ours)


def test_a_system_that_refuses_is_told(home, monkeypatch):
    def refuse(path, own):
        raise PermissionError(13, "permission denied", str(path))

    monkeypatch.setattr(removal, "_remove", refuse)
    with pytest.raises(LocalError, match="permission denied"):
        remove_home(home)
