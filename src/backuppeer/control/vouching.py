"""Shapes of `vouch`: a person's word for a peer, which partners hear of (control.api, ADR 63).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import PeerRequest


class VouchRequest(PeerRequest):
    """`vouch`; withdraw: take it back."""

    withdraw: bool = False


class VouchResult(msgspec.Struct, kw_only=True):
    """A word given, or taken back. until: when it ends by itself, "" if it was taken back."""

    peer_id: str
    alias: str
    vouched: bool
    until: str
