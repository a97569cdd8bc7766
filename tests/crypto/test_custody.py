"""A secret under a passphrase or a key, in a file."""

import json
import struct
from pathlib import Path

import pytest
from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.custody import (
    SEALED_MORE_BYTES,
    Stretch,
    check_passphrase,
    normalise_passphrase,
    open_sealed,
    seal_by_key,
    seal_by_passphrase,
)
from backuppeer.crypto.keys import Label, derive_key
from backuppeer.errors import DamagedStateError, ExitCode, LocalError, UserError
from backuppeer.limits import PASSPHRASE_CHARS, STRETCH_LANES, STRETCH_MEMORY_KIB, STRETCH_PASSES

CHEAP = Stretch(memory_kib=8, passes=1, lanes=1)
KEY = bytes(range(32))
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "custody.json").read_text())


@given(plain=st.binary(max_size=100), passphrase=st.binary(min_size=1, max_size=40), bound=st.binary(max_size=40))
def test_what_is_sealed_under_a_passphrase_opens_with_it(plain, passphrase, bound):
    sealed = seal_by_passphrase(plain, passphrase, bound=bound, stretch=CHEAP)
    assert len(sealed) == len(plain) + SEALED_MORE_BYTES
    assert open_sealed(sealed, passphrase, bound=bound) == plain


@given(plain=st.binary(max_size=100), bound=st.binary(max_size=40))
def test_what_is_sealed_under_a_key_opens_with_it(plain, bound):
    assert open_sealed(seal_by_key(plain, KEY, bound=bound), KEY, bound=bound) == plain


def test_no_two_sealings_share_a_salt():
    assert len({seal_by_key(b"same", KEY, bound=b"")[9:41] for _ in range(50)}) == 50


@pytest.mark.parametrize("seal", ["passphrase", "key"])
def test_a_change_of_any_byte_or_of_what_it_is_bound_to_is_noticed(seal):
    def make():
        if seal == "key":
            return seal_by_key(b"secret", KEY, bound=b"file"), KEY
        return seal_by_passphrase(b"secret", b"open sesame", bound=b"file", stretch=CHEAP), b"open sesame"

    sealed, secret = make()
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises((UserError, DamagedStateError, LocalError)):
            open_sealed(bytes(changed), secret, bound=b"file")
    for cut in range(len(sealed)):
        with pytest.raises((UserError, DamagedStateError)):
            open_sealed(sealed[:cut], secret, bound=b"file")
    with pytest.raises(UserError):
        open_sealed(sealed, secret, bound=b"another file")


def test_a_wrong_passphrase_is_told_as_such_with_code_12():
    sealed = seal_by_passphrase(b"secret", b"open sesame", bound=b"", stretch=CHEAP)
    with pytest.raises(UserError, match="passphrase is wrong") as caught:
        open_sealed(sealed, b"open barley", bound=b"")
    assert caught.value.exit_code is ExitCode.AUTHENTICATION


@pytest.mark.parametrize(
    "cost",
    [
        (STRETCH_MEMORY_KIB + 1, 1, 1),
        (2**32 - 1, 1, 1),
        (64, STRETCH_PASSES + 1, 1),
        (64, 0, 1),
        (64, 1, 0),
        (256, 1, STRETCH_LANES + 1),
        (8, 1, 2),
    ],
)
def test_a_file_can_not_ask_for_memory_or_time_without_bounds(cost):
    with pytest.raises(DamagedStateError, match="more memory or time"):
        open_sealed(struct.pack(">IIB", *cost) + bytes(32 + 16), b"x", bound=b"")
    with pytest.raises(LocalError):
        seal_by_passphrase(b"", b"x", bound=b"", stretch=Stretch(*cost))


def test_accents_typed_in_two_ways_are_one_passphrase():
    assert check_passphrase("Bébé-Lärm") == check_passphrase("Be\u0301be\u0301-La\u0308rm")


@pytest.mark.parametrize("text", ["", "seven77", "e\u0301" * 7])
def test_a_short_passphrase_is_refused_when_new_but_may_be_tried(text):
    with pytest.raises(UserError, match="8 characters"):
        check_passphrase(text)
    assert isinstance(normalise_passphrase(text), bytes)


def test_a_passphrase_of_a_megabyte_or_of_no_text_is_refused():
    with pytest.raises(UserError, match=str(PASSPHRASE_CHARS)):
        normalise_passphrase("x" * (PASSPHRASE_CHARS + 1))
    with pytest.raises(UserError, match="UTF-8"):
        check_passphrase("eight chars \udcff")


@pytest.mark.parametrize("vector", VECTORS["sealed"], ids=lambda v: v["name"])
def test_vector_opens(vector):
    bound, sealed = bytes.fromhex(vector["bound"]), bytes.fromhex(vector["sealed"])
    secret = bytes.fromhex(vector["secret"])
    assert open_sealed(sealed, secret, bound=bound) == bytes.fromhex(vector["plain"])


@pytest.mark.parametrize("vector", VECTORS["sealed"], ids=lambda v: v["name"])
def test_vector_follows_from_the_specification_alone(vector):
    bound, sealed, secret = (bytes.fromhex(vector[name]) for name in ("bound", "sealed", "secret"))
    memory, passes, lanes, salt = struct.unpack(">IIB32s", sealed[:41])
    if memory:
        secret = hash_secret_raw(secret, salt, passes, memory, lanes, 32, Type.ID, 19)
    key = derive_key(secret, Label.CUSTODY, salt=salt)
    plain = ChaCha20Poly1305(key).decrypt(bytes(12), sealed[41:], bound + sealed[:41])
    assert plain == bytes.fromhex(vector["plain"])
