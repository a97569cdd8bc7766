import os
import stat
import subprocess
import sys

import pytest

from agent.loops import SetClock
from backuppeer.agent.home.config import (
    Config,
    change_config,
    describe_settings,
    may_share_receipts,
    may_use_lan,
    read_config,
    value_of,
)
from backuppeer.agent.home.config_writer import write_config
from backuppeer.agent.home.home import Home, sweep_unfinished, write_private
from backuppeer.agent.home.keyring import (
    check_master,
    create_identity,
    grant_writer,
    load_keys,
    load_peer_id,
    recover_identity,
)
from backuppeer.errors import DamagedStateError, ExitCode, LocalError, NotFoundError, UserError
from backuppeer.ids import RepositoryId
from backuppeer.proof.statements import WriterGrant, open_statement

MASTER = bytes(range(32))
KEY_FILES = ("working", "device", "transport", "grant")


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kept", [None, "repository", "store"])
def test_a_recovered_home_in_which_nothing_was_found_names_the_folder_to_remove(home, kept):
    recover_identity(home, MASTER)
    if kept is not None:
        (home.path / kept / "something").mkdir(parents=True)
    with pytest.raises(UserError) as told:
        recover_identity(home, b"x" * 32)
    assert ("no backup was found" in told.value.message) is (kept is None)
    assert (f"remove {home.path}" in told.value.hint) is (kept is None)
    assert load_peer_id(home) is not None, "and nothing was changed"


def test_keys_are_for_their_owner_alone_whatever_the_umask(home):
    before = os.umask(0)
    try:
        create_identity(home, MASTER, SetClock())
    finally:
        os.umask(before)
    assert {mode(folder) for folder in (home.path, home.keys, home.repository, home.logs)} == {0o700}
    assert {path.name: mode(path) for path in home.keys.iterdir()} == dict.fromkeys(KEY_FILES, 0o600)


def test_no_file_of_a_home_holds_the_master(home):
    create_identity(home, MASTER, SetClock())
    for path in home.keys.iterdir():
        assert MASTER not in path.read_bytes()


def test_a_second_identity_is_refused_and_the_first_stays(home):
    peer = create_identity(home, MASTER, SetClock())
    before = {path.name: path.read_bytes() for path in home.keys.iterdir()}
    with pytest.raises(UserError, match="already has an identity"):
        create_identity(home, b"x" * 32, SetClock())
    with pytest.raises(UserError, match="already has an identity"):
        recover_identity(home, MASTER)
    with pytest.raises(UserError, match="words of another identity") as refused:
        recover_identity(home, b"x" * 32)
    assert refused.value.exit_code == ExitCode.AUTHENTICATION
    assert {path.name: path.read_bytes() for path in home.keys.iterdir()} == before
    assert load_peer_id(home) == peer


def test_the_same_words_give_the_same_peer_without_the_right_to_write(home, tmp_path):
    peer = create_identity(home, MASTER, SetClock())
    other = Home(tmp_path / "new machine")
    assert recover_identity(other, MASTER) == peer
    old, new = load_keys(home), load_keys(other)
    assert (new.authority, new.working.secret) == (old.authority, old.working.secret)
    assert (new.grant, new.repository) == (b"", None)
    assert new.transport_seed != old.transport_seed
    assert old.repository is not None


def test_a_recovery_after_an_init_that_was_cut_short_does_not_inherit_its_grant(home):
    create_identity(home, b"x" * 32, SetClock())
    (home.keys / "working").unlink()  # written last: the crash came before it
    recover_identity(home, MASTER)
    assert load_keys(home).grant == b""


def test_a_grant_makes_a_recovered_home_the_writer_of_the_repository_named(home, tmp_path):
    create_identity(home, MASTER, SetClock())
    second = Home(tmp_path / "second")
    recover_identity(second, MASTER)
    device = load_keys(second).device.public
    assert second.is_read_only
    name = load_keys(home).repository
    grant_writer(second, MASTER, repository=name, epoch=2, clock=SetClock())
    keys = load_keys(second)
    said = open_statement(WriterGrant, keys.grant, keys.authority)
    assert (said.repository, said.epoch, said.device, keys.repository) == (name, 2, device, name)
    assert not second.is_read_only
    assert mode(second.keys / "grant") == 0o600
    old_device = load_keys(home).device.public
    grant_writer(home, MASTER, repository=name, epoch=3, clock=SetClock())  # and back
    back = open_statement(WriterGrant, load_keys(home).grant, keys.authority)
    assert (back.epoch, back.device) == (3, old_device)


def test_words_of_another_identity_grant_nothing(home):
    create_identity(home, MASTER, SetClock())
    before = (home.keys / "grant").read_bytes()
    for step in (
        lambda: check_master(home, b"x" * 32),
        lambda: grant_writer(home, b"x" * 32, repository=RepositoryId(bytes(16)), epoch=2, clock=SetClock()),
    ):
        with pytest.raises(UserError, match="words of another identity"):
            step()
    assert (home.keys / "grant").read_bytes() == before


def test_no_identity_is_told_as_such(home):
    with pytest.raises(NotFoundError, match="no identity"):
        load_keys(home)


@pytest.mark.parametrize("name", ["working", "device", "grant"])  # the transport key is made anew: test_aside
@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"x"])
def test_a_damaged_key_file_is_named(home, name, damage):
    create_identity(home, MASTER, SetClock())
    path = home.keys / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedStateError, match=str(path)):
        load_keys(home)


