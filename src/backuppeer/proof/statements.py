"""Signed things that outlive a session.

Knows: the kinds of statements, their one encoding, who signs which. Must not know: sessions, files, what anybody
concludes from a statement. No IO.

    signed = u32be(length of blob) ‖ blob ‖ k signatures of 64 bytes; k is fixed by the kind
    blob   = msgpack map: "kind", then the fields in the order of the class, then "v", last "ext"

A statement is kept, sent and checked as those bytes and never encoded anew. A blob is refused unless it is the one
encoding of what it says (order of fields, shortest integers, no repeated key): two readers can't see two meanings, and
`statement_hash` names one statement only. An unknown version, or a field outside `ext`, is refused by name.
"""

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, TypeVar

import msgspec
from msgspec import Meta

from backuppeer.crypto.digest import Buffer, Domain, hash_bytes
from backuppeer.crypto.identity import SIGNATURE_BYTES, Purpose, SigningKey, verify_signature
from backuppeer.errors import AuthenticationFault, LocalError, ProtocolViolation
from backuppeer.ids import AgreementId, BlobId, DeviceId, PeerId, RepositoryId, TransportId
from backuppeer.limits import (
    ADDRESS_CHARS,
    PEER_ADDRESSES,
    STATEMENT_BYTES,
    STATEMENT_EXTENSION_CHARS,
    STATEMENT_EXTENSIONS,
)

VERSION: Final = 1
ZERO_HASH: Final = bytes(32)
_LENGTH_BYTES: Final = 4

_Id16 = Meta(min_length=16, max_length=16)
_Id32 = Meta(min_length=32, max_length=32)
# 63 bits: what SQLite and every language's signed integer can hold.
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Ordinal = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Permille = Annotated[int, Meta(ge=0, le=1000)]
Hash = Annotated[bytes, _Id32]
Public = Annotated[bytes, _Id32]
# Printable ASCII without blanks: an address is shown to people, and parsed where it is dialled.
Address = Annotated[str, Meta(pattern=rf"\A[!-~]{{1,{ADDRESS_CHARS}}}\Z")]
ExtName = Annotated[str, Meta(min_length=1, max_length=STATEMENT_EXTENSION_CHARS)]
Extensions = Annotated[dict[ExtName, bytes], Meta(max_length=STATEMENT_EXTENSIONS)]


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of all statements."""

    purpose: ClassVar[Purpose]
    signatures: ClassVar[int] = 1

    def signers(self) -> tuple[bytes | None, ...]:
        """Return who must sign, in order: the public key where the statement names it itself, else None."""
        return (None,) * self.signatures

    def find_fault(self) -> str:
        """Return what contradicts itself between the fields, "" if nothing does."""
        return ""


S = TypeVar("S", bound=Statement)


class WriterGrant(Statement, frozen=True, tag="writer-grant"):
    """The authority's word on who may write a repository: the device of the highest epoch (DESIGN 3)."""

    purpose: ClassVar[Purpose] = Purpose.WRITER_GRANT

    repository: Annotated[RepositoryId, _Id16]
    epoch: Ordinal
    device: Annotated[DeviceId, _Id32]
    time_ms: Count
    v: int = VERSION
    ext: Extensions = {}


class Agreement(Statement, frozen=True, tag="agreement"):
    """One revision of what owner and host agreed on; signed by the owner's identity, then by the host's.

    previous: hash of the revision before, zero for revision 1. availability: permille. lock_s: time from a request to
    delete until erasure.
    """

    purpose: ClassVar[Purpose] = Purpose.AGREEMENT
    signatures: ClassVar[int] = 2

    agreement: Annotated[AgreementId, _Id16]
    revision: Ordinal
    previous: Hash
    owner: Annotated[PeerId, _Id32]
    host: Annotated[PeerId, _Id32]
    authority: Public
    repository: Annotated[RepositoryId, _Id16]
    size_bytes: Count
    start_ms: Count
    term_s: Count
    lock_s: Count
    availability: Permille
    notice_s: Count
    v: int = VERSION
    ext: Extensions = {}

    def signers(self) -> tuple[bytes | None, ...]:
        """Return owner and host."""
        return (self.owner, self.host)

    def find_fault(self) -> str:
        """Return what is wrong with the place in the chain."""
        return _find_chain_fault("revision", self.revision, self.previous)


class Head(Statement, frozen=True, tag="head"):
    """The state of a repository: signed by the device that writes it.

    index: the blob that lists snapshots and packs; the roots are `merkle.root_of_set` over the live ones.
    """

    purpose: ClassVar[Purpose] = Purpose.HEAD

    repository: Annotated[RepositoryId, _Id16]
    epoch: Ordinal
    device: Annotated[DeviceId, _Id32]
    number: Ordinal
    previous: Hash
    index: Annotated[BlobId, _Id32]
    snapshots_root: Hash
    packs_root: Hash
    time_ms: Count
    v: int = VERSION
    ext: Extensions = {}

    def signers(self) -> tuple[bytes | None, ...]:
        """Return the device."""
        return (self.device,)

    def find_fault(self) -> str:
        """Return what is wrong with the place in the chain."""
        return _find_chain_fault("head", self.number, self.previous)


