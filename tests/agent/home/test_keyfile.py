"""The working secret under a passphrase or a key of the keyring, in its file."""

import pytest

from agent.loops import SetClock
from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyfile import Custody, read_key_file
from backuppeer.agent.home.keyring import (
    change_custody,
    check_master,
    create_identity,
    derive_kept,
    grant_writer,
    load_keys,
    load_peer_id,
    recover_identity,
    unlock_working,
)
from backuppeer.agent.home.sealing import seal_working
from backuppeer.crypto.custody import Stretch
from backuppeer.crypto.keys import derive_heir, derive_repository_keys, derive_working
from backuppeer.errors import DamagedStateError, ExitCode, LocalError, NewerFormatError, UserError
from backuppeer.limits import SUCCESSION_STEPS

MASTER = bytes(range(32))
PASSPHRASE = b"correct horse battery"
KEY = bytes(range(100, 132))
CHEAP = Stretch(memory_kib=64, passes=1, lanes=1)
LOCKED = {Custody.PASSPHRASE: PASSPHRASE, Custody.KEYRING: KEY}


@pytest.fixture(params=[1, 3])
def home(tmp_path, request):
    """A home of the first generation, and one whose identity went on twice."""
    made = Home(tmp_path / "home")
    create_identity(made, MASTER, SetClock())
    if request.param > 1:
        keys = load_keys(made)
        heir = derive_heir(MASTER, request.param, keys.repository)
        (made.keys / "working").write_bytes(seal_working(heir, keys.authority, Custody.NOTHING))
    return made


def kept(home):
    """What the words give for the file of a home."""
    return derive_kept(MASTER, read_key_file(home.keys / "working"))


def lock(home, custody):
    change_custody(home, kept(home), custody, LOCKED[custody], stretch=CHEAP)


@pytest.mark.parametrize("custody", LOCKED)
def test_a_locked_home_has_the_same_keys_once_it_is_opened(home, custody):
    before = load_keys(home)
    lock(home, custody)
    after = load_keys(home, LOCKED[custody])
    assert (after.working, after.peer, after.authority) == (before.working, before.peer, before.authority)
    assert (after.grant, after.repository, after.transport_seed) == (
        before.grant,
        before.repository,
        before.transport_seed,
    )
    assert read_key_file(home.keys / "working").custody is custody


@pytest.mark.parametrize("custody", LOCKED)
def test_no_file_of_a_locked_home_holds_what_opens_it_or_what_it_opens(home, custody):
    working, former = load_keys(home).working.secret, load_keys(home).working.former
    lock(home, custody)
    for path in home.path.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not any(secret in data for secret in (working, *(former.secrets if former else ())))
        assert LOCKED[custody] not in data


@pytest.mark.parametrize("custody", LOCKED)
def test_a_locked_home_says_who_it_is_without_being_opened(home, custody):
    peer = load_peer_id(home)
    lock(home, custody)
    assert load_peer_id(home) == peer


@pytest.mark.parametrize("custody", LOCKED)
def test_a_locked_home_does_not_open_without_or_with_another_secret(home, custody):
    lock(home, custody)
    with pytest.raises(UserError, match="locked"):
        load_keys(home)
    wrong = bytes(32)
    with pytest.raises(UserError, match="is wrong") as caught:
        load_keys(home, wrong)
    assert caught.value.exit_code is ExitCode.AUTHENTICATION


def test_a_passphrase_can_be_changed_and_taken_away(home):
    peer = load_peer_id(home)
    lock(home, Custody.PASSPHRASE)
    working = unlock_working(home, PASSPHRASE)
    change_custody(home, working, Custody.PASSPHRASE, b"another one", stretch=CHEAP)
    with pytest.raises(UserError):
        load_keys(home, PASSPHRASE)
    assert load_keys(home, b"another one").peer == peer
    change_custody(home, working, Custody.NOTHING)
    assert load_keys(home).peer == peer
    assert load_keys(home, b"whatever is offered").peer == peer


