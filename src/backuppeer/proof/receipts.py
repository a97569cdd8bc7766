"""What a pair says of itself to others: a month that was kept, why one is missing, and a person's word (ADR 62).

Knows: the statements, how one receipt follows another. Must not know: ledgers, sessions, what a receipt is worth. Pure.

    month n of an agreement = [start + (n - 1) * 30 d, start + n * 30 d) of its revisions' `start_ms`
    owner:  Receipt ‖ signature                 "so much was kept for me at the end of month n, without a break since …"
    host:   the same ‖ signature ‖ signature    it says so, too: only then it weighs in full

A month without a receipt breaks the chain, unless both signed a GapNote about it: then one of the two was away, having
lost its home, and what was kept before counts on.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from backuppeer.clock import DAY_S
from backuppeer.crypto.digest import Buffer
from backuppeer.crypto.identity import SIGNATURE_BYTES, Purpose, SigningKey
from backuppeer.errors import ProtocolViolation
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import RECEIPT_GAP_MONTHS, RECEIPT_MOST_BYTES, VOUCH_TERM_S
from backuppeer.proof.statements import (
    ZERO_HASH,
    Agreement,
    Count,
    Extensions,
    Hash,
    Ordinal,
    Statement,
    open_proposal,
    open_statement,
    peek_statement,
    sign_statement,
    statement_hash,
)

MONTH_DAYS: Final = 30
MONTH_MS: Final = MONTH_DAYS * DAY_S * 1000
_Id16 = Meta(min_length=16, max_length=16)
_Id32 = Meta(min_length=32, max_length=32)


class Receipt(Statement, frozen=True, tag="receipt"):
    """One month of an agreement; signed by its owner, then by its host.

    number: of the month. previous: hash of the receipt before, zero where there is none. since_ms: when the unbroken
    row of months began that this one ends. size_bytes: kept at the end of the month. kept: false is a claim that the
    host failed, and never countersigned. private: the host must not show it.
    """

    purpose: ClassVar[Purpose] = Purpose.RECEIPT
    signatures: ClassVar[int] = 2

    agreement: Annotated[AgreementId, _Id16]
    owner: Annotated[PeerId, _Id32]
    host: Annotated[PeerId, _Id32]
    number: Ordinal
    previous: Hash
    since_ms: Count
    from_ms: Count
    until_ms: Count
    size_bytes: Count
    kept: bool
    private: bool
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it

    def signers(self) -> tuple[bytes | None, ...]:
        """Return owner and host."""
        return (self.owner, self.host)

    def find_fault(self) -> str:
        """Return what can't be: another month than 30 days, a row longer than its number, a size beyond all disks."""
        earlier_ms = self.from_ms - self.since_ms
        if self.owner == self.host:
            return "owner and host are one"
        if self.until_ms - self.from_ms != MONTH_MS:
            return "it is about another time than a month"
        if earlier_ms < 0 or earlier_ms % MONTH_MS or earlier_ms > (self.number - 1) * MONTH_MS:
            return f"no {self.number} months began then"
        if self.size_bytes > RECEIPT_MOST_BYTES:
            return "it is about more bytes than anybody keeps"
        is_first = self.previous == ZERO_HASH
        if (self.number == 1 and not is_first) or (is_first and earlier_ms):
            return f"receipt {self.number} does not name the one before it"
        return ""


class GapNote(Statement, frozen=True, tag="gap-note"):
    """Why months `first` to `last` of an agreement have no receipt; signed by who was away, then by the other side.

    by: owner or host: it lost its home and was recovered from its words.
    """

    purpose: ClassVar[Purpose] = Purpose.GAP_NOTE
    signatures: ClassVar[int] = 2

    agreement: Annotated[AgreementId, _Id16]
    by: Annotated[PeerId, _Id32]
    other: Annotated[PeerId, _Id32]
    first: Ordinal
    last: Ordinal
    reason: Literal["recovered"]
    time_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it

    def signers(self) -> tuple[bytes | None, ...]:
        """Return who was away, and the other."""
        return (self.by, self.other)

    def find_fault(self) -> str:
        """Return what is wrong with the months."""
        if self.by == self.other:
            return "both sides are one"
        return "" if 0 <= self.last - self.first < RECEIPT_GAP_MONTHS else "it explains no months, or too many"


class Vouch(Statement, frozen=True, tag="vouch"):
    """A person's word for a peer, without storage behind it. The last one counts; one that ends at once ends all."""

    purpose: ClassVar[Purpose] = Purpose.VOUCH

    voucher: Annotated[PeerId, _Id32]
    peer: Annotated[PeerId, _Id32]
    time_ms: Count
    until_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it

    def signers(self) -> tuple[bytes | None, ...]:
        """Return the voucher."""
        return (self.voucher,)

    def find_fault(self) -> str:
        """Return what is wrong with parties or times."""
        if self.voucher == self.peer:
            return "nobody vouches for itself"
        spans = 0 <= self.until_ms - self.time_ms <= VOUCH_TERM_S * 1000
        return "" if spans else "it ends before it begins, or more than a year later"


@dataclass(frozen=True, slots=True)
class Shown:
    """A receipt with its exact bytes. is_cosigned: the host signed it, too."""

    said: Receipt
    signed: bytes
    is_cosigned: bool

    @property
    def hash(self) -> bytes:
        """Of what was said, whoever has signed it yet: 32 bytes."""
        return statement_hash(self.signed)