class HeadReceipt(Statement, frozen=True, tag="head-receipt"):
    """The host's word "I hold this head", signed by its identity. head_hash: `statement_hash` of the head."""

    purpose: ClassVar[Purpose] = Purpose.HEAD_RECEIPT

    agreement: Annotated[AgreementId, _Id16]
    head_hash: Hash
    number: Ordinal
    time_ms: Count
    v: int = VERSION
    ext: Extensions = {}


class TransportBinding(Statement, frozen=True, tag="transport-binding"):
    """A peer's word on its transport id and addresses (`ip:port`), signed by its identity; the later time wins."""

    purpose: ClassVar[Purpose] = Purpose.TRANSPORT

    peer: Annotated[PeerId, _Id32]
    transport: Annotated[TransportId, _Id32]
    addresses: Annotated[list[Address], Meta(max_length=PEER_ADDRESSES)]
    time_ms: Count
    v: int = VERSION
    ext: Extensions = {}

    def signers(self) -> tuple[bytes | None, ...]:
        """Return the peer."""
        return (self.peer,)


def sign_statement(statement: Statement, *keys: SigningKey) -> bytes:
    """Return the signed bytes of a statement; fewer keys than the kind asks for make a proposal (`add_signature`).

    Raises:
        LocalError: the statement breaks its own rules, no or too many keys, or not the keys of those it names.

    """
    blob = msgspec.msgpack.encode(statement)
    try:
        _decode(type(statement), blob)
    except ProtocolViolation as exc:
        raise LocalError(f"refused to sign: {exc.message}") from exc
    if not 0 < len(keys) <= statement.signatures:
        raise LocalError(f"{len(keys)} keys for a statement with {statement.signatures} signatures")
    signed = len(blob).to_bytes(_LENGTH_BYTES, "big") + blob
    for signer, key in zip(statement.signers(), keys, strict=False):
        _check_signer(signer, key)
        signed += key.sign(statement.purpose, blob)
    return signed


def add_signature(signed: Buffer, kind: type[S], key: SigningKey) -> bytes:
    """Return a proposal with the next signature added; the earlier ones are *not* checked (`open_proposal` does).

    Raises:
        ProtocolViolation: it is no statement of this kind.
        LocalError: it has all its signatures, or the key is not that of the one it names.

    """
    blob, signatures = _split_signed(kind, signed)
    if len(signatures) >= kind.signatures:
        raise LocalError("the statement has all its signatures")
    _check_signer(_decode(kind, blob).signers()[len(signatures)], key)
    return bytes(signed) + key.sign(kind.purpose, blob)


def open_statement(kind: type[S], signed: Buffer, *publics: bytes) -> S:
    """Return a statement, having checked all its signatures under `publics` (32 bytes each, in the kind's order).

    Raises:
        AuthenticationFault: a signature is missing or wrong, or a key is not that of the one the statement names.
        ProtocolViolation: malformed, too long, of another kind or an unknown version, or with bytes left over.
        LocalError: not as many keys as the kind has signatures.

    """
    if len(publics) != kind.signatures:
        raise LocalError(f"{len(publics)} keys to check {kind.signatures} signatures")
    return _open(kind, signed, publics)


def open_proposal(kind: type[S], signed: Buffer, *publics: bytes) -> S:
    """Return a statement that lacks its last signatures, having checked those it has, one for each of `publics`.

    Raises:
        AuthenticationFault: as `open_statement`; also when it has another number of signatures than keys are given.
        ProtocolViolation: as `open_statement`.
        LocalError: no keys, or as many as would make it complete.

    """
    if not 0 < len(publics) < kind.signatures:
        raise LocalError(f"{len(publics)} keys to check a proposal")
    return _open(kind, signed, publics)


