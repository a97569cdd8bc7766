"""The messages by which an owner learns, and can show to others, what a host keeps (docs/protocol.md, "Audits").

Knows: shapes and sizes. Must not know: who may say what when (wire.table), what the statements say (`proof.custody`,
`proof.audits`), what anybody concludes. `signed` are the exact signed bytes of a statement.
"""

from typing import Annotated, NamedTuple

from msgspec import Meta

from backuppeer.limits import (
    ACK_PACKS,
    AUDIT_SAMPLES,
    LOSS_REPORTS_PAGE,
    PACK_TARGET_BYTES,
    RANGE_PATH_NODES,
    REMOVAL_PACKS,
)
from backuppeer.wire.fields import Agreement, Hash, Message, Signed, Size, StoredHash

AckedPacks = Annotated[tuple[StoredHash, ...], Meta(max_length=ACK_PACKS)]


class AckPacks(Message, frozen=True, kw_only=True):
    """Opener: asks for the host's signed word that it keeps these packs."""

    agreement: Agreement
    packs: Annotated[tuple[StoredHash, ...], Meta(min_length=1, max_length=ACK_PACKS)]


class Acked(Message, frozen=True, kw_only=True):
    """Answer to AckPacks: the signed StoreAck, and the packs that it is about; both empty if it keeps none of them."""

    signed: Signed = b""
    packs: AckedPacks = ()


class AskAudit(Message, frozen=True, kw_only=True):
    """Opener: the signed AuditChallenge."""

    agreement: Agreement
    signed: Signed


class ShownRow(NamedTuple):
    """What is shown for one sample: length of the whole pack in bytes, Merkle path; 0 and () if it is not answered."""

    length: Annotated[int, Meta(ge=0, le=PACK_TARGET_BYTES)]
    path: Annotated[tuple[Hash, ...], Meta(max_length=RANGE_PATH_NODES)]


class Audited(Message, frozen=True, kw_only=True):
    """Answer to AskAudit: the signed AuditAnswer, a row for each sample; the leaves that are shown follow raw."""

    signed: Signed
    shown: Annotated[tuple[ShownRow, ...], Meta(max_length=AUDIT_SAMPLES)]


class GetLosses(Message, frozen=True, kw_only=True):
    """Opener: asks for the host's reports of lost packs, those numbered above `after`."""

    agreement: Agreement
    after: Size = 0


class LossRow(NamedTuple):
    """One report: its number at this host (from 1 on), the signed LossReport, the packs that it is about."""

    number: Size
    signed: Signed
    packs: AckedPacks


class Losses(Message, frozen=True, kw_only=True):
    """Answer to GetLosses, in ascending order of number."""

    reports: Annotated[tuple[LossRow, ...], Meta(max_length=LOSS_REPORTS_PAGE)] = ()
    more: bool = False


class GetDelete(Message, frozen=True, kw_only=True):
    """Opener: asks for the newest request to delete packs that was kept, of those numbered below `before` (0: of all).

    The owner's own word comes back to it: packs that are gone may be so because somebody with its keys signed that.
    """

    agreement: Agreement
    before: Size = 0


class DeleteIs(Message, frozen=True, kw_only=True):
    """Answer to GetDelete: its number, the signed PackDelete, its packs, the device's signature; number 0: no more."""

    number: Size = 0
    signed: Signed = b""
    packs: Annotated[tuple[StoredHash, ...], Meta(max_length=REMOVAL_PACKS)] = ()
    device_sig: Annotated[bytes, Meta(max_length=64)] = b""
