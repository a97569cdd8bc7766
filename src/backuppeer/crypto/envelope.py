"""HPKE envelopes: bytes for the holder of one key, from nobody in particular.

Knows: HPKE base mode (RFC 9180) with MLKEM768-X25519, HKDF-SHA256, AES-256-GCM. Must not know: what is inside; who
sent it is signed inside, for base mode proves nothing about the sender.

public key (1216 bytes) = ML-KEM-768 encapsulation key, 1184 ‖ X25519, 32. private key (96 bytes) = ML-KEM seed d ‖ z,
64 ‖ X25519, 32. sealed = KEM ciphertext, 1120 ‖ AEAD ciphertext with its 16-byte tag. The hybrid holds as long as
either half does, so what is recorded today stays closed to a later quantum computer.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from backuppeer.errors import IntegrityFault, LocalError, ProtocolViolation

ENVELOPE_OVERHEAD_BYTES: Final = 1136
ENVELOPE_PUBLIC_BYTES: Final = 1216
ENVELOPE_PRIVATE_BYTES: Final = 96
_MLKEM_PUBLIC: Final = 1184
_MLKEM_SEED: Final = 64
_SUITE: Final = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class EnvelopeKey:
    """A key pair that envelopes are sealed to. Its representation shows nothing of the secret."""

    __slots__ = ("_mlkem", "_x25519")

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._mlkem = mlkem
        self._x25519 = x25519

    @classmethod
    def generate(cls) -> "EnvelopeKey":
        """Return a new random key."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, private: bytes) -> "EnvelopeKey":
        """Return the key that `private_bytes` wrote down, 96 bytes.

        Raises:
            LocalError: it has not 96 bytes.

        """
        if len(private) != ENVELOPE_PRIVATE_BYTES:
            raise LocalError(f"an envelope key has {ENVELOPE_PRIVATE_BYTES} bytes, not {len(private)}")
        mlkem = MLKEM768PrivateKey.from_seed_bytes(private[:_MLKEM_SEED])
        return cls(mlkem, X25519PrivateKey.from_private_bytes(private[_MLKEM_SEED:]))

    @property
    def public(self) -> bytes:
        """The public key, 1216 bytes."""
        return self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()

    def private_bytes(self) -> bytes:
        """Return the secret itself, 96 bytes, for the home's state only."""
        return self._mlkem.private_bytes_raw() + self._x25519.private_bytes_raw()

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Return what was sealed to this key with the same `info`.

        Raises:
            IntegrityFault: it was not, or was altered on the way.

        """
        private = hpke.MLKEM768X25519PrivateKey(self._mlkem, self._x25519)
        try:
            return _SUITE.decrypt(sealed, private, info)
        except InvalidTag as exc:
            # Also what the library raises for a KEM ciphertext that is too short or whose point has small order.
            raise IntegrityFault("an envelope is not sealed to this key, or was altered") from exc

    def __repr__(self) -> str:
        return "<EnvelopeKey>"

    def __reduce__(self) -> str:
        # A key that pickles by accident lands in a job queue or a crash dump.
        raise LocalError("an envelope key does not pickle")


def seal_envelope(public: bytes, plain: bytes, info: bytes) -> bytes:
    """Return `plain` sealed to a 1216-byte public key: 1136 bytes longer. Equal input never gives equal output.

    Raises:
        ProtocolViolation: the public key is malformed.

    """
    if len(public) != ENVELOPE_PUBLIC_BYTES:
        raise ProtocolViolation(f"an envelope's public key has {ENVELOPE_PUBLIC_BYTES} bytes, not {len(public)}")
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC])
        x25519 = X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC:])
        return _SUITE.encrypt(plain, hpke.MLKEM768X25519PublicKey(mlkem, x25519), info)
    except ValueError as exc:
        raise ProtocolViolation("an envelope's public key is malformed") from exc
