"""Shapes of `recover --new-identity`: this home goes on as another identity (control.api, ADR 69).

Knows: request and result structs. Must not know: the agent, the words; the command signs the succession itself.
"""

import msgspec

from backuppeer.control.api import Request
from backuppeer.control.saving import LeftOut
from backuppeer.control.taking_over import TakeOverPlan


class SuccessionRequest(Request):
    """`recover --new-identity`: plan it, or tell hosts of the succession that lies in the home."""


class SuccessionPlan(TakeOverPlan, kw_only=True):
    """What a person is to know before a new identity: as `TakeOverPlan`, and what stands in the way of it.

    is_begun: a succession lies in this home that is not finished. has_heir: no host has followed it yet. waiting: names
    of hosts that have not heard of the succession before. owners: names of peers whose backups this machine keeps and
    that can follow it; absent: those of them who are not in session now. stuck: names of those who can't follow.
    has_slot: space is on offer here. is_alone: no host was found by the words, so that backups begin anew.
    """

    is_begun: bool = False
    has_heir: bool = False
    waiting: list[str] = msgspec.field(default_factory=list)
    owners: list[str] = msgspec.field(default_factory=list)
    absent: list[str] = msgspec.field(default_factory=list)
    stuck: list[str] = msgspec.field(default_factory=list)
    has_slot: bool = False
    is_alone: bool = False


class SuccessionTold(msgspec.Struct, kw_only=True):
    """Hosts were told. peer_id: who this home is from its next start on; former: who it was. peers: who follow."""

    peer_id: str
    former: str
    peers: list[str]
    left_out: list[LeftOut]
