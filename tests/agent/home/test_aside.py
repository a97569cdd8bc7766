"""Files of a home that were damaged: what can be made anew is, and what can't is named with what to do."""

import errno
import os

import pytest
from structlog.testing import capture_logs

from agent.loops import SetClock
from backuppeer.agent.home.aside import open_or_set_aside
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import create_identity, load_keys, recover_identity
from backuppeer.agent.home.logbook import open_log
from backuppeer.agent.home.state import State
from backuppeer.errors import DamagedStateError, LocalError, NewerFormatError
from backuppeer.trust.evidence import EvidenceLog

MASTER = bytes(range(32))


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    create_identity(made, MASTER, SetClock())
    return made


def test_damaged_evidence_is_kept_beside_and_begun_anew(tmp_path):
    path = tmp_path / "evidence.db"
    path.write_bytes(b"not a database at all" * 500)
    notes = []
    open_or_set_aside(path, EvidenceLog, note=notes.append).close()
    assert (tmp_path / "evidence.db.damaged").read_bytes().startswith(b"not a database")
    assert len(notes) == 1
    assert str(path) in notes[0]
    open_or_set_aside(path, EvidenceLog, note=notes.append).close()
    assert len(notes) == 1


def test_what_a_newer_version_wrote_is_not_moved(tmp_path):
    def refuse(path):
        raise NewerFormatError("newer")

    path = tmp_path / "evidence.db"
    path.write_bytes(b"x")
    with pytest.raises(NewerFormatError):
        open_or_set_aside(path, refuse)
    assert path.exists()


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 3000])
def test_a_damaged_transport_key_is_made_anew_and_kept(home, content):
    path = home.keys / "transport"
    path.write_bytes(content)
    with capture_logs() as logs:
        made = load_keys(home).transport_seed
    assert [log["event"] for log in logs] == ["made a transport key anew"]
    assert path.read_bytes() == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_keys(home).transport_seed == made
    path.unlink()
    assert load_keys(home).transport_seed != made


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 3000])
def test_a_damaged_grant_is_damage_and_not_a_home_that_may_only_read(home, content):
    path = home.keys / "grant"
    path.write_bytes(content)
    with pytest.raises(DamagedStateError) as caught:
        load_keys(home)
    assert str(path) in caught.value.message
    assert "copy of this home" in caught.value.hint
    path.unlink()
    assert load_keys(home).repository is None


def test_a_recovered_home_has_no_grant_and_that_is_no_damage(tmp_path):
    home = Home(tmp_path / "heir")
    recover_identity(home, MASTER)
    assert load_keys(home).grant == b""


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_home_that_cannot_be_written_says_so(home, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LocalError, match="can't be written") as caught, home.lock():
        pass
    assert "--home" in caught.value.hint


def test_a_damaged_state_is_told_with_what_to_do(tmp_path):
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(DamagedStateError, match=r"state\.db") as caught:
        State(path)
    assert "recover" in caught.value.hint
    assert path.exists()


def test_a_log_that_cannot_be_written_is_told(home):
    home.logs.rmdir()
    home.logs.write_bytes(b"")
    with pytest.raises(LocalError, match=r"agent\.log") as caught:
        open_log(home)
    assert str(home.logs) in caught.value.hint