def is_newer(signed: Buffer) -> bool:
    """Say whether bytes claim to be a statement of a later version than this program reads; nothing is verified."""
    try:
        return msgspec.msgpack.decode(_take_blob(bytes(signed)), type=_Preface).v > VERSION
    except (ProtocolViolation, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def peek_statement(kind: type[S], signed: Buffer) -> S:
    """Return what a statement says WITHOUT checking a signature: only to learn which keys to check it with.

    Raises:
        ProtocolViolation: as `open_statement`.

    """
    return _decode(kind, _split_signed(kind, signed)[0])


def sign_beside(kind: type[Statement], signed: Buffer, key: SigningKey) -> bytes:
    """Return the signature (64 bytes) of one more key over a signed statement; it is kept beside the statement.

    Raises:
        ProtocolViolation: the length before the blob is wrong.

    """
    # The purpose is that of the statement: who signed is told by the key, and no key of ours signs for two roles.
    return key.sign(kind.purpose, _take_blob(bytes(signed)))


def check_beside(kind: type[Statement], signed: Buffer, signature: bytes, public: bytes) -> None:
    """Check what `sign_beside` returned, by the key `public` (32 bytes).

    Raises:
        AuthenticationFault: it does not hold.
        ProtocolViolation: as `sign_beside`.

    """
    verify_signature(public, kind.purpose, _take_blob(bytes(signed)), signature)


def statement_hash(signed: Buffer) -> bytes:
    """Return the 32-byte hash of a statement's blob, the same with whatever signatures.

    Raises:
        ProtocolViolation: the length before the blob is wrong.

    """
    return hash_bytes(Domain.STATEMENT, _take_blob(bytes(signed)))


def _open(kind: type[S], signed: Buffer, publics: Sequence[bytes]) -> S:
    blob, signatures = _split_signed(kind, signed)
    if len(signatures) != len(publics):
        raise AuthenticationFault(f"a statement has {len(signatures)} signatures, not {len(publics)}")
    statement = _decode(kind, blob)
    for named, public, signature in zip(statement.signers(), publics, signatures, strict=False):
        if named is not None and named != public:
            raise AuthenticationFault("a statement names another signer than the expected one")
        verify_signature(public, kind.purpose, blob, signature)
    return statement


def _take_blob(signed: bytes) -> bytes:
    length = int.from_bytes(signed[:_LENGTH_BYTES], "big")
    if not 0 < length <= STATEMENT_BYTES:
        raise ProtocolViolation(f"a statement of {length} bytes; allowed are 1 to {STATEMENT_BYTES}")
    blob = signed[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if len(blob) != length:
        raise ProtocolViolation("a statement is cut short")
    return blob


def _split_signed(kind: type[Statement], signed: Buffer) -> tuple[bytes, list[bytes]]:
    most = _LENGTH_BYTES + STATEMENT_BYTES + kind.signatures * SIGNATURE_BYTES
    if len(signed) > most:
        raise ProtocolViolation(f"a signed statement of {len(signed)} bytes; allowed are {most}")
    octets = bytes(signed)
    blob = _take_blob(octets)
    rest = octets[_LENGTH_BYTES + len(blob) :]
    if len(rest) % SIGNATURE_BYTES or len(rest) > kind.signatures * SIGNATURE_BYTES:
        raise ProtocolViolation(f"{len(rest)} bytes after a statement are not its signatures")
    return blob, [rest[at : at + SIGNATURE_BYTES] for at in range(0, len(rest), SIGNATURE_BYTES)]


class _Preface(msgspec.Struct):
    """The two fields that every version has."""

    kind: str
    v: int


def _decode(kind: type[S], blob: bytes) -> S:
    if len(blob) > STATEMENT_BYTES:
        raise ProtocolViolation(f"a statement of {len(blob)} bytes; allowed are {STATEMENT_BYTES}")
    name = kind.__struct_config__.tag
    try:
        preface = msgspec.msgpack.decode(blob, type=_Preface)
        if preface.kind != name:
            raise ProtocolViolation(f"a statement of kind {preface.kind[:32]!r} where {name!r} is expected")
        if preface.v != VERSION:
            raise ProtocolViolation(
                f"version {preface.v} of {name} is unknown", hint="the other side may run a newer backup-peer"
            )
        statement = msgspec.msgpack.decode(blob, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        # RecursionError: msgspec raises it for arrays nested some thousand deep, which fit into a blob.
        raise ProtocolViolation(f"malformed {name}: {_first_line(exc)}") from exc
    # Compared, not kept: what is stored and hashed stays the blob that came.
    if msgspec.msgpack.encode(statement) != blob:
        raise ProtocolViolation(f"malformed {name}: not its one encoding")
    fault = statement.find_fault()
    if fault:
        raise ProtocolViolation(f"malformed {name}: {fault}")
    return statement


def _first_line(exc: Exception) -> str:
    # The text can hold names of fields that a peer made up: printable ASCII only, and short.
    return re.sub(r"[^ -~]", "?", str(exc))[:120]


def _find_chain_fault(what: str, number: int, previous: bytes) -> str:
    fits = (number == 1) == (previous == ZERO_HASH)
    return "" if fits else f"{what} {number} does not name the one before it"


def _check_signer(named: bytes | None, key: SigningKey) -> None:
    if named is not None and named != key.public:
        raise LocalError("refused to sign: the statement names another signer")
