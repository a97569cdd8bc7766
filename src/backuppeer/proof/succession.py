"""The authority's word that one identity goes on as another (ADR 69).

Knows: the statement, whom it names, who believes it. Must not know: where identities are kept, what an heir is given.
Pure.

It is signed by the authority, which exists only while words are typed, and by the new identity, so that nobody is made
the heir of a bad name against its will; not by the old one, which a thief of the disk may have. To whoever has no
agreement that names this authority as the party's own it proves nothing: anybody can make an authority, and have it say
that a well-known id was its own.
"""

from typing import Annotated, ClassVar, Final

from msgspec import Meta

from backuppeer.crypto.digest import Buffer
from backuppeer.crypto.identity import Purpose
from backuppeer.errors import ProtocolViolation
from backuppeer.ids import PeerId
from backuppeer.proof.statements import (
    Count,
    Extensions,
    Ordinal,
    Public,
    Statement,
    open_statement,
    peek_statement,
)

IN_REVISION: Final = "succession"
"""Name among a revision's extensions of the signed succession by which its owner or its host changes."""
HOST_AUTHORITY: Final = "host_authority"
"""Name among a revision's extensions of the host's own authority (32 bytes); the owner's is a field of its own."""


class Succession(Statement, frozen=True, kw_only=True, tag="succession"):
    """`old` goes on as `new`, the identity of working keys `generation` (that of `old` was lower)."""

    purpose: ClassVar[Purpose] = Purpose.SUCCESSION
    signatures: ClassVar[int] = 2

    authority: Public
    old: Annotated[PeerId, Meta(min_length=32, max_length=32)]
    new: Annotated[PeerId, Meta(min_length=32, max_length=32)]
    generation: Ordinal
    time_ms: Count
    v: int = 1
    ext: Extensions = {}  # noqa: RUF012 - msgspec copies it

    def signers(self) -> tuple[bytes | None, ...]:
        """Return the authority and the new identity."""
        return (self.authority, self.new)

    def find_fault(self) -> str:
        """Return that somebody would succeed himself."""
        return "an identity can't succeed itself" if self.old == self.new else ""


def open_succession(signed: Buffer, authority: bytes) -> Succession:
    """Return a succession, having checked that it is of the authority (32 bytes) that an agreement names.

    Raises:
        AuthenticationFault: another authority, or a signature that does not hold.
        ProtocolViolation: malformed.

    """
    said = peek_statement(Succession, signed)
    return open_statement(Succession, signed, authority, said.new)


def is_succession(signed: Buffer) -> bool:
    """Return whether bytes claim to be a Succession; nothing is verified."""
    try:
        peek_statement(Succession, signed)
    except ProtocolViolation:
        return False
    return True


def check_heir(signed: Buffer, authority: bytes, old: PeerId, new: PeerId) -> Succession:
    """Return the succession by which `new` takes the place of `old`.

    Raises:
        AuthenticationFault: as `open_succession`.
        ProtocolViolation: malformed, or it names others.

    """
    said = open_succession(signed, authority)
    if (said.old, said.new) != (old, new):
        raise ProtocolViolation("a succession names others than those who change")
    return said
