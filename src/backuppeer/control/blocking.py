"""Shapes of `block` and `unblock` (control.api, ADR 45).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import PeerRequest
from backuppeer.control.ending import EndPlan


class BlockRequest(PeerRequest):
    """`block`: the reason is for this home's person alone.

    confirmed: the person, or --yes, saw which agreements end and agreed; asked only where one does (ADR 49).
    """

    reason: str = ""
    confirmed: bool = False


class BlockPlan(msgspec.Struct, kw_only=True):
    """What blocking would mean: the agreements that go on, and that it would end."""

    peer_id: str
    name: str
    ends: list[EndPlan]


class EndingSide(msgspec.Struct, kw_only=True):
    """An agreement that ends; side: as in `EndRequest`. Who ended it can take that back."""

    side: str
    until: str
    ended_by_us: bool


class EndingLeft(msgspec.Struct, kw_only=True):
    """An agreement that goes on though the peer is blocked, for notice could not be given; side: as in `EndRequest`."""

    side: str
    why: str


class BlockResult(msgspec.Struct, kw_only=True):
    """A peer that is blocked, or no more. `reason`: why it is, or was.

    `until`: till when what one keeps for the other is kept at least, or "".
    """

    peer_id: str
    alias: str
    blocked: bool
    reason: str
    until: str
    ends: list[EndingSide] = []
    left: list[EndingLeft] = []
