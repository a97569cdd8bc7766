"""One side's word that an agreement ends, or that it goes on after all (ADR 45).

Knows: the statement, for how long all is kept after it. Must not know: stores, sessions, who has seen how much time
pass. Notices of one side are numbered from 1 on, each saying the opposite of the one before: so none can be replayed,
and none given twice to begin a time anew.
"""

from typing import Annotated, ClassVar

from msgspec import Meta

from backuppeer.crypto.digest import Buffer
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import ProtocolViolation
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import HOLD_FACTOR, LISTING_TERM_S
from backuppeer.proof.statements import (
    Agreement,
    Count,
    Extensions,
    Ordinal,
    Statement,
    open_statement,
    peek_statement,
    sign_statement,
)


class Notice(Statement, frozen=True, tag="notice"):
    """Signed by `party`, owner or host of the agreement. `ends`: it ends, else the notice before is taken back."""

    purpose: ClassVar[Purpose] = Purpose.NOTICE

    agreement: Annotated[AgreementId, Meta(min_length=16, max_length=16)]
    party: Annotated[PeerId, Meta(min_length=32, max_length=32)]
    number: Ordinal
    ends: bool
    time_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it

    def signers(self) -> tuple[bytes | None, ...]:
        """Return the party."""
        return (self.party,)

    def find_fault(self) -> str:
        """Return what is wrong with the number: the first notice ends, the second takes that back, and so on."""
        return "" if self.ends == bool(self.number % 2) else f"notice {self.number} says what it can't say"


def sign_notice(agreement: AgreementId, identity: SigningKey, *, last: int, time_ms: int) -> bytes:
    """Return the notice that follows number `last` of the same side, 0 for none: an end, or its being taken back."""
    number = last + 1
    said = Notice(
        agreement=agreement, party=PeerId(identity.public), number=number, ends=bool(number % 2), time_ms=time_ms
    )
    return sign_statement(said, identity)


def open_notice(signed: Buffer, terms: Agreement, *before: PeerId) -> Notice:
    """Return a notice, having checked that a party of the agreement signed it, and that it is about this one.

    before: who else was a party of it once, and may have signed it then (ADR 69).

    Raises:
        AuthenticationFault: the signature does not hold.
        ProtocolViolation: malformed, of another agreement, or by somebody else.

    """
    claimed = peek_statement(Notice, signed)
    if claimed.party not in {terms.owner, terms.host, *before} or claimed.agreement != terms.agreement:
        raise ProtocolViolation("a notice is of another agreement, or by somebody who is no party of it")
    return open_statement(Notice, signed, claimed.party)


def kept_s(terms: Agreement, party: bytes) -> int:
    """Return for how many seconds of the host's uptime all is kept after a notice of `party`.

    The owner's is a request to delete everything, hence held as long as a mass deletion (ADR 37): whoever has its
    machine may have given it. Never longer than the longest lock so held, whatever a host once co-signed.
    """
    factor = 1 if party == terms.host else HOLD_FACTOR
    return min(max(terms.notice_s, terms.lock_s * factor), LISTING_TERM_S * HOLD_FACTOR)
