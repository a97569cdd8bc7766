"""Signing keys and signatures."""

import copy
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.crypto.identity import Purpose, SigningKey, verify_signature
from backuppeer.errors import AuthenticationFault, LocalError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "keys.json").read_text())
KEY = SigningKey.from_seed(bytes(range(32)))
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
L = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize("vector", VECTORS["signatures"], ids=lambda v: v["purpose"])
def test_signature_is_that_of_the_vector(vector):
    key = SigningKey.from_seed(bytes.fromhex(vector["seed"]))
    purpose, blob = Purpose(vector["purpose"].encode()), bytes.fromhex(vector["blob"])
    assert key.public.hex() == vector["public"]
    assert key.sign(purpose, blob).hex() == vector["signature"]
    verify_signature(key.public, purpose, blob, bytes.fromhex(vector["signature"]))


def test_vectors_cover_every_purpose():
    assert {vector["purpose"].encode() for vector in VECTORS["signatures"]} == {p.value for p in Purpose}


def test_key_of_a_seed_is_that_of_rfc_8032():
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert SigningKey.from_seed(seed).public.hex() == public
    assert SigningKey.from_seed(seed).seed() == seed


@given(
    blob=st.binary(max_size=200), purpose=st.sampled_from(Purpose), wrap=st.sampled_from([bytes, bytearray, memoryview])
)
def test_what_is_signed_verifies_and_for_no_other_purpose(blob, purpose, wrap):
    signature = KEY.sign(purpose, wrap(blob))
    verify_signature(KEY.public, purpose, wrap(blob), signature)
    for other in Purpose:
        if other is not purpose:
            with pytest.raises(AuthenticationFault):
                verify_signature(KEY.public, other, blob, signature)


@given(bit=st.integers(0, 64 * 8 - 1))
def test_flipped_bit_of_a_signature_is_refused(bit):
    signature = bytearray(KEY.sign(Purpose.HEAD, b"blob"))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuthenticationFault):
        verify_signature(KEY.public, Purpose.HEAD, b"blob", bytes(signature))


@given(bit=st.integers(0, 32 * 8 - 1))
def test_flipped_bit_of_a_public_key_is_refused(bit):
    public = bytearray(KEY.public)
    public[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuthenticationFault):
        verify_signature(bytes(public), Purpose.HEAD, b"blob", KEY.sign(Purpose.HEAD, b"blob"))


def test_second_spelling_of_a_signature_is_refused():
    signature = KEY.sign(Purpose.HEAD, b"blob")
    scalar = int.from_bytes(signature[32:], "little") + L
    with pytest.raises(AuthenticationFault):
        verify_signature(KEY.public, Purpose.HEAD, b"blob", signature[:32] + scalar.to_bytes(32, "little"))


@given(public=st.binary(max_size=70), signature=st.binary(max_size=70))
def test_random_keys_and_signatures_are_refused(public, signature):
    with pytest.raises(AuthenticationFault):
        verify_signature(public, Purpose.HEAD, b"", signature)


def small_order_keys() -> set[bytes]:
    """Every 32-byte string that stands for a point whose order divides 8, derived from the curve equation."""
    points = {multiply(point, L) for y in range(2, 40) if (point := recover(y)) is not None}
    # Random points times the group order run through the torsion; add up until closed.
    while len(closed := points | {add(a, b) for a in points for b in points}) > len(points):
        points = closed
    assert len(points) == 8
    spellings = set()
    for _, y in points:
        for value in {y, y + P} if y + P < 2**255 else {y}:
            spellings |= {(value | sign << 255).to_bytes(32, "little") for sign in (0, 1)}
    return spellings


def recover(y: int) -> tuple[int, int] | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (x, y) if x * x % P == square else None


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    cross = D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + cross, -1, P) % P
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - cross, -1, P) % P
    return x, y


def multiply(point: tuple[int, int], factor: int) -> tuple[int, int]:
    result = (0, 1)
    while factor:
        if factor & 1:
            result = add(result, point)
        point, factor = add(point, point), factor >> 1
    return result


def test_keys_of_small_order_are_refused_in_every_spelling():
    keys = small_order_keys()
    assert len(keys) >= 10
    # Under the identity point, R = identity and s = 0 satisfy the equation for every message.
    forged = (1).to_bytes(32, "little") + bytes(32)
    for public in keys:
        with pytest.raises(AuthenticationFault, match="proper Ed25519 point"):
            verify_signature(public, Purpose.HEAD, b"anything", forged)


@pytest.mark.parametrize("y", range(P, 2**255))
def test_keys_beyond_the_field_are_refused(y):
    for sign in (0, 1):
        with pytest.raises(AuthenticationFault, match="proper Ed25519 point"):
            verify_signature((y | sign << 255).to_bytes(32, "little"), Purpose.HEAD, b"", bytes(64))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_seed_of_another_length_is_refused(length):
    with pytest.raises(LocalError):
        SigningKey.from_seed(bytes(length))


def test_generated_keys_differ_and_return_from_their_seed():
    one, two = SigningKey.generate(), SigningKey.generate()
    assert one.public != two.public
    assert SigningKey.from_seed(one.seed()).public == one.public


def test_representation_shows_the_public_half_only():
    assert KEY.public.hex() in repr(KEY)
    assert KEY.seed().hex() not in repr(KEY)


def test_signing_key_does_not_pickle():
    with pytest.raises(LocalError):
        pickle.dumps(KEY)
    with pytest.raises(LocalError):
        copy.copy(KEY)
