"""What is told of sessions (control.api).

Knows: shapes. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import PeerRequest
from backuppeer.control.bandwidth import CapState


class SessionRow(msgspec.Struct, kw_only=True):
    """One session (`sessions`), or a peer that is being dialled. path: direct, relayed or none.

    state: connecting, verifying (it answers, and has to prove who it is), connected (and not used yet), transferring,
    idle, parting (what is under way ends, then it is closed), reconnecting (it was lost, and is looked for).
    path_reason: why it is relayed, as far as is known. bytes_per_s: of all that travelled both ways, over the time in
    which requests were in flight; 0 before the first. now_bytes_per_s: within the last seconds. loss: share of packets
    of the last minute that were lost; null where nobody counts, or too few were sent. quality: good, fair, poor, or
    empty where there is no session. work: what is in flight, in words. reason: why a session was lost. next_try: when
    it is looked for again; empty while it is being dialled. caps: those that hold for the work.
    """

    peer_id: str
    alias: str
    state: str
    path: str
    rtt_ms: float
    sent_bytes: int
    received_bytes: int
    since: str
    path_reason: str = ""
    bytes_per_s: int = 0
    now_bytes_per_s: int = 0
    loss: float | None = None
    quality: str = ""
    quality_reason: str = ""
    work: list[str] = msgspec.field(default_factory=list)
    reason: str = ""
    next_try: str = ""
    caps: list[CapState] = msgspec.field(default_factory=list)


class DisconnectRequest(PeerRequest, kw_only=True):
    """`disconnect`. now: without waiting for what is under way."""

    now: bool = False


class DisconnectResult(msgspec.Struct, kw_only=True):
    """`disconnect`. cut: so many requests were under way and broken off; what they did so far is kept."""

    peer_id: str
    closed: bool
    cut: int = 0
    rest_s: int = 0
    """For how long work that was under way does not connect there again by itself."""
