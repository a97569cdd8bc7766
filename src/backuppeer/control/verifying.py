"""Shapes of `peers verify`: the safety words, what a person found, what followed (control.api, DESIGN 3).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import PeerRequest


class VerifyPlan(msgspec.Struct, kw_only=True):
    """What is to be compared. verified: it was before. alarms: why it is doubtful who the peer is, in sentences."""

    peer_id: str
    alias: str
    safety_words: str
    verified: bool
    alarms: list[str] = []


class VerifyRequest(PeerRequest):
    """What a person found: same: both screens show the same words."""

    same: bool


class VerifyResult(msgspec.Struct, kw_only=True):
    """What the comparison changed; trust in 0..1, computed by what this home knows before and after."""

    peer_id: str
    alias: str
    verified: bool
    trust_before: float
    trust_level_before: str
    trust: float
    trust_level: str
