"""What a client of iroh's relay protocol signs; that iroh signs the same is shown by signaling.test_relay."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backuppeer.crypto.relay import holds_relay_proof, relay_proof_bytes

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key().public_bytes_raw()
CHALLENGE = bytes(range(16))


def test_the_answer_of_the_key_holds_and_no_other():
    proof = KEY.sign(relay_proof_bytes(CHALLENGE))
    assert holds_relay_proof(PUBLIC, CHALLENGE, proof)
    assert not holds_relay_proof(PUBLIC, bytes(16), proof)
    assert not holds_relay_proof(PUBLIC, CHALLENGE, KEY.sign(CHALLENGE))
    assert not holds_relay_proof(bytes(32), CHALLENGE, proof)
    assert not holds_relay_proof(PUBLIC, CHALLENGE, b"short")
    assert not holds_relay_proof(b"short", CHALLENGE, proof)
