"""Ed25519: keys that sign, and the one way to check a signature.

Knows: Ed25519, the label that goes before every signed blob. Must not know: what the blob says.

The signed message is `b"backuppeer/v1/" ‖ purpose ‖ 0x00 ‖ blob`. No purpose contains a zero byte, so a message has one
reading only, and a signature made for one purpose can never be shown for another.
"""

from enum import Enum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from backuppeer.crypto.digest import Buffer
from backuppeer.errors import AuthenticationFault, LocalError

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_PREFIX: Final = b"backuppeer/v1/"
_FIELD: Final = 2**255 - 19
_SIGN_MASK: Final = (1 << 255) - 1
# y coordinates of the eight points whose order divides 8: 1 is the identity, p - 1 has order 2, 0 order 4, the last two
# order 8. The tests derive them from the curve equation (RFC 8032).
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)


class Purpose(bytes, Enum):
    """What a signature is for; the value stands in the signed message."""

    WRITER_GRANT = b"writer-grant"
    AGREEMENT = b"agreement"
    HEAD = b"head"
    HEAD_RECEIPT = b"head-receipt"
    PACK_DELETE = b"pack-delete"
    PACK_REVIVE = b"pack-revive"
    PACK_WITHDRAW = b"pack-withdraw"
    STORE_ACK = b"store-ack"
    AUDIT_CHALLENGE = b"audit-challenge"
    AUDIT_ANSWER = b"audit-answer"
    LOSS_REPORT = b"loss-report"
    HEAD_HELD = b"head-held"
    NOTICE = b"notice"
    LOCK_WAIVER = b"lock-waiver"
    PURGE_WAIVER = b"purge-waiver"
    END_WAIVER = b"end-waiver"
    SUCCESSION = b"succession"
    RECOVERY_SLOT = b"recovery-slot"
    RECEIPT = b"receipt"
    GAP_NOTE = b"gap-note"
    VOUCH = b"vouch"
    LISTING = b"listing"
    KNOCK = b"knock"
    KNOCK_REPLY = b"knock-reply"
    INBOX = b"inbox"
    INVITE_CARD = b"invite-card"
    SPOKEN = b"spoken"
    RECOVERY_NOTE = b"recovery-note"
    RECOVERY_DEPOSIT = b"recovery-deposit"
    RECOVERY_INBOX = b"recovery-inbox"
    SESSION_DIALLER = b"session-dialler"
    SESSION_ACCEPTOR = b"session-acceptor"
    TRANSPORT = b"transport"


class SigningKey:
    """An Ed25519 key pair. Its representation shows nothing of the secret."""

    __slots__ = ("_private", "_public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._public = private.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> "SigningKey":
        """Return the key of a 32-byte seed (RFC 8032).

        Raises:
            LocalError: the seed has not 32 bytes.

        """
        if len(seed) != SEED_BYTES:
            raise LocalError(f"a signing seed has {SEED_BYTES} bytes, not {len(seed)}")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def generate(cls) -> "SigningKey":
        """Return a new random key."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._public

    def seed(self) -> bytes:
        """Return the 32-byte seed: the secret itself, for the home's key file only."""
        return self._private.private_bytes_raw()

    def sign(self, purpose: Purpose, blob: Buffer) -> bytes:
        """Return the 64-byte signature of `blob` for a purpose."""
        return self._private.sign(_message(purpose, blob))

    def __repr__(self) -> str:
        return f"<SigningKey of {self._public.hex()}>"

    def __reduce__(self) -> str:
        # A key that pickles by accident lands in a job queue or a crash dump.
        raise LocalError("a signing key does not pickle")


def verify_signature(public: bytes, purpose: Purpose, blob: Buffer, signature: bytes) -> None:
    """Check the 64-byte signature of `blob` under a 32-byte public key.

    Raises:
        AuthenticationFault: it does not hold, or key or signature are malformed.

    """
    if len(signature) != SIGNATURE_BYTES:
        raise AuthenticationFault(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    key = _load_public(public)
    try:
        key.verify(signature, _message(purpose, blob))
    except InvalidSignature as exc:
        raise AuthenticationFault(f"a signature for {purpose.decode()} does not hold") from exc


def _load_public(public: bytes) -> Ed25519PublicKey:
    if len(public) != PUBLIC_BYTES:
        raise AuthenticationFault(f"a public key has {PUBLIC_BYTES} bytes, not {len(public)}")
    y = int.from_bytes(public, "little") & _SIGN_MASK
    # Under a point of small order one signature holds for many messages, so its "owner" could deny or swap what it
    # signed; and y >= p is a second spelling of another key. OpenSSL accepts both.
    if y >= _FIELD or y in _SMALL_ORDER:
        raise AuthenticationFault("a public key is not a proper Ed25519 point")
    try:
        return Ed25519PublicKey.from_public_bytes(public)
    except ValueError as exc:
        raise AuthenticationFault("a public key is not a proper Ed25519 point") from exc


def _message(purpose: Purpose, blob: Buffer) -> bytes:
    return b"".join((_PREFIX, purpose, b"\0", blob))
