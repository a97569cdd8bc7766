"""The messages by which a pair signs what it has of each other, and others hear of it (docs/protocol.md, "Receipts").

Knows: shapes and sizes. Must not know: who may say what when (wire.table), what a receipt is worth. `signed` and
`statements` are the exact signed bytes of statements.
"""

from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from backuppeer.limits import (
    MY_RECEIPTS_PAGE,
    OPINION_REASON_CHARS,
    OPINION_REASONS,
    PROOF_BYTES,
    PROOFS_SHOWN,
    RECEIPT_GAP_MONTHS,
    RECEIPT_ROWS,
    RECEIPTS_NAMED,
)
from backuppeer.wire.fields import Agreement, Message, Nonce, Peer, Signed, Size

SALTED_BYTES: Final = 16
"""Of a salted id: 128 bits name one of all peers there will ever be."""
ROW_BYTES: Final = 2 * SALTED_BYTES


class ProposeReceipt(Message, frozen=True, kw_only=True):
    """Opener: a Receipt that its owner signed, or a GapNote by who was away; the other side is to sign it, too."""

    agreement: Agreement
    signed: Signed
    before: Signed = b""
    """The newest receipt that both signed: for a side that lost its own."""


class ReceiptSigned(Message, frozen=True, kw_only=True):
    """Answer to ProposeReceipt, durable: with both signatures; or the receipt of that month that stands already."""

    signed: Signed


class GetMyReceipts(Message, frozen=True, kw_only=True):
    """Opener: asks the other side of an agreement for the receipts above month `after` that both signed."""

    agreement: Agreement
    after: Size = 0


class MyReceiptsAre(Message, frozen=True, kw_only=True):
    """Answer to GetMyReceipts: receipts in ascending order, and the notes about gaps that both signed, the latest."""

    receipts: Annotated[tuple[Signed, ...], Meta(max_length=MY_RECEIPTS_PAGE)] = ()
    more: bool = False
    notes: Annotated[tuple[Signed, ...], Meta(max_length=RECEIPT_GAP_MONTHS)] = ()


class AskReceipts(Message, frozen=True, kw_only=True):
    """Opener: asks who is said to have stored with whom; 32 fresh bytes."""

    nonce: Nonce


class ReceiptsAre(Message, frozen=True, kw_only=True):
    """Answer to AskReceipts: rows of two salted ids, owner and host, in an order that tells nothing; noise among them.

    A row about a proof of misbehaviour has the host's twice.
    """

    salt: Nonce
    rows: Annotated[bytes, Meta(max_length=RECEIPT_ROWS * ROW_BYTES)] = b""


class NamedRow(NamedTuple):
    """A row that the opener recognised: its place among the rows, and both ids."""

    row: Annotated[int, Meta(ge=0, lt=RECEIPT_ROWS)]
    owner: Peer
    host: Peer


class NameReceipts(Message, frozen=True, kw_only=True):
    """Opener, after ReceiptsAre: the rows that it recognised, by their ids. The only ones that are shown."""

    names: Annotated[tuple[NamedRow, ...], Meta(max_length=RECEIPTS_NAMED)] = ()


class ReceiptsShown(Message, frozen=True, kw_only=True):
    """Answer to NameReceipts: receipts and vouches; then, raw, proofs of misbehaviour of so many bytes each."""

    statements: Annotated[tuple[Signed, ...], Meta(max_length=RECEIPTS_NAMED)] = ()
    proofs: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=PROOF_BYTES)], ...],
        Meta(max_length=PROOFS_SHOWN),
    ] = ()


class AskOpinion(Message, frozen=True, kw_only=True):
    """Opener: asks what the peer thinks of this home as a host."""


class OpinionIs(Message, frozen=True, kw_only=True):
    """Answer to AskOpinion: the score in permille, its level, and why, in words of that peer."""

    permille: Annotated[int, Meta(ge=0, le=1000)]
    level: Annotated[str, Meta(max_length=16)]
    reasons: Annotated[
        tuple[Annotated[str, Meta(max_length=OPINION_REASON_CHARS)], ...], Meta(max_length=OPINION_REASONS)
    ] = ()
