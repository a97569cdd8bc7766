"""The number of every message: a number, once given, is never reused (docs/protocol.md, "Messages").

Knows: numbers. Must not know: fields, who may say what when.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from backuppeer.wire.auditing import Acked, AckPacks, AskAudit, Audited, DeleteIs, GetDelete, GetLosses, Losses
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import (
    Agreed,
    Challenge,
    Deleted,
    DeletedList,
    DeletePacks,
    GetHead,
    GetRange,
    GetUsage,
    Goodbye,
    HeadIs,
    HeadStored,
    Hello,
    LaneOffer,
    LaneWish,
    ListDeleted,
    ListPacks,
    PackList,
    Pending,
    Ping,
    Pong,
    Proceed,
    Proof,
    ProposeAgreement,
    PutHead,
    PutPack,
    Range,
    Refused,
    Revived,
    RevivePacks,
    Stored,
    Unsupported,
    Usage,
    Welcome,
    Withdrawn,
    WithdrawPacks,
)
from backuppeer.wire.recovering import GiveSlot, SlotKept
from backuppeer.wire.terms import (
    GetTerms,
    GiveNotice,
    GiveWaiver,
    NoticeTaken,
    PutTerms,
    TermsAre,
    TermsPut,
    WaiverTaken,
)

TYPES: Final[Mapping[int, type[Message]]] = MappingProxyType(
    {
        1: Challenge,
        2: Proof,
        3: Welcome,
        4: Hello,
        5: Ping,
        6: Pong,
        7: Goodbye,
        9: Unsupported,
        10: LaneWish,
        11: LaneOffer,
        16: ProposeAgreement,
        17: Agreed,
        18: Pending,
        19: Refused,
        20: PutPack,
        21: Proceed,
        22: Stored,
        23: GetRange,
        24: Range,
        25: PutHead,
        26: HeadStored,
        27: HeadIs,
        28: GetHead,
        29: ListPacks,
        30: PackList,
        31: GetUsage,
        32: Usage,
        33: DeletePacks,
        34: Deleted,
        35: RevivePacks,
        36: Revived,
        37: ListDeleted,
        38: DeletedList,
        39: WithdrawPacks,
        40: Withdrawn,
        41: AckPacks,
        42: Acked,
        43: AskAudit,
        44: Audited,
        45: GetLosses,
        46: Losses,
        47: GetTerms,
        48: TermsAre,
        49: PutTerms,
        50: TermsPut,
        51: GiveNotice,
        52: NoticeTaken,
        53: GiveSlot,
        54: SlotKept,
        60: GiveWaiver,
        61: WaiverTaken,
        62: GetDelete,
        63: DeleteIs,
    }
)
"""The one table of type numbers."""
NUMBERS: Final[Mapping[type[Message], int]] = MappingProxyType({kind: number for number, kind in TYPES.items()})
