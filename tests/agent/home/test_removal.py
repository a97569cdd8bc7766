"""A home deleted: all that it is made of, nothing else, and to the end however often it is stopped."""

import pytest

from backuppeer.agent.home import removal
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.removal import check_not_busy, is_half_removed, remove_home
from backuppeer.errors import LocalError


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    made.prepare()
    (made.keys / "working").write_bytes(b"secret")
    for name in ("state.db", "state.db-wal", "evidence.db.damaged", "anchor.json", "config.toml", ".state.0a1b2c3d"):
        (made.path / name).write_text("x")
    (made.path / "store" / "agreements").mkdir(parents=True)
    return made


def test_nothing_is_left_of_a_home(home):
    with home.lock():
        assert remove_home(home) == []
    assert not home.path.exists()


def test_what_somebody_else_put_there_stays_and_is_named(home, tmp_path):
    (home.path / "holidays").mkdir()
    (home.path / "holidays" / "cat.jpg").write_text("cat")
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    (home.path / "proofs").symlink_to(elsewhere)
    assert remove_home(home) == ["holidays"]
    assert [path.name for path in home.path.iterdir()] == ["holidays"]
    assert (elsewhere / "file").read_text() == "mine", "a link goes, not what it leads to"


def test_one_that_was_stopped_is_no_home_and_goes_on(home, monkeypatch):
    removed = []

    def stop(path):
        removed.append(path.name)
        if len(removed) > 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(removal, "_remove", stop)
        with pytest.raises(KeyboardInterrupt):
            remove_home(home)
    assert (home.exists_identity, is_half_removed(home)) == (False, True)
    assert remove_home(home) == []
    assert not home.path.exists()


def test_an_identity_made_there_since_is_none_that_goes_unasked(home, monkeypatch):
    (home.path / "leaving").write_text("")
    assert not is_half_removed(home)


def test_a_home_that_another_command_has_stays(home):
    with home.lock(), home.lock() as is_ours, pytest.raises(LocalError, match="nothing was deleted"):
        check_not_busy(home, is_ours=is_ours)


def test_a_system_that_refuses_is_told(home, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "permission denied", str(path))

    monkeypatch.setattr(removal, "_remove", refuse)
    with pytest.raises(LocalError, match="permission denied"):
        remove_home(home)
