"""Who may say what when: one table for the handshake, the session and the request streams.

Knows: states, speakers, message types. Must not know: fields, bytes, keys, time. A pair that is not in the table is a
protocol error by construction; nothing else decides that.

A machine has one state for both sides where they take turns (handshake, request), and one state for each direction
where both may talk at any time (session). `Speaker` is who sends the message, so both ends walk the same table.
"""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from backuppeer.errors import LocalError, ProtocolViolation
from backuppeer.wire.auditing import Acked, AckPacks, AskAudit, Audited, DeleteIs, GetDelete, GetLosses, Losses
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import (
    Agreed,
    Challenge,
    Deleted,
    DeletedList,
    DeletePacks,
    DraftsAre,
    FindDrafts,
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
from backuppeer.wire.receipts import (
    AskOpinion,
    AskReceipts,
    GetMyReceipts,
    MyReceiptsAre,
    NameReceipts,
    OpinionIs,
    ProposeReceipt,
    ReceiptsAre,
    ReceiptSigned,
    ReceiptsShown,
)
from backuppeer.wire.recovering import GiveSlot, SlotKept
from backuppeer.wire.succeeding import Follow, Followed, Succeed, Succeeded
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


class Speaker(Enum):
    """Who sends a message."""

    DIALLER = auto()
    ACCEPTOR = auto()
    PEER = auto()
    """Either side, once the session is proven."""
    OPENER = auto()
    """Of a request stream."""
    SERVER = auto()


class State(Enum):
    """Where a machine stands."""

    # handshake, both sides
    OPENED = auto()
    CHALLENGED = auto()
    CLAIMED = auto()
    """The dialler's proof is on its way or being checked."""
    PROVEN = auto()
    FAILED = auto()
    # session, one for each direction
    GREETING = auto()
    TALKING = auto()
    LEAVING = auto()
    # request stream, both sides
    ASKING = auto()
    PROPOSED = auto()
    PUT_ASKED = auto()
    PUT_SENDING = auto()
    """Raw bytes flow from the opener; only the server may speak."""
    RANGE_ASKED = auto()
    HEAD_PUT = auto()
    HEAD_ASKED = auto()
    LIST_ASKED = auto()
    USAGE_ASKED = auto()
    DELETE_ASKED = auto()
    REVIVE_ASKED = auto()
    DELETED_ASKED = auto()
    WITHDRAW_ASKED = auto()
    DRAFTS_ASKED = auto()
    ACK_ASKED = auto()
    AUDIT_ASKED = auto()
    LOSSES_ASKED = auto()
    SIGNED_ASKED = auto()
    SLOT_GIVEN = auto()
    TERMS_ASKED = auto()
    TERMS_GIVEN = auto()
    NOTICE_GIVEN = auto()
    WAIVER_GIVEN = auto()
    SUCCESSION_SAID = auto()
    FOLLOWING = auto()
    RECEIPT_PROPOSED = auto()
    MY_RECEIPTS_ASKED = auto()
    RECEIPTS_ASKED = auto()
    RECEIPTS_TOLD = auto()
    RECEIPTS_NAMED = auto()
    OPINION_ASKED = auto()
    ENDED = auto()
    """No more messages; after Range, Audited and ReceiptsShown the raw bytes follow."""


_Row = tuple[Speaker, State, type[Message]]

_HANDSHAKE: Final[dict[_Row, State]] = {
    (Speaker.ACCEPTOR, State.OPENED, Challenge): State.CHALLENGED,
    (Speaker.DIALLER, State.CHALLENGED, Proof): State.CLAIMED,
    (Speaker.ACCEPTOR, State.CLAIMED, Welcome): State.PROVEN,
}
_SESSION: Final[dict[_Row, State]] = {
    (Speaker.PEER, State.GREETING, Hello): State.TALKING,
    (Speaker.PEER, State.GREETING, Goodbye): State.LEAVING,
    (Speaker.PEER, State.TALKING, Ping): State.TALKING,
    (Speaker.PEER, State.TALKING, Pong): State.TALKING,
    (Speaker.PEER, State.TALKING, Unsupported): State.TALKING,
    (Speaker.PEER, State.TALKING, LaneWish): State.TALKING,
    (Speaker.PEER, State.TALKING, LaneOffer): State.TALKING,
    (Speaker.PEER, State.TALKING, Goodbye): State.LEAVING,
}
_REQUESTS: Final[dict[type[Message], State]] = {
    ProposeAgreement: State.PROPOSED,
    PutPack: State.PUT_ASKED,
    GetRange: State.RANGE_ASKED,
    PutHead: State.HEAD_PUT,
    GetHead: State.HEAD_ASKED,
    ListPacks: State.LIST_ASKED,
    GetUsage: State.USAGE_ASKED,
    DeletePacks: State.DELETE_ASKED,
    RevivePacks: State.REVIVE_ASKED,
    ListDeleted: State.DELETED_ASKED,
    WithdrawPacks: State.WITHDRAW_ASKED,
    FindDrafts: State.DRAFTS_ASKED,
    AckPacks: State.ACK_ASKED,
    AskAudit: State.AUDIT_ASKED,
    GetLosses: State.LOSSES_ASKED,
    GetDelete: State.SIGNED_ASKED,
    GiveSlot: State.SLOT_GIVEN,
    GetTerms: State.TERMS_ASKED,
    PutTerms: State.TERMS_GIVEN,
    GiveNotice: State.NOTICE_GIVEN,
    GiveWaiver: State.WAIVER_GIVEN,
    Succeed: State.SUCCESSION_SAID,
    Follow: State.FOLLOWING,
    ProposeReceipt: State.RECEIPT_PROPOSED,
    GetMyReceipts: State.MY_RECEIPTS_ASKED,
    AskReceipts: State.RECEIPTS_ASKED,
    AskOpinion: State.OPINION_ASKED,
}
_ANSWERS: Final[dict[State, dict[type[Message], State]]] = {
    State.ASKING: {},
    State.PROPOSED: {Agreed: State.ENDED, Pending: State.ENDED},
    State.PUT_ASKED: {Proceed: State.PUT_SENDING, Stored: State.ENDED},
    State.PUT_SENDING: {Stored: State.ENDED},
    State.RANGE_ASKED: {Range: State.ENDED},
    State.HEAD_PUT: {HeadStored: State.ENDED, HeadIs: State.ENDED},
    State.HEAD_ASKED: {HeadIs: State.ENDED},
    State.LIST_ASKED: {PackList: State.ENDED},
    State.USAGE_ASKED: {Usage: State.ENDED},
    State.DELETE_ASKED: {Deleted: State.ENDED},
    State.REVIVE_ASKED: {Revived: State.ENDED},
    State.DELETED_ASKED: {DeletedList: State.ENDED},
    State.WITHDRAW_ASKED: {Withdrawn: State.ENDED},
    State.DRAFTS_ASKED: {DraftsAre: State.ENDED},
    State.ACK_ASKED: {Acked: State.ENDED},
    State.AUDIT_ASKED: {Audited: State.ENDED},
    State.LOSSES_ASKED: {Losses: State.ENDED},
    State.SIGNED_ASKED: {DeleteIs: State.ENDED},
    State.SLOT_GIVEN: {SlotKept: State.ENDED},
    State.TERMS_ASKED: {TermsAre: State.ENDED},
    State.TERMS_GIVEN: {TermsPut: State.ENDED},
    State.NOTICE_GIVEN: {NoticeTaken: State.ENDED},
    State.WAIVER_GIVEN: {WaiverTaken: State.ENDED},
    State.SUCCESSION_SAID: {Succeeded: State.ENDED},
    State.FOLLOWING: {Followed: State.ENDED},
    State.RECEIPT_PROPOSED: {ReceiptSigned: State.ENDED},
    State.MY_RECEIPTS_ASKED: {MyReceiptsAre: State.ENDED},
    State.RECEIPTS_ASKED: {ReceiptsAre: State.RECEIPTS_TOLD},
    State.RECEIPTS_TOLD: {},
    State.RECEIPTS_NAMED: {ReceiptsShown: State.ENDED},
    State.OPINION_ASKED: {OpinionIs: State.ENDED},
}


def _build_table() -> Mapping[_Row, State]:
    """Join the parts, and add what holds in every state of a request: the server may refuse or not know the type."""
    table = _HANDSHAKE | _SESSION
    table |= {(Speaker.OPENER, State.ASKING, kind): state for kind, state in _REQUESTS.items()}
    table[Speaker.OPENER, State.RECEIPTS_TOLD, NameReceipts] = State.RECEIPTS_NAMED
    for state, answers in _ANSWERS.items():
        table |= {(Speaker.SERVER, state, kind): after for kind, after in answers.items()}
        table[Speaker.SERVER, state, Refused] = State.ENDED
        table[Speaker.SERVER, state, Unsupported] = State.ENDED
    return MappingProxyType(table)


TABLE: Final = _build_table()


def state_after_receiving(speaker: Speaker, state: State, kind: type[Message]) -> State:
    """Return the state after the peer, as `speaker`, said `kind`.

    Raises:
        ProtocolViolation: the table does not list it.

    """
    after = TABLE.get((speaker, state, kind))
    if after is None:
        raise ProtocolViolation(f"{kind.__name__} is not allowed from the {speaker.name.lower()} in state {state.name}")
    return after


def state_after_sending(speaker: Speaker, state: State, kind: type[Message]) -> State:
    """Return the state after we, as `speaker`, said `kind`.

    Raises:
        LocalError: the table does not list it; the peer would have to close on us.

    """
    after = TABLE.get((speaker, state, kind))
    if after is None:
        raise LocalError(f"{kind.__name__} must not be sent by the {speaker.name.lower()} in state {state.name}")
    return after
