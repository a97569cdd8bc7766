"""Files of a home that were damaged: what can be made anew is, and what can't is named with what to do."""

import errno
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.loops import SetClock
from backuppeer.agent.home.aside import open_or_set_aside
from backuppeer.agent.home.config import Config, read_config
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyring import create_identity, load_keys, recover_identity
from backuppeer.agent.home.logbook import open_log
from backuppeer.agent.home.state import State
from backuppeer.errors import BackupPeerError, DamagedStateError, LocalError, NewerFormatError
from backuppeer.ids import PeerId, RepositoryId
from backuppeer.proof.promises import Promises
from backuppeer.proof.revisions import Wish
from backuppeer.trust.evidence import EvidenceLog

MASTER = bytes(range(32))
VECTORS = Path(__file__).resolve().parents[2] / "vectors"


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


def test_a_folder_in_the_place_of_a_database_is_moved_aside_with_all_that_is_in_it(tmp_path):
    path = tmp_path / "evidence.db"
    for number in ("", "2"):
        path.mkdir()
        (path / "mine").write_text("not yours")
        open_or_set_aside(path, EvidenceLog).close()
        assert (tmp_path / f"evidence.db.damaged{number}" / "mine").read_text() == "not yours"
        path.unlink()


def test_the_copy_of_an_upgrade_and_neighbours_of_like_names_stay_where_they_are(tmp_path):
    path = tmp_path / "evidence.db"
    for name in ("evidence.db", "evidence.db-wal", "evidence.db.v1.bak", "evidence.db2"):
        (tmp_path / name).write_bytes(b"not a database at all" * 500)
    open_or_set_aside(path, EvidenceLog).close()
    found = {entry.name for entry in tmp_path.iterdir()}
    assert {"evidence.db.v1.bak", "evidence.db2", "evidence.db.damaged"} <= found
    assert "evidence.db-wal" not in found


def test_a_disk_that_refuses_is_no_damage_and_moves_nothing(tmp_path):
    path = tmp_path / "evidence.db"
    EvidenceLog(path).close()

    def refuse(_):
        raise LocalError("can't use the database: disk I/O error")

    with pytest.raises(LocalError):
        open_or_set_aside(path, refuse)
    assert [entry.name for entry in tmp_path.iterdir()] == ["evidence.db"]


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


@pytest.mark.parametrize("harm", ["empty", "cut", "flipped", "foreign", "folder"])
@pytest.mark.parametrize("name", ["working", "device", "grant"])
def test_a_key_file_damaged_in_any_way_is_named_with_what_to_do(home, name, harm):
    path = home.keys / name
    data = path.read_bytes()
    path.unlink()
    if harm == "folder":
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "cut": data[:-1], "flipped": b"?" + data[1:], "foreign": b"letter" * 999}[harm])
    if (name, harm) == ("device", "flipped"):
        # A seed says nothing of itself; the grant names another device than it makes.
        with pytest.raises(DamagedStateError, match="keys/grant is damaged"):
            load_keys(home)
        return
    with pytest.raises(DamagedStateError, match=f"keys/{name} is damaged") as caught:
        load_keys(home)
    assert caught.value.hint


def test_a_working_key_of_a_newer_version_is_refused_by_name(home):
    path = home.keys / "working"
    data = bytearray(path.read_bytes())
    data[8] = 4
    path.write_bytes(data)
    with pytest.raises(NewerFormatError, match="key format 4, this program knows 3"):
        load_keys(home)
    assert path.read_bytes() == data


@pytest.mark.parametrize("content", [b"servers = [", b"\xff\xfe", b"colour = 'blue'", b"servers = 5", b"letter " * 99])
def test_damaged_settings_are_named_with_their_file_and_not_touched(home, content):
    home.config.write_bytes(content)
    with pytest.raises(BackupPeerError, match=r"config\.toml") as caught:
        read_config(home)
    assert caught.value.exit_code == (15 if content == b"\xff\xfe" else 2), "a slip of the pen is no damage"
    assert "mend" in caught.value.hint
    assert home.config.read_bytes() == content


def test_empty_settings_are_none_and_a_folder_in_their_place_is_damage(home):
    home.config.write_bytes(b"")
    assert read_config(home) == Config()
    home.config.unlink()
    home.config.mkdir()
    with pytest.raises(DamagedStateError, match="is a folder"):
        read_config(home)


@pytest.mark.parametrize("version", [1, 2, 3, 5])
def test_state_of_an_older_version_comes_along_and_is_kept_beside_without_its_secrets(tmp_path, version):
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((VECTORS / f"state-v{version}.sql").read_text())
    assert b"private-key-of-a-knock" in path.read_bytes()
    state = State(path)
    peer = PeerId(b"p" * 32)
    assert (state.peer(peer).alias, state.peer(peer).is_verified) == ("alice", True)
    assert state.agreements() == [(b"a" * 16, peer, b"signed")]
    assert state.deeds.after(b"a" * 16, 0) == [b"signed"], "what is agreed is the first revision"
    assert state.last_head(RepositoryId(b"r" * 16)) == (7, b"head", b"grant")
    assert state.setting("host.seq") == b"7"
    # Those of before version 3 went with the replay that they allowed; later ones still open knocks.
    assert len(state.envelope_keys()) == (version >= 3)
    assert state.heard() == ([peer] if version > 1 else [])
    state.close()
    (copy,) = tmp_path.glob("state.db.v*")
    assert copy.name == f"state.db.v{version}.bak"
    assert b"private-key-of-a-knock" not in copy.read_bytes()
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
        assert db.execute("SELECT alias FROM peers").fetchone() == ("alice",)


def test_a_request_of_a_home_that_knew_no_availability_promises_none(tmp_path):
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((VECTORS / "state-v5.sql").read_text())
    state = State(path)
    (record,) = state.requests()
    assert record.promises == Promises(500, 6, 0, 0)
    assert record.offer == Wish(10**8, 86400, 60, Promises(1000, 0, 7, 0))
    wished, offered = Promises(1, 2, 3, 950), Wish(10**8, 86400, 60, Promises(4, 5, 6, 900))
    state.put_request(replace(record, promises=wished, offer=offered))
    state.close()
    state = State(path)
    (record,) = state.requests()
    assert (record.promises, record.offer) == (wished, offered)
    state.close()


def test_state_of_a_newer_version_is_refused_by_name_and_stays_as_it_is(tmp_path):
    path = tmp_path / "state.db"
    State(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")
    before = path.read_bytes()
    with pytest.raises(NewerFormatError, match="format 99"):
        State(path)
    assert path.read_bytes() == before


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
