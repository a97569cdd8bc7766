"""Shapes of what is on record of a peer: `peers show` (control.api).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from backuppeer.control.api import PeerRequest
from backuppeer.limits import CONTACTS_SHOWN, CONTACTS_SHOWN_MOST


class ShowRequest(PeerRequest):
    """`peers show`. history: how many of the last contacts to tell."""

    history: Annotated[int, Meta(ge=0, le=CONTACTS_SHOWN_MOST)] = CONTACTS_SHOWN


class ContactRow(msgspec.Struct, kw_only=True):
    """A session that was (`made`), or a try that came to nothing. path: "direct", "relayed", either "+ lanes", or "".

    ours: this machine dialled. rtt_ms: 0 where it was not measured. result: how it ended, or why there was none.
    """

    time: str
    made: bool
    ours: bool
    path: str
    rtt_ms: float
    sent_bytes: int
    received_bytes: int
    seconds: float
    result: str


class Record(msgspec.Struct, kw_only=True):
    """What this machine saw of a peer. first_met: "" = never.

    days: on which it delivered or failed. availability: share of the six-hour windows of 30 days, looked at in any way,
    in which it was there; null: it was never tried. promised: in the agreement, 0 = nothing. rtt_ms, bytes_per_second:
    medians of 30 days, 0 = not known. audits, restores: that went well; losses: found or told; refusals: of what it
    keeps; declined: as it may. lost_days, refused_days, reported_days, late_days: days with nothing worse.
    sessions, missed: contacts on record, made and in vain, the one under way among them; contacts: the last of them,
    newest first.
    """

    first_met: str
    days: int
    availability: float | None
    promised: float
    rtt_ms: float
    bytes_per_second: float
    audits: int
    restores: int
    losses: int
    refusals: int
    declined: int
    lost_days: int
    refused_days: int
    reported_days: int
    late_days: int
    sessions: int
    missed: int
    contacts: list[ContactRow]


class Tenancy(msgspec.Struct, kw_only=True):
    """How a peer behaved as one whose data is kept here; no score follows from it. Days on which it happened.

    agreed: it made an agreement; noticed: it ended one with notice; overdrawn: it sent more than was agreed;
    owing: it was refused for not keeping what it promised in return; deleted, mass_deleted: it deleted, or much.
    """

    agreed: int = 0
    noticed: int = 0
    overdrawn: int = 0
    owing: int = 0
    deleted: int = 0
    mass_deleted: int = 0
