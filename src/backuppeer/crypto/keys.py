"""Which key comes from which: the one table of labels.

Knows: HKDF-SHA256, the labels, the tree of keys (DESIGN 3). Must not know: where secrets are kept, what a pack looks
like.

    master (24 words, never stored)
    ├─ authority                    Ed25519 seed; exists only while words are typed
    └─ working, generation g        what lies on disk
       ├─ identity                  Ed25519 seed; its public key is the peer id
       ├─ recovery slot, number     handed to one host
       │  └─ recovery inbox, quarter, server   Ed25519 seed; its public key is the inbox
       ├─ recovery note, number     HPKE private key that the notes of that slot are sealed to
       └─ repository, repository id
          ├─ blob id, kind          keyed BLAKE3
          ├─ chunker                seed of FastCDC
          └─ pack, suite, version, salt   AEAD key of one copy of one pack

    custody                         not of the tree: AEAD key under which a secret lies in a file (`custody`)
    invite name, inbox, card, proof not of the tree: of an invite's own secret (`invitation`)

Each arrow is HKDF-SHA256(ikm = parent, salt, info = label ‖ 0x00 ‖ context), 32 bytes unless said. No label contains a
zero byte, so `info` has one reading only.
"""

import hmac
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backuppeer.crypto.digest import Buffer, hash_keyed
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import LocalError
from backuppeer.ids import BlobId, RepositoryId

MASTER_BYTES: Final = 32
SECRET_BYTES: Final = 32
SALT_BYTES: Final = 32
REPOSITORY_ID_BYTES: Final = 16
BLOB_KINDS: Final = (1, 2, 3, 4)
_GENERATION_BYTES: Final = 4
_U8: Final = 0xFF
_U32: Final = 0xFFFF_FFFF
_HKDF_LIMIT: Final = 255 * 32  # RFC 5869: 255 blocks


class Label(bytes, Enum):
    """Every purpose a key is derived for. A label is never reused or changed; a new meaning takes a new label."""

    AUTHORITY = b"backuppeer/v1/authority"
    WORKING = b"backuppeer/v1/working"
    IDENTITY = b"backuppeer/v1/identity"
    REPOSITORY = b"backuppeer/v1/repository"
    BLOB_ID = b"backuppeer/v1/blob-id"
    CHUNKER = b"backuppeer/v1/chunker"
    PACK = b"backuppeer/v1/pack"
    CUSTODY = b"backuppeer/v1/custody"
    RECOVERY_SLOT = b"backuppeer/v1/recovery-slot"
    RECOVERY_NOTE = b"backuppeer/v1/recovery-note"
    RECOVERY_INBOX = b"backuppeer/v1/recovery-inbox"
    INVITE_NAME = b"backuppeer/v1/invite-name"
    INVITE_INBOX = b"backuppeer/v1/invite-inbox"
    INVITE_CARD = b"backuppeer/v1/invite-card"
    INVITE_PROOF = b"backuppeer/v1/invite-proof"


def derive_key(secret: bytes, label: Label, *, context: bytes = b"", salt: bytes = b"", length: int = 32) -> bytes:
    """Return `length` bytes of HKDF-SHA256(secret, salt, label ‖ 0x00 ‖ context).

    An empty salt is RFC 5869's default, 32 zero bytes.

    Raises:
        LocalError: the secret is shorter than 32 bytes, or the length is not 1..8160.

    """
    if len(secret) < SECRET_BYTES:
        raise LocalError(f"a secret has at least {SECRET_BYTES} bytes, not {len(secret)}")
    if not 0 < length <= _HKDF_LIMIT:
        raise LocalError(f"can't derive {length} bytes")
    info = bytes(label) + b"\0" + context
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


@dataclass(frozen=True, slots=True, eq=False)
class WorkingSecret:
    """The secret of one generation: what lies on disk. secret: 32 bytes."""

    secret: bytes = field(repr=False)
    generation: int

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise LocalError(f"a working secret has {SECRET_BYTES} bytes, not {len(self.secret)}")
        _check_range("generation", self.generation, _U32)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WorkingSecret):
            return NotImplemented
        # Constant time: how many bytes agree must not show in how long this takes.
        return hmac.compare_digest(self.secret, other.secret) and self.generation == other.generation

    def __hash__(self) -> int:
        return hash(self.generation)


def derive_authority(master: bytes) -> SigningKey:
    """Return the authority key of a 32-byte master.

    Raises:
        LocalError: the master has not 32 bytes.

    """
    return SigningKey.from_seed(derive_key(_checked_master(master), Label.AUTHORITY))


