"""Shapes of `peers end`: notice given of an agreement (control.api, ADR 45).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import PeerRequest


class EndRequest(PeerRequest):
    """`peers end`. side: `owner` (the peer keeps our data), `host` (we keep its), or empty where only one can be meant.

    confirmed: the person, or --yes, saw the plan and agreed.
    """

    side: str = ""
    confirmed: bool = False


class EndPlan(msgspec.Struct, kw_only=True):
    """What ending would mean: `used_bytes` are kept until `until` at least, then erased."""

    peer_id: str
    name: str
    side: str
    used_bytes: int
    until: str


class EndResult(msgspec.Struct, kw_only=True):
    """Notice was given. told: whether the other side has heard of it; if not, it is told when it is met."""

    peer_id: str
    alias: str
    side: str
    until: str
    told: bool
