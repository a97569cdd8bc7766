"""What a host signs about what it keeps: packs acknowledged, packs lost, and which head it holds.

Knows: the three statements, what each is bound to (ADR 36). Must not know: stores, sessions, what anybody concludes
(`misbehaviour` does). No IO.

Each names the agreement *and* the hash of its revision in force, hence owner, host, authority and repository: a word
given to one can't be shown for another, even if an id were used twice. Order never rests on clocks, which jump: it is
told by the number of the head that the host holds, and by hashes of what was there before. So `head-held` names a
countersignature *with* its signature, which nobody can name before it was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, TypeVar

from msgspec import Meta

from backuppeer.crypto.digest import Buffer, Domain, hash_bytes
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.ids import AgreementId, StoredId
from backuppeer.limits import ACK_PACKS
from backuppeer.proof.merkle import root_of_set
from backuppeer.proof.statements import ZERO_HASH, Count, Extensions, Hash, Statement, open_statement, sign_statement

Nonce = Annotated[bytes, Meta(min_length=16, max_length=16)]
PackCount = Annotated[int, Meta(ge=1, le=ACK_PACKS)]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where something is said: under which revision of which agreement, upon which head that the host holds.

    terms: `statement_hash` of the revision in force. head_hash, number: as `removals`; (ZERO_HASH, 0) without a head.
    """

    agreement: AgreementId
    terms: bytes
    head_hash: bytes
    number: int


class Bound(Statement, frozen=True, kw_only=True):
    """Base of all: the agreement, and the hash of its revision in force."""

    agreement: Annotated[AgreementId, Meta(min_length=16, max_length=16)]
    terms: Hash


class UponHead(Bound, frozen=True, kw_only=True):
    """Base of those that name the head that the host holds; without one, hash and number are zero."""

    head_hash: Hash
    number: Count

    def find_fault(self) -> str:
        """Return what is wrong with the head that is named."""
        fits = (self.number == 0) == (self.head_hash == ZERO_HASH)
        return "" if fits else f"it names head {self.number} by a hash that is not its own"

    @property
    def standing(self) -> Standing:
        """Where it was said."""
        return Standing(self.agreement, self.terms, self.head_hash, self.number)


class StoreAck(UponHead, frozen=True, kw_only=True, tag="store-ack"):
    """The host keeps these packs, durably. packs, packs_root: as `removals.Removal`; signed by the host."""

    purpose: ClassVar[Purpose] = Purpose.STORE_ACK

    packs: PackCount
    packs_root: Hash
    time_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it


class LossCause(StrEnum):
    """Why a host has not what it acknowledged."""

    MISSING = "missing"
    DAMAGED = "damaged"
    STORE = "store"
    """All of a disk."""


class LossReport(UponHead, frozen=True, kw_only=True, tag="loss-report"):
    """The host had these packs and has them no more, though it should; signed by the host."""

    purpose: ClassVar[Purpose] = Purpose.LOSS_REPORT

    packs: PackCount
    packs_root: Hash
    cause: LossCause
    time_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it


class HeadHeld(UponHead, frozen=True, kw_only=True, tag="head-held"):
    """Having been shown a countersignature of mine, I say which head I hold now; signed by the host.

    receipt: `hash_signed` of that countersignature, zero if none was shown. nonce: of the one who asks.
    """

    purpose: ClassVar[Purpose] = Purpose.HEAD_HELD

    receipt: Hash
    nonce: Nonce
    time_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it


P = TypeVar("P", StoreAck, LossReport)
B = TypeVar("B", bound=Bound)


def sign_ack(packs: Sequence[StoredId], identity: SigningKey, *, standing: Standing, time_ms: int) -> bytes:
    """Return the host's signed word that it keeps 1 to ACK_PACKS different packs.

    Raises:
        LocalError: none or too many packs, or one twice.

    """
    said = StoreAck(
        agreement=standing.agreement,
        terms=standing.terms,
        head_hash=standing.head_hash,
        number=standing.number,
        packs=len(packs),
        packs_root=root_of_set(packs),
        time_ms=time_ms,
    )
    return _sign_packs(said, packs, identity)


def sign_loss(
    packs: Sequence[StoredId], identity: SigningKey, *, standing: Standing, cause: LossCause, time_ms: int
) -> bytes:
    """Return the host's signed word that it lost 1 to ACK_PACKS different packs.

    Raises:
        LocalError: none or too many packs, or one twice.

    """
    said = LossReport(
        agreement=standing.agreement,
        terms=standing.terms,
        head_hash=standing.head_hash,
        number=standing.number,
        packs=len(packs),
        packs_root=root_of_set(packs),
        cause=cause,
        time_ms=time_ms,
    )
    return _sign_packs(said, packs, identity)


def open_packs(kind: type[P], signed: Buffer, packs: Sequence[StoredId], *, host: bytes, agreement: AgreementId) -> P:
    """Return an acknowledgement or loss report, having checked that it is `host`'s and about exactly these packs.

    Whoever gets one from a host compares its `standing` with the revision and the head that it knows the host to have.

    Raises:
        AuthenticationFault: another signer.
        ProtocolViolation: malformed, of another agreement, or about other packs.

    """
    said = open_bound(kind, signed, host, agreement=agreement)
    if len(packs) != said.packs or len(set(packs)) != len(packs) or root_of_set(packs) != said.packs_root:
        raise ProtocolViolation("it comes with other packs than it was signed for")
    return said


def sign_held(identity: SigningKey, *, standing: Standing, receipt: bytes, nonce: bytes, time_ms: int) -> bytes:
    """Return the host's signed word on which head it holds, to one who showed `receipt` (whole, b"" for none).

    Raises:
        LocalError: a malformed head or nonce.

    """
    said = HeadHeld(
        agreement=standing.agreement,
        terms=standing.terms,
        head_hash=standing.head_hash,
        number=standing.number,
        receipt=hash_signed(receipt) if receipt else ZERO_HASH,
        nonce=nonce,
        time_ms=time_ms,
    )
    return sign_statement(said, identity)


def hash_signed(signed: Buffer) -> bytes:
    """Return the 32-byte hash of a statement with its signatures: nobody but the signer knows it beforehand."""
    return hash_bytes(Domain.SIGNED, signed)


def open_bound(kind: type[B], signed: Buffer, signer: bytes, *, agreement: AgreementId) -> B:
    """Return a statement of one signer, having checked that it is of this agreement.

    Raises:
        AuthenticationFault: another signer.
        ProtocolViolation: malformed, or of another agreement.

    """
    said = open_statement(kind, signed, signer)
    if said.agreement != agreement:
        raise ProtocolViolation("it is of another agreement")
    return said


def _sign_packs(said: StoreAck | LossReport, packs: Sequence[StoredId], identity: SigningKey) -> bytes:
    if len(set(packs)) != len(packs):
        raise LocalError("a pack is named twice")
    return sign_statement(said, identity)
