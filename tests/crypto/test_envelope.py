"""HPKE envelopes."""

import hashlib
import hmac
import json
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from backuppeer.crypto.envelope import (
    ENVELOPE_OVERHEAD_BYTES,
    ENVELOPE_PRIVATE_BYTES,
    ENVELOPE_PUBLIC_BYTES,
    EnvelopeKey,
    seal_envelope,
)
from backuppeer.errors import IntegrityFault, LocalError, ProtocolViolation

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "seal.json").read_text())
KEY = EnvelopeKey.generate()


@pytest.mark.parametrize("vector", VECTORS["envelopes"], ids=lambda v: v["info"] or "empty")
def test_envelope_of_the_vector_opens(vector):
    key = EnvelopeKey.from_private_bytes(bytes.fromhex(vector["private"]))
    assert key.public.hex() == vector["public"]
    assert key.open(bytes.fromhex(vector["sealed"]), bytes.fromhex(vector["info"])).hex() == vector["plain"]


def reference_open(private: bytes, sealed: bytes, info: bytes) -> bytes:
    """X-Wing and RFC 9180's key schedule in their own words, so that a release with another draft is noticed."""
    kem_mlkem, kem_x25519, body = sealed[:1088], sealed[1088:1120], sealed[1120:]
    x25519 = X25519PrivateKey.from_private_bytes(private[64:])
    shared = hashlib.sha3_256(
        MLKEM768PrivateKey.from_seed_bytes(private[:64]).decapsulate(kem_mlkem)
        + x25519.exchange(X25519PublicKey.from_public_bytes(kem_x25519))
        + kem_x25519
        + x25519.public_key().public_bytes_raw()
        + b"\\.//^\\"
    ).digest()
    suite = b"HPKE" + bytes.fromhex("647a00010002")

    def extract(salt: bytes, label: bytes, secret: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + secret, "sha256")

    def expand(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return hmac.digest(secret, labelled + b"\1", "sha256")[:length]

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    key, nonce = expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, body, b"")


@pytest.mark.parametrize("vector", VECTORS["envelopes"], ids=lambda v: v["info"] or "empty")
def test_envelope_follows_from_the_specification_alone(vector):
    private, sealed, info = (bytes.fromhex(vector[name]) for name in ("private", "sealed", "info"))
    assert reference_open(private, sealed, info).hex() == vector["plain"]
    fresh = seal_envelope(bytes.fromhex(vector["public"]), b"fresh", b"other info")
    assert reference_open(private, fresh, b"other info") == b"fresh"


@given(plain=st.binary(max_size=200), info=st.binary(max_size=100))
@settings(max_examples=30, deadline=None)
def test_what_is_sealed_opens_again(plain, info):
    sealed = seal_envelope(KEY.public, plain, info)
    assert len(sealed) == len(plain) + ENVELOPE_OVERHEAD_BYTES
    assert KEY.open(sealed, info) == plain


def test_key_returns_from_its_private_bytes():
    again = EnvelopeKey.from_private_bytes(KEY.private_bytes())
    assert len(KEY.private_bytes()) == ENVELOPE_PRIVATE_BYTES
    assert len(KEY.public) == ENVELOPE_PUBLIC_BYTES
    assert again.public == KEY.public
    assert again.open(seal_envelope(KEY.public, b"plain", b""), b"") == b"plain"


def test_equal_plaintexts_are_sealed_differently():
    assert seal_envelope(KEY.public, b"same", b"") != seal_envelope(KEY.public, b"same", b"")


@given(bit=st.integers(0, (ENVELOPE_OVERHEAD_BYTES + 5) * 8 - 1))
@settings(max_examples=60, deadline=None)
def test_flipped_bit_is_refused(bit):
    sealed = bytearray(seal_envelope(KEY.public, b"plain", b"info"))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityFault):
        KEY.open(bytes(sealed), b"info")


def test_other_info_or_other_key_is_refused():
    sealed = seal_envelope(KEY.public, b"plain", b"info")
    with pytest.raises(IntegrityFault):
        KEY.open(sealed, b"other")
    with pytest.raises(IntegrityFault):
        EnvelopeKey.generate().open(sealed, b"info")


@pytest.mark.parametrize("length", [0, 1, 1119, 1120, 1135, 1136, 5000])
def test_bytes_that_are_no_envelope_are_refused(length):
    with pytest.raises(IntegrityFault):
        KEY.open(bytes(length), b"")


def test_envelope_with_a_point_of_small_order_is_refused():
    sealed = seal_envelope(KEY.public, b"plain", b"")
    with pytest.raises(IntegrityFault):
        KEY.open(sealed[:1088] + bytes(32) + sealed[1120:], b"")


@pytest.mark.parametrize(
    "public",
    [
        b"",
        bytes(1215),
        bytes(1217),
        b"\xff" * 1216,  # coefficients beyond the modulus
        KEY.public[:1184] + bytes(32),  # X25519 point of small order: the shared secret would be known to all
    ],
    ids=["empty", "short", "long", "modulus", "small-order"],
)
def test_malformed_public_key_is_refused(public):
    with pytest.raises(ProtocolViolation):
        seal_envelope(public, b"plain", b"")


@pytest.mark.parametrize("length", [0, 95, 97])
def test_private_bytes_of_another_length_are_refused(length):
    with pytest.raises(LocalError):
        EnvelopeKey.from_private_bytes(bytes(length))


def test_representation_shows_nothing_and_the_key_does_not_pickle():
    assert repr(KEY) == "<EnvelopeKey>"
    with pytest.raises(LocalError):
        pickle.dumps(KEY)