def derive_working(master: bytes, generation: int) -> WorkingSecret:
    """Return the working secret of a generation; context: u32be(generation).

    Raises:
        LocalError: the master has not 32 bytes, or the generation is not a u32.

    """
    _check_range("generation", generation, _U32)
    secret = derive_key(_checked_master(master), Label.WORKING, context=generation.to_bytes(4, "big"))
    return WorkingSecret(secret, generation)


def derive_identity(working: WorkingSecret) -> SigningKey:
    """Return the identity key of a generation; its public key is the peer id."""
    return SigningKey.from_seed(derive_key(working.secret, Label.IDENTITY))


@dataclass(frozen=True, slots=True, eq=False)
class RepositoryKeys:
    """All keys of one repository in one generation. Safe to share between threads: it never changes."""

    repository: RepositoryId
    generation: int
    _secret: bytes = field(repr=False)
    # Derived once here: a blob id is asked for each chunk, and HKDF would cost more than hashing a small file.
    _blob_keys: dict[int, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        keys = {kind: derive_key(self._secret, Label.BLOB_ID, context=bytes([kind])) for kind in BLOB_KINDS}
        object.__setattr__(self, "_blob_keys", keys)

    def blob_id(self, kind: int, data: Buffer) -> BlobId:
        """Return the 32-byte id of a blob's plaintext: keyed BLAKE3 under the key of its kind (1..4).

        Raises:
            LocalError: there is no such kind.

        """
        key = self._blob_keys.get(kind)
        if key is None:
            raise LocalError(f"there is no blob kind {kind}")
        return BlobId(hash_keyed(key, data))

    @property
    def chunker_seed(self) -> int:
        """The seed of FastCDC: u64be, never 0 (0 means "unseeded" to chunkers; it is replaced by 1)."""
        return int.from_bytes(derive_key(self._secret, Label.CHUNKER, length=8), "big") or 1

    def pack_key(self, suite: int, version: int, salt: bytes) -> bytes:
        """Return the 32-byte AEAD key of one copy of a pack; salt: 32 fresh random bytes.

        A fresh salt per copy is what makes slot counters safe as nonces: no two copies ever share a key (DESIGN 4).
        Suite and version are part of it, so that the same key never serves two ciphers.

        Raises:
            LocalError: the salt has not 32 bytes, or suite or version are not bytes.

        """
        if len(salt) != SALT_BYTES:
            raise LocalError(f"the salt of a pack has {SALT_BYTES} bytes, not {len(salt)}")
        _check_range("suite", suite, _U8)
        _check_range("version", version, _U8)
        return derive_key(self._secret, Label.PACK, salt=salt, context=bytes([suite, version]))

    def export(self) -> bytes:
        """Return what `from_export` takes, the secret included: only for a pipe to a process of the same agent."""
        return b"".join((self.repository, self.generation.to_bytes(_GENERATION_BYTES, "big"), self._secret))

    @classmethod
    def from_export(cls, exported: bytes) -> "RepositoryKeys":
        """Return the keys that another process exported.

        Raises:
            LocalError: it has another length.

        """
        if len(exported) != REPOSITORY_ID_BYTES + _GENERATION_BYTES + SECRET_BYTES:
            raise LocalError(f"exported keys of {len(exported)} bytes")
        end = REPOSITORY_ID_BYTES + _GENERATION_BYTES
        generation = int.from_bytes(exported[REPOSITORY_ID_BYTES:end], "big")
        return cls(RepositoryId(exported[:REPOSITORY_ID_BYTES]), generation, exported[end:])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RepositoryKeys):
            return NotImplemented
        # Constant time, as above.
        same = hmac.compare_digest(self._secret, other._secret)
        return same and (self.repository, self.generation) == (other.repository, other.generation)

    def __hash__(self) -> int:
        return hash((self.repository, self.generation))


def derive_repository_keys(working: WorkingSecret, repository: RepositoryId) -> RepositoryKeys:
    """Return the keys of a repository (16-byte id) in the generation of `working`.

    Raises:
        LocalError: the repository id has not 16 bytes.

    """
    if len(repository) != REPOSITORY_ID_BYTES:
        raise LocalError(f"a repository id has {REPOSITORY_ID_BYTES} bytes, not {len(repository)}")
    secret = derive_key(working.secret, Label.REPOSITORY, context=repository)
    return RepositoryKeys(repository, working.generation, secret)


def _checked_master(master: bytes) -> bytes:
    if len(master) != MASTER_BYTES:
        raise LocalError(f"a master secret has {MASTER_BYTES} bytes, not {len(master)}")
    return master


def _check_range(name: str, value: int, most: int) -> None:
    if not 0 <= value <= most:
        raise LocalError(f"{name} {value} is not in 0..{most}")
