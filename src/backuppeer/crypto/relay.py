"""The one signature that iroh's relay protocol asks for: a client's proof that it holds its transport key.

Knows: what iroh signs (FACTS, "Relay protocol"). Must not know: connections, who is admitted. It is not one of our own
signatures (`crypto.identity`): iroh's client makes it with the transport key, over a hash in a domain of its own.
"""

from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_CONTEXT: Final = "iroh-relay handshake v1 challenge signature"


def relay_proof_bytes(challenge: bytes) -> bytes:
    """Return the 32 bytes that a client signs in answer to a 16-byte challenge."""
    return blake3(challenge, derive_key_context=_CONTEXT).digest()


def holds_relay_proof(public: bytes, challenge: bytes, signature: bytes) -> bool:
    """Say whether 64 bytes are the answer of the 32-byte key `public` to a challenge."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, relay_proof_bytes(challenge))
    except (InvalidSignature, ValueError):
        return False
    return True