def open_receipt(signed: Buffer) -> Shown:
    """Return a receipt, having checked every signature it has against the parties it names.

    Raises:
        AuthenticationFault: a signature is missing or does not hold.
        ProtocolViolation: malformed, or a claim of a failure that the host is made to have signed.

    """
    claimed = peek_statement(Receipt, signed)
    if is_cosigned := _count_signatures(signed) == Receipt.signatures:
        said = open_statement(Receipt, signed, claimed.owner, claimed.host)
    else:
        said = open_proposal(Receipt, signed, claimed.owner)
    if is_cosigned and not said.kept:
        raise ProtocolViolation("a host signs no claim that it failed")
    return Shown(said, bytes(signed), is_cosigned)


def open_vouch(signed: Buffer) -> Vouch:
    """Return a vouch, having checked its signature.

    Raises:
        AuthenticationFault: it does not hold.
        ProtocolViolation: malformed.

    """
    return open_statement(Vouch, signed, peek_statement(Vouch, signed).voucher)


def open_gap_note(signed: Buffer, terms: Agreement, before: Container[bytes] = ()) -> GapNote:
    """Return a note that both sides of an agreement signed; before: who was a side of it once (ADR 69).

    Raises:
        AuthenticationFault: a signature does not hold.
        ProtocolViolation: malformed, or of another agreement.

    """
    said = peek_statement(GapNote, signed)
    _check_gap_parties(said, terms, before)
    return open_statement(GapNote, signed, said.by, said.other)


def open_gap_proposal(signed: Buffer, terms: Agreement, by: PeerId) -> GapNote:
    """Return a note that lacks the other side's signature.

    Raises:
        AuthenticationFault: as `open_gap_note`.
        ProtocolViolation: as `open_gap_note`, or it is said by somebody else than `by`.

    """
    said = peek_statement(GapNote, signed)
    _check_gap_parties(said, terms)
    return open_proposal(GapNote, signed, by)


def is_gap_note(signed: Buffer) -> bool:
    """Return whether bytes claim to be a GapNote; nothing is verified."""
    try:
        peek_statement(GapNote, signed)
    except ProtocolViolation:
        return False
    return True


def is_vouch(signed: Buffer) -> bool:
    """Return whether bytes claim to be a Vouch; nothing is verified."""
    try:
        peek_statement(Vouch, signed)
    except ProtocolViolation:
        return False
    return True


def count_months(start_ms: int, now_ms: int) -> int:
    """Return how many months of an agreement that began at `start_ms` are over."""
    return max(0, now_ms - start_ms) // MONTH_MS


def begin_of(start_ms: int, number: int) -> int:
    """Return when month `number` of an agreement begins, in ms."""
    return start_ms + (number - 1) * MONTH_MS


def follow(before: Shown | None, gap: GapNote | None, number: int, from_ms: int) -> tuple[bytes, int]:
    """Return `previous` and `since_ms` of the receipt of month `number`.

    before: the newest one that both signed. gap: a note that both signed about the months between.
    """
    if before is None:
        return ZERO_HASH, from_ms
    last = before.said.number
    is_next = number == last + 1
    is_explained = gap is not None and gap.first <= last + 1 and gap.last >= number - 1
    return before.hash, before.said.since_ms if is_next or is_explained else from_ms


def propose_receipt(  # noqa: PLR0913 - one for each thing that a receipt says
    terms: Agreement,
    before: Shown | None,
    gap: GapNote | None,
    identity: SigningKey,
    *,
    number: int,
    size_bytes: int,
    kept: bool,
    private: bool,
) -> bytes:
    """Return the owner's word on month `number` of an agreement, signed by it alone."""
    from_ms = begin_of(terms.start_ms, number)
    previous, since_ms = follow(before, gap, number, from_ms)
    said = Receipt(
        agreement=terms.agreement,
        owner=terms.owner,
        host=terms.host,
        number=number,
        previous=previous,
        since_ms=since_ms,
        from_ms=from_ms,
        until_ms=from_ms + MONTH_MS,
        size_bytes=min(size_bytes, RECEIPT_MOST_BYTES),
        kept=kept,
        private=private,
    )
    return sign_statement(said, identity)


def check_next(said: Receipt, terms: Agreement, before: Shown | None, gap: GapNote | None) -> None:
    """Return if a receipt is the one that follows `before` in the chain of an agreement.

    Raises:
        ProtocolViolation: it is of another agreement, about other days, or does not continue the chain.

    """
    check_pair(said, terms)
    if said.from_ms != begin_of(terms.start_ms, said.number):
        raise ProtocolViolation(f"receipt {said.number} is about other days than its month")
    if (said.previous, said.since_ms) != follow(before, gap, said.number, said.from_ms):
        raise ProtocolViolation(f"receipt {said.number} does not continue the chain")


def check_pair(said: Receipt, terms: Agreement, before: Container[bytes] = ()) -> None:
    """Return if a receipt is of an agreement and between its parties.

    before: who was a party once; an owner that goes on as another goes on with its receipts, too (ADR 69).

    Raises:
        ProtocolViolation: it is of another agreement.

    """
    is_owners = said.owner == terms.owner or said.owner in before
    is_hosts = said.host == terms.host or said.host in before
    if said.agreement != terms.agreement or not (is_owners and is_hosts):
        raise ProtocolViolation("a receipt is of another agreement")


def _count_signatures(signed: Buffer) -> int:
    octets = bytes(signed)
    return (len(octets) - 4 - int.from_bytes(octets[:4], "big")) // SIGNATURE_BYTES


def _check_gap_parties(said: GapNote, terms: Agreement, before: Container[bytes] = ()) -> None:
    sides = {terms.owner, terms.host}
    is_of_sides = all(side in sides or side in before for side in (said.by, said.other))
    if said.agreement != terms.agreement or said.by == said.other or not is_of_sides:
        raise ProtocolViolation("a note about a gap is of another agreement")
