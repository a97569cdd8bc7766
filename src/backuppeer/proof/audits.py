"""An audit: the owner asks for ranges of packs, the host shows them and signs what it showed.

Knows: challenge and answer, what each is bound to (ADR 36). Must not know: stores, sessions, which leaves to ask for,
what anybody concludes (`misbehaviour` does). No IO.

    challenge  agreement ‖ revision ‖ head that the host holds ‖ samples ‖ nonce
    answer     hash of the challenge ‖ for each sample one hash over all that is shown: length, path, leaves

So an answer holds for one owner, revision, head, pack and range, and once. An old challenge is of an old head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from backuppeer.crypto.digest import Buffer, Domain, hash_bytes
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.ids import StoredId
from backuppeer.limits import AUDIT_SAMPLE_LEAVES, AUDIT_SAMPLES
from backuppeer.proof.custody import Bound, Nonce, Standing, UponHead, open_bound
from backuppeer.proof.merkle import count_leaves, hash_leaves, verify_range
from backuppeer.proof.statements import (
    ZERO_HASH,
    Count,
    Extensions,
    Hash,
    open_statement,
    sign_statement,
    statement_hash,
)

UNANSWERED: Final = ZERO_HASH
"""In an answer: this sample is not answered. No evidence of anything."""


class Sample(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A range that is asked for: `leaves` leaves of 16 KiB of the copy `stored`, from `first_leaf` on."""

    stored: Annotated[StoredId, Meta(min_length=32, max_length=32)]
    first_leaf: Count
    leaves: Annotated[int, Meta(ge=1, le=AUDIT_SAMPLE_LEAVES)]


class AuditChallenge(UponHead, frozen=True, kw_only=True, tag="audit-challenge"):
    """Show me these ranges; the head is one that the host countersigned, and holds. Signed by the owner."""

    purpose: ClassVar[Purpose] = Purpose.AUDIT_CHALLENGE

    samples: Annotated[list[Sample], Meta(min_length=1, max_length=AUDIT_SAMPLES)]
    nonce: Nonce
    time_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it

    def find_fault(self) -> str:
        """Return what is wrong with the head that is named: without one nothing is proven."""
        return UponHead.find_fault(self) if self.number else "it names no head"


class AuditAnswer(Bound, frozen=True, kw_only=True, tag="audit-answer"):
    """What I showed for these samples are the bytes of those packs; signed by the host.

    challenge: `statement_hash` of it. answers: `hash_shown` for each sample in its order, or UNANSWERED.
    """

    purpose: ClassVar[Purpose] = Purpose.AUDIT_ANSWER

    challenge: Hash
    answers: Annotated[list[Hash], Meta(min_length=1, max_length=AUDIT_SAMPLES)]
    time_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it


@dataclass(frozen=True, slots=True)
class Shown:
    """What a host shows for one sample. length: bytes of the whole copy; data: whole leaves; path: `find_path`."""

    length: int
    data: Buffer
    path: tuple[bytes, ...]


def sign_challenge(
    samples: Sequence[Sample], identity: SigningKey, *, standing: Standing, nonce: bytes, time_ms: int
) -> bytes:
    """Return the owner's signed challenge of 1 to AUDIT_SAMPLES samples; nonce: 16 fresh random bytes.

    Raises:
        LocalError: none or too many samples, no head, or a malformed one.

    """
    said = AuditChallenge(
        agreement=standing.agreement,
        terms=standing.terms,
        head_hash=standing.head_hash,
        number=standing.number,
        samples=list(samples),
        # Its own for each challenge, so that each has its own hash: an answer to one answers no other.
        nonce=nonce,
        time_ms=time_ms,
    )
    return sign_statement(said, identity)


def open_challenge(signed: Buffer, *, owner: bytes, standing: Standing) -> AuditChallenge:
    """Return a challenge, having checked that it is `owner`'s and of this very revision and head.

    Raises:
        AuthenticationFault: another signer.
        ProtocolViolation: malformed, or of another agreement, revision or head.

    """
    said = open_bound(AuditChallenge, signed, owner, agreement=standing.agreement)
    # The head of this moment: so the order of challenge, deletes and heads is known without a clock.
    if said.standing != standing:
        raise ProtocolViolation("a challenge names another revision or head than the ones in force")
    return said


def sign_answer(
    challenge: Buffer,
    shown: Sequence[Shown | None],
    identity: SigningKey,
    *,
    owner: bytes,
    standing: Standing,
    time_ms: int,
) -> bytes:
    """Return the host's signed answer: what it shows for each sample in order, None for what it does not answer.

    It never signs what is not true: a host whose disk damaged a pack reports the loss, and answers None here.

    Raises:
        AuthenticationFault, ProtocolViolation: as `open_challenge`.
        IntegrityFault: what is shown is not what the sample asks for.
        LocalError: not one for each sample.

    """
    said = open_challenge(challenge, owner=owner, standing=standing)
    if len(shown) != len(said.samples):
        raise LocalError(f"{len(shown)} answers to {len(said.samples)} samples")
    for sample, one in zip(said.samples, shown, strict=True):
        if one is not None:
            check_shown(sample, one)
    answer = AuditAnswer(
        agreement=said.agreement,
        terms=said.terms,
        challenge=statement_hash(challenge),
        answers=[UNANSWERED if one is None else hash_shown(one) for one in shown],
        time_ms=time_ms,
    )
    return sign_statement(answer, identity)


def open_answer(signed: Buffer, challenge: Buffer, *, host: bytes, owner: bytes) -> tuple[AuditAnswer, AuditChallenge]:
    """Return answer and challenge, having checked both signatures, and that the one answers the other.

    Raises:
        AuthenticationFault: another signer.
        ProtocolViolation: malformed, or the answer to another challenge.

    """
    asked = open_statement(AuditChallenge, challenge, owner)
    said = open_bound(AuditAnswer, signed, host, agreement=asked.agreement)
    if (said.challenge, said.terms) != (statement_hash(challenge), asked.terms):
        raise ProtocolViolation("it answers another challenge")
    if len(said.answers) != len(asked.samples):
        raise ProtocolViolation(f"{len(said.answers)} answers to {len(asked.samples)} samples")
    return said, asked


def hash_shown(shown: Shown) -> bytes:
    """Return the 32-byte hash of all that is shown for a sample: length, path and bytes.

    The path is part of it. Were it not signed, an owner could put a wrong one beside right bytes, and accuse.
    """
    path = b"".join(shown.path)
    counts = shown.length.to_bytes(8, "big") + len(path).to_bytes(8, "big")
    return hash_bytes(Domain.SHOWN, counts + path + hash_leaves(shown.data))


def check_shown(sample: Sample, shown: Shown) -> None:
    """Check that what is shown are the bytes that the sample asks for.

    Raises:
        IntegrityFault: they are no part of that pack, or it has another length.
        ProtocolViolation: they are, but fewer or more leaves than were asked for.

    """
    verify_range(StoredId(sample.stored), shown.length, sample.first_leaf, shown.data, shown.path)
    if count_leaves(len(shown.data)) != sample.leaves:
        raise ProtocolViolation("it shows another number of leaves than it was asked for")
