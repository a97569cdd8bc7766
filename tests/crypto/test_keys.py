"""The tree of keys."""

import hashlib
import hmac
import json
import pickle
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.keys import (
    FormerSecrets,
    Label,
    RepositoryKeys,
    WorkingSecret,
    derive_authority,
    derive_heir,
    derive_identity,
    derive_key,
    derive_repository_keys,
    derive_working,
)
from backuppeer.errors import LocalError
from backuppeer.ids import RepositoryId

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "keys.json").read_text())
REPOSITORY = RepositoryId(bytes(range(16)))


def reference_hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 in its own words, with nothing but the standard library."""
    key = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    block, output = b"", b""
    for counter in range(1, 256):
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
        if len(output) >= length:
            break
    return output[:length]


def test_reference_agrees_with_rfc_5869():
    okm = reference_hkdf(bytes([0x0B] * 22), bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"


@given(
    secret=st.binary(min_size=32, max_size=64),
    label=st.sampled_from(Label),
    context=st.binary(max_size=20),
    salt=st.binary(max_size=40),
    length=st.integers(1, 100),
)
def test_derivation_is_hkdf_of_label_zero_context(secret, label, context, salt, length):
    derived = derive_key(secret, label, context=context, salt=salt, length=length)
    assert derived == reference_hkdf(secret, salt, label.value + b"\0" + context, length)


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda v: v["master"][:8])
def test_key_tree_is_that_of_the_vector(vector):
    master, generation = bytes.fromhex(vector["master"]), vector["generation"]
    authority = derive_authority(master)
    working = derive_working(master, generation)
    identity = derive_identity(working)
    keys = derive_repository_keys(working, RepositoryId(bytes.fromhex(vector["repository"])))
    assert (authority.seed().hex(), authority.public.hex()) == (vector["authority_seed"], vector["authority_public"])
    assert (working.secret.hex(), working.generation) == (vector["working"], generation)
    assert (identity.seed().hex(), identity.public.hex()) == (vector["identity_seed"], vector["identity_public"])
    assert (keys.generation, keys.repository.hex()) == (generation, vector["repository"])
    assert str(keys.chunker_seed) == vector["chunker_seed"]
    for kind, blob_id in vector["blob_ids"].items():
        assert keys.blob_id(int(kind), bytes.fromhex(vector["blob_data"])).hex() == blob_id
    for pack in vector["pack_keys"]:
        salt = bytes.fromhex(vector["salt"])
        assert keys.pack_key(pack["suite"], pack["version"], salt).hex() == pack["key"]


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda v: v["master"][:8])
def test_vector_follows_from_the_specification_alone(vector):
    master = bytes.fromhex(vector["master"])
    info = b"backuppeer/v1/working\0" + vector["generation"].to_bytes(4, "big")
    working = reference_hkdf(master, b"", info, 32)
    assert working.hex() == vector["working"]
    assert reference_hkdf(master, b"", b"backuppeer/v1/authority\0", 32).hex() == vector["authority_seed"]
    assert reference_hkdf(working, b"", b"backuppeer/v1/identity\0", 32).hex() == vector["identity_seed"]
    info = b"backuppeer/v1/repository\0" + bytes.fromhex(vector["repository"])
    repository = reference_hkdf(working, b"", info, 32)
    assert repository.hex() == vector["repository_secret"]
    for kind, key in vector["blob_keys"].items():
        blob_key = reference_hkdf(repository, b"", b"backuppeer/v1/blob-id\0" + bytes([int(kind)]), 32)
        assert blob_key.hex() == key
        assert blake3(b"hello", key=blob_key).hexdigest() == vector["blob_ids"][kind]
    seed = int.from_bytes(reference_hkdf(repository, b"", b"backuppeer/v1/chunker\0", 8), "big")
    assert str(seed) == vector["chunker_seed"]
    for pack in vector["pack_keys"]:
        info = b"backuppeer/v1/pack\0" + bytes([pack["suite"], pack["version"]])
        assert reference_hkdf(repository, bytes.fromhex(vector["salt"]), info, 32).hex() == pack["key"]


def test_no_label_is_the_beginning_of_another_with_its_separator():
    labels = [label.value for label in Label]
    assert len(set(labels)) == len(labels)
    assert not any(b"\0" in label for label in labels)


def test_each_input_changes_the_pack_key():
    keys = derive_repository_keys(derive_working(bytes(32), 1), REPOSITORY)
    other_generation = derive_repository_keys(derive_working(bytes(32), 2), REPOSITORY)
    other_repository = derive_repository_keys(derive_working(bytes(32), 1), RepositoryId(bytes(16)))
    salt = bytes(32)
    derived = {
        keys.pack_key(1, 1, salt),
        keys.pack_key(2, 1, salt),
        keys.pack_key(1, 2, salt),
        keys.pack_key(1, 1, b"\1" + salt[1:]),
        other_generation.pack_key(1, 1, salt),
        other_repository.pack_key(1, 1, salt),
    }
    assert len(derived) == 6


def test_equal_data_of_two_kinds_has_two_ids():
    keys = derive_repository_keys(derive_working(bytes(32), 1), REPOSITORY)
    assert len({keys.blob_id(kind, b"same") for kind in (1, 2, 3, 4)}) == 4


def test_chunker_seed_is_never_zero(monkeypatch):
    keys = derive_repository_keys(derive_working(bytes(32), 1), REPOSITORY)
    monkeypatch.setattr("backuppeer.crypto.keys.derive_key", lambda *_, **__: bytes(8))
    assert keys.chunker_seed == 1


def test_representations_show_no_secret():
    working = derive_working(bytes(range(32)), 1)
    keys = derive_repository_keys(working, REPOSITORY)
    secrets = [working.secret, keys._secret, *keys._blob_keys.values()]
    shown = f"{working!r} {working!s} {keys!r} {keys!s}"
    assert "generation=1" in shown
    assert not any(repr(secret) in shown or secret.hex() in shown for secret in secrets)


def test_secrets_compare_by_value():
    one, two = derive_working(bytes(32), 1), derive_working(bytes(32), 1)
    assert one == two
    assert hash(one) == hash(two)
    assert one != derive_working(bytes(32), 2)
    assert one != WorkingSecret(one.secret, 2)
    assert one != one.secret
    keys = derive_repository_keys(one, REPOSITORY)
    assert keys == derive_repository_keys(two, REPOSITORY)
    assert hash(keys) == hash(derive_repository_keys(two, REPOSITORY))
    assert keys != derive_repository_keys(one, RepositoryId(bytes(16)))
    assert keys != RepositoryKeys(REPOSITORY, 1, bytes(32))
    assert keys != "keys"


def test_secrets_are_compared_in_constant_time(monkeypatch):
    one, two = derive_working(bytes(32), 1), derive_working(bytes(32), 1)
    keys, more = derive_repository_keys(one, REPOSITORY), derive_repository_keys(two, REPOSITORY)
    compared = []
    monkeypatch.setattr("backuppeer.crypto.keys.hmac.compare_digest", lambda a, b: compared.append((a, b)) or True)
    assert one == two
    assert keys == more
    assert compared == [(one.secret, two.secret), (keys.export(), more.export())]


def test_keys_do_not_change():
    working = derive_working(bytes(32), 1)
    with pytest.raises(AttributeError):
        working.generation = 2
    with pytest.raises(AttributeError):
        derive_repository_keys(working, REPOSITORY).generation = 2


def test_repository_keys_can_be_handed_to_a_worker_process():
    keys = derive_repository_keys(derive_working(bytes(32), 1), REPOSITORY)
    copy = pickle.loads(pickle.dumps(keys))  # noqa: S301 - own bytes
    assert copy == keys
    assert copy.blob_id(1, b"x") == keys.blob_id(1, b"x")


@pytest.mark.parametrize(
    "call",
    [
        lambda: derive_authority(bytes(31)),
        lambda: derive_authority(bytes(33)),
        lambda: derive_working(bytes(31), 1),
        lambda: derive_working(bytes(32), -1),
        lambda: derive_working(bytes(32), 2**32),
        lambda: WorkingSecret(bytes(31), 1),
        lambda: WorkingSecret(bytes(32), 2**32),
        lambda: derive_repository_keys(derive_working(bytes(32), 1), RepositoryId(bytes(15))),
        lambda: derive_key(bytes(31), Label.PACK),
        lambda: derive_key(bytes(32), Label.PACK, length=0),
        lambda: derive_key(bytes(32), Label.PACK, length=8161),
    ],
)
def test_secrets_and_ids_of_wrong_size_are_refused(call):
    with pytest.raises(LocalError):
        call()


@pytest.mark.parametrize("call", [(256, 1, 32), (-1, 1, 32), (1, 256, 32), (1, 1, 31), (1, 1, 0)])
def test_pack_key_refuses_what_is_no_byte_and_short_salts(call):
    suite, version, salt = call
    with pytest.raises(LocalError):
        derive_repository_keys(derive_working(bytes(32), 1), REPOSITORY).pack_key(suite, version, bytes(salt))


@pytest.mark.parametrize("kind", [0, 5, -1, 256])
def test_unknown_blob_kind_is_refused(kind):
    with pytest.raises(LocalError):
        derive_repository_keys(derive_working(bytes(32), 1), REPOSITORY).blob_id(kind, b"")


def test_exported_keys_are_the_same_keys_and_say_nothing_of_themselves():
    keys = derive_repository_keys(derive_working(bytes(range(32)), 2**32 - 1), REPOSITORY)
    again = RepositoryKeys.from_export(keys.export())
    assert again == keys
    assert again.blob_id(1, b"x") == keys.blob_id(1, b"x")
    assert keys.export()[-8:].hex() not in repr(again)


def test_an_heir_opens_what_was_sealed_in_every_generation_before():
    master, salt = bytes(range(32)), bytes(32)
    heir = derive_repository_keys(derive_heir(master, 3, REPOSITORY), REPOSITORY)
    for generation in (1, 2, 3):
        then = derive_repository_keys(derive_working(master, generation), REPOSITORY)
        assert heir.pack_key(1, 1, salt, generation=generation) == then.pack_key(1, 1, salt)
        assert heir.may_open(REPOSITORY, generation)
    assert heir.pack_key(1, 1, salt) == heir.pack_key(1, 1, salt, generation=3)
    for strange in (0, 4):
        assert not heir.may_open(REPOSITORY, strange)
        with pytest.raises(LocalError):
            heir.pack_key(1, 1, salt, generation=strange)
    assert not heir.may_open(RepositoryId(bytes(16)), 3)


def test_an_heir_finds_what_is_there_already_and_cuts_files_as_before():
    master = bytes(range(32))
    first = derive_repository_keys(derive_working(master, 1), REPOSITORY)
    heir = derive_repository_keys(derive_heir(master, 3, REPOSITORY), REPOSITORY)
    assert [heir.blob_id(kind, b"x") for kind in (1, 2, 3, 4)] == [first.blob_id(kind, b"x") for kind in (1, 2, 3, 4)]
    assert heir.chunker_seed == first.chunker_seed


def test_an_heir_speaks_as_nobody_before_it():
    master = bytes(range(32))
    heir = derive_heir(master, 3, REPOSITORY)
    assert derive_identity(heir).public == derive_identity(derive_working(master, 3)).public
    for generation in (1, 2):
        assert derive_working(master, generation).secret not in (heir.secret, *heir.former.secrets)
    assert all(secret.hex() not in repr(heir) for secret in (heir.secret, *heir.former.secrets))
    assert derive_heir(master, 1, REPOSITORY) == derive_working(master, 1)
    assert heir != derive_working(master, 3)


def test_keys_of_an_heir_can_be_handed_to_a_worker_process():
    heir = derive_repository_keys(derive_heir(bytes(range(32)), 3, REPOSITORY), REPOSITORY)
    again = RepositoryKeys.from_export(heir.export())
    assert again == heir
    assert again.pack_key(1, 1, bytes(32), generation=1) == heir.pack_key(1, 1, bytes(32), generation=1)
    assert heir != RepositoryKeys.from_export(heir.export()[:-32])


def test_former_secrets_that_do_not_fit_are_refused():
    secret = bytes(32)
    for make in (
        lambda: FormerSecrets(REPOSITORY, ()),
        lambda: FormerSecrets(REPOSITORY, (bytes(31),)),
        lambda: FormerSecrets(RepositoryId(bytes(15)), (secret,)),
        lambda: WorkingSecret(secret, 3, FormerSecrets(REPOSITORY, (secret,))),
        lambda: derive_repository_keys(derive_heir(secret, 2, REPOSITORY), RepositoryId(bytes(range(1, 17)))),
    ):
        with pytest.raises(LocalError):
            make()


@pytest.mark.parametrize("length", [0, 51, 53])
def test_exported_keys_of_another_length_are_refused(length):
    with pytest.raises(LocalError):
        RepositoryKeys.from_export(bytes(length))