def test_a_missing_device_key_is_named(home):
    create_identity(home, MASTER, SetClock())
    (home.keys / "device").unlink()
    with pytest.raises(DamagedStateError, match="device"):
        load_keys(home)


def test_a_device_key_that_the_grant_does_not_name_is_refused(home):
    create_identity(home, MASTER, SetClock())
    (home.keys / "device").write_bytes(b"d" * 32)
    with pytest.raises(DamagedStateError, match="grant"):
        load_keys(home)


def test_keys_of_a_newer_format_are_refused_by_number(home):
    create_identity(home, MASTER, SetClock())
    path = home.keys / "working"
    data = bytearray(path.read_bytes())
    data[8] = 4
    path.write_bytes(data)
    with pytest.raises(DamagedStateError, match="key format 4"):
        load_keys(home)


def test_secrets_are_not_in_the_text_form_of_keys(home):
    create_identity(home, MASTER, SetClock())
    keys = load_keys(home)
    assert keys.working.secret.hex() not in repr(keys)
    assert repr(keys.working.secret) not in repr(keys)
    assert repr(keys.transport_seed) not in repr(keys)


def test_the_lock_is_one_holders_at_a_time(home):
    home.prepare()
    with home.lock() as first:
        assert first
        with home.lock() as second:
            assert not second
        with home.lock() as third:
            assert not third, "the attempt that failed must not have let go of it"
    with home.lock() as again:
        assert again


def test_a_process_that_dies_leaves_no_lock(home):
    home.prepare()
    code = (
        "import os, sys; from pathlib import Path; from backuppeer.agent.home.home import Home\n"
        "with Home(Path(sys.argv[1])).lock() as mine:\n    print(mine, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"True\n"
        with home.lock() as mine:
            assert not mine
        holder.kill()
        holder.wait()
        with home.lock() as mine:
            assert mine


def test_a_private_file_is_replaced_whole_and_leaves_no_temporary(home):
    home.prepare()
    path = home.path / "file"
    for data in (b"one", b"two"):
        write_private(path, data)
        assert (path.read_bytes(), mode(path)) == (data, 0o600)
    (home.path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_private(home.path / "folder", b"x")
    assert not list(home.path.glob(".*"))


def test_settings_survive_being_written_and_unset_ones_stay_unset(home):
    assert read_config(home) == Config()
    config = change_config(Config(), "servers", "ws://one, ws://two,")
    write_config(home, config)
    assert read_config(home) == Config(servers=["ws://one", "ws://two"])
    assert mode(home.config) == 0o600
    write_config(home, change_config(config, "servers", "none"))
    assert read_config(home).servers == []
    write_config(home, change_config(config, "servers", ""))
    assert read_config(home).servers is None


def test_an_unknown_setting_is_named(home):
    with pytest.raises(UserError, match="'colour'"):
        change_config(Config(), "colour", "red")


@pytest.mark.parametrize(
    ("data", "named"),
    [(b'colour = "red"\n', "colour"), (b"servers = 3\n", "servers"), (b"= broken", "config.toml"), (b"\xff", "config")],
)
def test_a_settings_file_with_an_unknown_key_or_broken_is_named(home, data, named):
    home.prepare()
    home.config.write_bytes(data)
    with pytest.raises((UserError, DamagedStateError), match=named) as caught:
        read_config(home)
    assert str(home.config) in caught.value.message
    (note,) = describe_settings(home)
    assert note.startswith(caught.value.message)
    assert "no set is backed up by its schedule" in note
    home.config.write_bytes(b"")
    assert describe_settings(home) == []


def test_a_home_that_can_not_be_made_is_told_by_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="can't be written"):
        Home(tmp_path / "file").prepare()


def test_receipts_are_shared_unless_the_settings_say_no_or_can_not_be_read(tmp_path):
    home, key = Home(tmp_path), "trust.share_receipts"
    assert may_share_receipts(home)
    write_config(home, change_config(read_config(home), key, "no"))
    assert (value_of(read_config(home), key), may_share_receipts(home)) == ("no", False)
    assert "[trust]" in home.config.read_text()
    write_config(home, change_config(read_config(home), "region", "EU"))
    assert not may_share_receipts(home)
    for text, shared in (("yes", True), ("", True)):
        write_config(home, change_config(read_config(home), key, text))
        assert (value_of(read_config(home), key) or "", may_share_receipts(home)) == (text, shared)
    assert "[trust]" not in home.config.read_text()
    with pytest.raises(UserError, match="neither yes nor no"):
        change_config(read_config(home), key, "maybe")
    home.config.write_text("trust = 1")
    assert not may_share_receipts(home)


def test_the_local_network_is_used_only_where_the_settings_can_be_read_and_say_yes(tmp_path):
    home, key = Home(tmp_path), "network.lan"
    assert not may_use_lan(home)
    for text, used in (("yes", True), ("no", False), ("", False)):
        write_config(home, change_config(read_config(home), key, text))
        assert (value_of(read_config(home), key) or "", may_use_lan(home)) == (text, used)
    assert "[network]" not in home.config.read_text()
    with pytest.raises(UserError, match="neither yes nor no"):
        change_config(read_config(home), key, "perhaps")
    home.config.write_text("[network]\nlan = true")
    assert not may_use_lan(home)


def test_a_folder_called_as_an_unfinished_file_stays_and_is_no_error(tmp_path):
    (tmp_path / ".photos.20240101").mkdir()
    (tmp_path / ".working.0a1b2c3d").touch()
    sweep_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".photos.20240101"]
