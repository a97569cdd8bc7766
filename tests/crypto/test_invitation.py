"""Keys of an invite: each from the secret and the host alone, none from another."""

import hashlib
import hmac

import pytest
from blake3 import blake3

from backuppeer.crypto.invitation import INVITE_SECRET_BYTES, derive_invitation, make_secret
from backuppeer.errors import LocalError
from backuppeer.ids import PeerId

HOST, OTHER = PeerId(b"h" * 32), PeerId(b"o" * 32)
SECRET = bytes(range(16))
KEYS = derive_invitation(SECRET, HOST)
NONCE = b"n" * 16


def hkdf(root, label, length=32):
    """RFC 5869 by hand, for what the product derives with a library."""
    key, out, block, number = hmac.digest(bytes(32), root, "sha256"), b"", b"", 0
    while len(out) < length:
        number += 1
        block = hmac.digest(key, block + label + bytes([number]), "sha256")
        out += block
    return out[:length]


def test_keys_are_those_that_the_documents_say():
    root = blake3(SECRET + HOST, key=b"backuppeer v1 invite".ljust(32, b"\0")).digest()
    assert KEYS.name == hkdf(root, b"backuppeer/v1/invite-name\0", 8)
    assert KEYS.inbox("one.example").seed() == hkdf(root, b"backuppeer/v1/invite-inbox\0one.example")
    assert KEYS.opener().private_bytes() == hkdf(root, b"backuppeer/v1/invite-card\0", 96)
    proof_key = hkdf(root, b"backuppeer/v1/invite-proof\0")
    assert KEYS.prove(OTHER, NONCE) == blake3(OTHER + NONCE, key=proof_key).digest()
    assert (
        hashlib.sha256(KEYS.claim(OTHER, NONCE)).digest()
        == hashlib.sha256(KEYS.name + KEYS.prove(OTHER, NONCE)).digest()
    )


def test_another_host_or_server_has_other_keys():
    other = derive_invitation(SECRET, OTHER)
    assert other.name != KEYS.name
    assert len({KEYS.inbox("a").public, KEYS.inbox("b").public, other.inbox("a").public}) == 3


def test_a_proof_is_of_one_owner_and_one_knock():
    proof = KEYS.prove(OTHER, NONCE)
    assert KEYS.is_proof(proof, OTHER, NONCE)
    assert not KEYS.is_proof(proof, HOST, NONCE)
    assert not KEYS.is_proof(proof, OTHER, b"m" * 16)
    assert not KEYS.is_proof(b"", OTHER, NONCE)


def test_a_secret_has_sixteen_random_bytes():
    assert len({make_secret() for _ in range(100)}) == 100
    assert len(make_secret()) == INVITE_SECRET_BYTES
    with pytest.raises(LocalError):
        derive_invitation(bytes(15), HOST)
