"""Shapes of choosing a host: the plan of `connect`, and what `connect --best` proposes (control.api).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import BrowseRow, PeerRequest, Request
from backuppeer.control.promises import NOTHING_PROMISED, Promised


class ConnectPlanRequest(PeerRequest):
    """`connect` before its question: `name` is checked before a person says yes."""

    name: str = ""
    lan: bool | None = None
    """As in `browse`."""


class ConnectPlan(msgspec.Struct, kw_only=True):
    """What the human must know before saying yes to a host."""

    peer_id: str
    alias: str
    safety_words: str
    agreed: bool
    """An agreement already runs: nothing to ask."""
    free_bytes: int
    term_s: int
    lock_s: int
    trust: float
    trust_level: str
    risks: list[str]
    promises: Promised = NOTHING_PROMISED
    """What it wants in return at least, and gives at most without being asked; of an agreement: what stands."""
    cap_bytes: int | None = None
    """How much may lie with it in all for now, as it is a stranger; None = as much as agreed on."""
    capped: list[str] = []
    reason: str = ""
    """As in `browse`; what is said here is no risk below again."""


class BestRequest(Request):
    """`connect --best`: at least so much free space, in this region if one is named."""

    storage: int
    region: str = ""
    lan: bool | None = None
    """As in `browse`."""


class BestChoice(msgspec.Struct, kw_only=True):
    """The best host that can be proposed, and the runner-up if there is one. seen: how many hosts are on offer."""

    best: BrowseRow
    next: BrowseRow | None
    seen: int