@pytest.mark.parametrize("custody", LOCKED)
def test_words_open_a_locked_home_and_those_of_another_do_not(home, custody):
    lock(home, custody)
    assert check_master(home, MASTER) == kept(home)
    with pytest.raises(UserError, match="another identity"):
        check_master(home, bytes(32))
    grant_writer(home, MASTER, repository=load_keys(home, LOCKED[custody]).repository, epoch=2, clock=SetClock())
    assert load_keys(home, LOCKED[custody]).grant
    with pytest.raises(UserError, match="already has an identity"):
        recover_identity(home, MASTER)


@pytest.mark.parametrize("custody", LOCKED)
def test_a_change_of_any_byte_of_a_locked_file_is_noticed(home, custody):
    lock(home, custody)
    path = home.keys / "working"
    whole = path.read_bytes()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0x80
        path.write_bytes(changed)
        with pytest.raises((UserError, LocalError)):
            load_keys(home, LOCKED[custody])
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises((UserError, DamagedStateError)):
            load_keys(home, LOCKED[custody])


def test_nothing_of_the_secret_shows_when_a_file_or_keys_are_printed(home):
    assert load_keys(home).working.secret.hex() not in repr(load_keys(home))
    assert repr(read_key_file(home.keys / "working")) == "KeyFile(NOTHING)"


def test_what_a_killed_write_left_open_is_gone_with_the_next_change(home):
    left = home.keys / ".working.0123abcd"
    left.write_bytes((home.keys / "working").read_bytes())
    (home.keys / ".working.mine").write_text("no file of ours")
    lock(home, Custody.PASSPHRASE)
    assert {path.name for path in home.keys.iterdir()} == {"device", "grant", "transport", "working", ".working.mine"}


def test_each_sealing_has_a_label_of_its_own(home):
    labels = set()
    for _ in range(3):
        lock(home, Custody.KEYRING)
        labels.add(read_key_file(home.keys / "working").label)
    assert len(labels) == 3
    assert {len(label) for label in labels} == {16}


def test_a_home_whose_identity_went_on_opens_all_its_packs_and_speaks_as_the_new_one_alone(home):
    keys = load_keys(home)
    opened = derive_repository_keys(keys.working, keys.repository)
    assert all(opened.may_open(keys.repository, generation) for generation in range(1, keys.working.generation + 1))
    held = (home.keys / "working").read_bytes()
    for generation in range(1, keys.working.generation):
        assert derive_working(MASTER, generation).secret not in held


def test_a_home_that_only_reads_knows_its_repository_from_the_key_file(home):
    keys = load_keys(home)
    (home.keys / "grant").unlink()
    assert load_keys(home).repository == (keys.repository if keys.working.former else None)


def test_no_key_file_is_of_more_generations_than_are_followed_or_of_a_later_version(tmp_path):
    home, path = Home(tmp_path / "home"), tmp_path / "home" / "keys" / "working"
    create_identity(home, MASTER, SetClock())
    keys = load_keys(home)
    last = seal_working(derive_heir(MASTER, SUCCESSION_STEPS + 1, keys.repository), keys.authority, Custody.NOTHING)
    path.write_bytes(last)
    assert load_keys(home).working.generation == SUCCESSION_STEPS + 1
    path.write_bytes(
        seal_working(derive_heir(MASTER, SUCCESSION_STEPS + 2, keys.repository), keys.authority, Custody.NOTHING)
    )
    with pytest.raises(DamagedStateError):
        load_keys(home)
    path.write_bytes(last[:8] + b"\4" + last[9:])
    with pytest.raises(NewerFormatError, match="key format 4"):
        load_keys(home)


def test_a_changed_byte_or_cut_of_an_open_file_of_an_heir_gives_no_other_identity(tmp_path):
    home, path = Home(tmp_path / "home"), tmp_path / "home" / "keys" / "working"
    create_identity(home, MASTER, SetClock())
    keys = load_keys(home)
    whole = seal_working(derive_heir(MASTER, 2, keys.repository), keys.authority, Custody.NOTHING)
    secrets_at = len(whole) - 64
    for at in (8, 12, 50, secrets_at - 17, secrets_at):  # version, generation, identity, custody, working secret
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises((UserError, LocalError)):
            load_keys(home)
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(DamagedStateError):
            load_keys(home)
