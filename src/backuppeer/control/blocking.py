"""Shapes of `block` and `unblock` (control.api, ADR 45).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import PeerRequest


class BlockRequest(PeerRequest):
    """`block`: the reason is for this home's person alone."""

    reason: str = ""


class BlockResult(msgspec.Struct, kw_only=True):
    """A peer that is blocked, or no more. `until`: till when what one keeps for the other is kept at least, or ""."""

    peer_id: str
    alias: str
    blocked: bool
    reason: str
    until: str
