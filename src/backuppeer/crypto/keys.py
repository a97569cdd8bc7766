"""Which key comes from which: the one table of labels.

Knows: HKDF-SHA256, the labels, the tree of keys (DESIGN 3). Must not know: where secrets are kept, what a pack looks
like.

    master (24 words, never stored)
    ├─ authority                    Ed25519 seed; exists only while words are typed
    └─ working, generation g        what lies on disk
       ├─ identity                  Ed25519 seed; its public key is the peer id
       ├─ former                    AEAD key under which a home keeps the identities that it had before
       ├─ recovery slot, number     handed to one host
       │  └─ recovery inbox, quarter, server   Ed25519 seed; its public key is the inbox
       ├─ recovery note, number     HPKE private key that the notes of that slot are sealed to
       └─ repository, repository id
          ├─ blob id, kind          keyed BLAKE3
          ├─ chunker                seed of FastCDC
          └─ pack, suite, version, salt   AEAD key of one copy of one pack

    custody                         not of the tree: AEAD key under which a secret lies in a file (`custody`)
    invite name, inbox, card, proof not of the tree: of an invite's own secret (`invitation`)
    recognition tag, answer         not of the tree: of what two partners agreed on (`recognition`)

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
    FORMER = b"backuppeer/v1/former"
    RECOVERY_SLOT = b"backuppeer/v1/recovery-slot"
    RECOVERY_NOTE = b"backuppeer/v1/recovery-note"
    RECOVERY_INBOX = b"backuppeer/v1/recovery-inbox"
    INVITE_NAME = b"backuppeer/v1/invite-name"
    INVITE_INBOX = b"backuppeer/v1/invite-inbox"
    INVITE_CARD = b"backuppeer/v1/invite-card"
    INVITE_PROOF = b"backuppeer/v1/invite-proof"
    RECOGNITION_TAG = b"backuppeer/v1/recognition-tag"
    RECOGNITION_ANSWER = b"backuppeer/v1/recognition-answer"


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


@dataclass(frozen=True, slots=True)
class FormerSecrets:
    """What a home of a later generation keeps of those before: enough to read one repository, not to speak as they did.

    repository: 16-byte id. secrets: the repository's secret in generations 1, 2, …, 32 bytes each, at least one.
    """

    repository: RepositoryId
    secrets: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        _check_repository(self.repository)
        if not self.secrets or {len(secret) for secret in self.secrets} != {SECRET_BYTES}:
            raise LocalError(f"a repository's secrets have {SECRET_BYTES} bytes each")


@dataclass(frozen=True, slots=True, eq=False)
class WorkingSecret:
    """The secret of one generation: what lies on disk. secret: 32 bytes. former: None in the first generation."""

    secret: bytes = field(repr=False)
    generation: int
    former: FormerSecrets | None = None

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise LocalError(f"a working secret has {SECRET_BYTES} bytes, not {len(self.secret)}")
        _check_range("generation", self.generation, _U32)
        if self.former is not None and len(self.former.secrets) != self.generation - 1:
            raise LocalError(f"generation {self.generation} comes after {self.generation - 1}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WorkingSecret):
            return NotImplemented
        # Constant time: how many bytes agree must not show in how long this takes.
        return hmac.compare_digest(self._all(), other._all()) and self.generation == other.generation

    def _all(self) -> bytes:
        kept = () if self.former is None else (self.former.repository, *self.former.secrets)
        return b"".join((self.secret, *kept))

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


def derive_heir(master: bytes, generation: int, repository: RepositoryId) -> WorkingSecret:
    """Return the working secret of a generation with what it keeps of all before: a repository's secrets (ADR 69).

    Raises:
        LocalError: as `derive_working`, or the repository id has not 16 bytes.

    """
    _check_repository(repository)
    before = tuple(_derive_secret(derive_working(master, earlier), repository) for earlier in range(1, generation))
    working = derive_working(master, generation)
    return WorkingSecret(working.secret, generation, FormerSecrets(repository, before) if before else None)


def derive_identity(working: WorkingSecret) -> SigningKey:
    """Return the identity key of a generation; its public key is the peer id."""
    return SigningKey.from_seed(derive_key(working.secret, Label.IDENTITY))


def derive_former_key(working: WorkingSecret) -> bytes:
    """Return the 32-byte key under which a home of this generation keeps who it was before."""
    return derive_key(working.secret, Label.FORMER)


@dataclass(frozen=True, slots=True, eq=False)
class RepositoryKeys:
    """All keys of one repository: those of one generation, and what opens the packs of generations before.

    Blob ids and the chunker's seed stay those of the first generation, or nothing would be found to be there already
    after a succession; they protect nothing that pack keys don't. Safe to share between threads: it never changes.
    """

    repository: RepositoryId
    generation: int
    _secret: bytes = field(repr=False)
    _former: tuple[bytes, ...] = field(default=(), repr=False)
    # Derived once here: a blob id is asked for each chunk, and HKDF would cost more than hashing a small file.
    _blob_keys: dict[int, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        keys = {kind: derive_key(self._first, Label.BLOB_ID, context=bytes([kind])) for kind in BLOB_KINDS}
        object.__setattr__(self, "_blob_keys", keys)

    @property
    def _first(self) -> bytes:
        return self._former[0] if self._former else self._secret

    def may_open(self, repository: RepositoryId, generation: int) -> bool:
        """Return whether the packs of a repository and generation are ours to open."""
        is_known = generation == self.generation or 1 <= generation <= len(self._former)
        return repository == self.repository and is_known

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
        return int.from_bytes(derive_key(self._first, Label.CHUNKER, length=8), "big") or 1

    def pack_key(self, suite: int, version: int, salt: bytes, *, generation: int | None = None) -> bytes:
        """Return the 32-byte AEAD key of one copy of a pack; salt: 32 fresh random bytes.

        generation: that of the pack's header; without, the newest, under which all new copies are sealed.

        A fresh salt per copy is what makes slot counters safe as nonces: no two copies ever share a key (DESIGN 4).
        Suite and version are part of it, so that the same key never serves two ciphers.

        Raises:
            LocalError: the salt has not 32 bytes, suite or version are not bytes, or the generation is none of ours.

        """
        chosen = self.generation if generation is None else generation
        if not self.may_open(self.repository, chosen):
            raise LocalError(f"no keys of generation {chosen} are here")
        if len(salt) != SALT_BYTES:
            raise LocalError(f"the salt of a pack has {SALT_BYTES} bytes, not {len(salt)}")
        _check_range("suite", suite, _U8)
        _check_range("version", version, _U8)
        secret = self._secret if chosen == self.generation else self._former[chosen - 1]
        return derive_key(secret, Label.PACK, salt=salt, context=bytes([suite, version]))

    def export(self) -> bytes:
        """Return what `from_export` takes, the secret included: only for a pipe to a process of the same agent."""
        generation = self.generation.to_bytes(_GENERATION_BYTES, "big")
        return b"".join((self.repository, generation, self._secret, *self._former))

    @classmethod
    def from_export(cls, exported: bytes) -> "RepositoryKeys":
        """Return the keys that another process exported.

        Raises:
            LocalError: it has another length.

        """
        start = REPOSITORY_ID_BYTES + _GENERATION_BYTES
        if len(exported) <= start or (len(exported) - start) % SECRET_BYTES:
            raise LocalError(f"exported keys of {len(exported)} bytes")
        generation = int.from_bytes(exported[REPOSITORY_ID_BYTES:start], "big")
        secret, *former = (exported[at : at + SECRET_BYTES] for at in range(start, len(exported), SECRET_BYTES))
        return cls(RepositoryId(exported[:REPOSITORY_ID_BYTES]), generation, secret, tuple(former))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RepositoryKeys):
            return NotImplemented
        # Constant time, as above.
        same = hmac.compare_digest(self.export(), other.export())
        return same and (self.repository, self.generation) == (other.repository, other.generation)

    def __hash__(self) -> int:
        return hash((self.repository, self.generation))


def derive_repository_keys(working: WorkingSecret, repository: RepositoryId) -> RepositoryKeys:
    """Return the keys of a repository (16-byte id) in the generation of `working`, and in those before.

    Raises:
        LocalError: the repository id has not 16 bytes, or is not the one whose former secrets are kept.

    """
    _check_repository(repository)
    former = working.former
    if former is not None and former.repository != repository:
        raise LocalError("the secrets of generations before are of another repository")
    secret = _derive_secret(working, repository)
    return RepositoryKeys(repository, working.generation, secret, former.secrets if former is not None else ())


def _derive_secret(working: WorkingSecret, repository: RepositoryId) -> bytes:
    return derive_key(working.secret, Label.REPOSITORY, context=repository)


def _check_repository(repository: RepositoryId) -> None:
    if len(repository) != REPOSITORY_ID_BYTES:
        raise LocalError(f"a repository id has {REPOSITORY_ID_BYTES} bytes, not {len(repository)}")


def _checked_master(master: bytes) -> bytes:
    if len(master) != MASTER_BYTES:
        raise LocalError(f"a master secret has {MASTER_BYTES} bytes, not {len(master)}")
    return master


def _check_range(name: str, value: int, most: int) -> None:
    if not 0 <= value <= most:
        raise LocalError(f"{name} {value} is not in 0..{most}")
