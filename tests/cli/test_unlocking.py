"""Keys of homes in the system's keyring: each has its own, whoever else keeps one there."""

from types import SimpleNamespace

import pytest

from backuppeer.agent.home.home import Home
from backuppeer.agent.home.keyfile import Custody, parse_key_file, read_key_file
from backuppeer.agent.home.keyring import create_identity, load_keys, seal_custody, unlock_working, write_custody
from backuppeer.cli import unlocking
from backuppeer.clock import SystemClock
from backuppeer.errors import LocalError, UserError


class Kept(dict):
    """A keyring, as the library shows one."""

    errors = SimpleNamespace(KeyringError=KeyError)

    def set_password(self, service, name, text):
        self[service, name] = text

    def get_password(self, service, name):
        return self.get((service, name))

    def delete_password(self, service, name):
        del self[service, name]


@pytest.fixture
def kept(monkeypatch):
    made = Kept()
    monkeypatch.setattr(unlocking, "_load_keyring", lambda: made)
    return made


def lock(home, seed, secret):
    """Make a home whose keys are under a key in the keyring."""
    create_identity(home, seed * 32, SystemClock())
    path = home.keys / "working"
    packed = seal_custody(home, load_keys(home).working, Custody.KEYRING, secret)
    unlocking.keep_key(parse_key_file(path, packed), secret)
    write_custody(home, packed)
    return read_key_file(path)


def test_homes_of_one_peer_and_of_another_each_have_their_own_key_in_one_keyring(tmp_path, kept):
    homes = [Home(tmp_path / name) for name in ("one", "copy", "other")]
    keys = [bytes([number]) * 32 for number in range(3)]
    files = [lock(home, seed, key) for home, seed, key in zip(homes, (b"a", b"a", b"b"), keys, strict=True)]
    assert len(kept) == 3
    for home, file, key in zip(homes, files, keys, strict=True):
        assert unlocking.recall_key(file) == key
        unlock_working(home, key)
    with pytest.raises(UserError, match="wrong"):
        unlock_working(homes[0], keys[1])
    assert unlocking.forget_key(files[0])
    with pytest.raises(LocalError, match="no key for this home"):
        unlocking.recall_key(files[0])
    assert [unlocking.recall_key(file) for file in files[1:]] == keys[1:], "one that goes takes no other along"
    assert not unlocking.forget_key(files[0]), "and can't go twice"


@pytest.mark.parametrize("text", ["", "no base64!", "AAAA"])
def test_what_is_no_key_in_the_keyring_opens_nothing(tmp_path, kept, text):
    file = lock(Home(tmp_path / "home"), b"a", b"k" * 32)
    for place in kept:
        kept[place] = text
    with pytest.raises(LocalError, match="no key for this home"):
        unlocking.recall_key(file)
