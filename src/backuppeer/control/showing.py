"""Shapes of `peers show`: the account of this home with one peer (control.api).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.history import Record, Tenancy
from backuppeer.control.promises import NOTHING_PROMISED, Promised


class Lacking(msgspec.Struct, kw_only=True):
    """Months of an agreement that follow each other and have no receipt that both signed, for one reason.

    first, last: their numbers; begins, ends: of these months. reason: a clause; todo: what a person can do, "" =
    nothing. is_explained: both signed why, so that the row of months is not broken.
    """

    first: int
    last: int
    begins: str
    ends: str
    reason: str
    todo: str = ""
    is_explained: bool = False


class ReceiptsHeld(msgspec.Struct, kw_only=True):
    """Receipts of one agreement, as they lie in this home (docs/trust.md). Numbers are of months, from 1 on; 0: none.

    months: that are over; signed: of which both signed a receipt. newest, newest_ends, newest_bytes: the last of them,
    when its month ended, how much was kept then; since: from when on no month lacks. theirs: up to which month the
    other side is known to hold them. is_told: whether this home tells partners of them; is_private: the newest one's
    owner wants it told to nobody. next_over: when the month under way is over. lacking: those without, oldest first.
    """

    months: int
    signed: int
    newest: int
    newest_ends: str
    newest_bytes: int
    since: str
    theirs: int
    is_told: bool
    is_private: bool
    next_over: str
    lacking: list[Lacking]


class Account(msgspec.Struct, kw_only=True):
    """What one side keeps for the other under all agreements of that direction; terms are those of the first.

    used_bytes: of the agreed ones, deleted ones included. until: when the term is over. ends: until when all is kept at
    least, if notice was given; ended_by_us: by whom. notice_s: what an agreement gives either side to find another.
    sent_bytes: of what we keep, sent back today as far as that is counted. promised_bytes: what the owner promised to
    keep in return under all of them; lacking_bytes: of that not agreed on, or ended; refused_from: from when on we take
    nothing new for that.
    """

    agreed_bytes: int
    used_bytes: int
    deleted_bytes: int
    next_free_bytes: int
    next_free: str
    lock_s: int
    notice_s: int
    until: str
    revision: int
    ends: str = ""
    ended_by_us: bool = False
    promises: Promised = NOTHING_PROMISED
    sent_bytes: int = 0
    promised_bytes: int = 0
    lacking_bytes: int = 0
    refused_from: str = ""
    receipts: ReceiptsHeld | None = None
    """Of the first agreement; null where the agent does not say."""
    room_bytes: int | None = None
    """Of what the peer keeps for us: how much more may go there now (its bar, a stranger's cap); null: all free."""


class PeerAccount(msgspec.Struct, kw_only=True):
    """`peers show`. there: what the peer keeps for us; here: what we keep for it; None: nothing is agreed.

    owed_bytes: by how much more of theirs we keep than they of ours; below 0: they keep more. Nothing follows from it.
    lineage: whose heir it is (ADR 69), each a clause about it. capped: why the trust is not higher, each a clause about
    the peer; way_out: what ends that, "" if nothing does. offer_bytes: what we must have on offer in all to keep what
    we promised it in return. cap_bytes: how much of ours may lie there in all for now (ADR 64), None = as much as
    agreed on; cap_set: a person set that. verified_bytes: in
    packs of which audits saw a part within 30 days. record: what was seen of it; as_owner: how it behaved as one whose
    data is kept here, null where it never was.
    """

    peer_id: str
    alias: str
    verified: bool
    blocked: bool
    there: Account | None
    here: Account | None
    owed_bytes: int
    trust: float
    trust_level: str
    capped: list[str]
    lineage: list[str] = []
    way_out: str
    offer_bytes: int = 0
    record: Record
    as_owner: Tenancy | None = None
    cap_bytes: int | None = None
    verified_bytes: int = 0
    cap_set: bool = False
