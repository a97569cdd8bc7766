"""What is told of open sessions (control.api).

Knows: one struct. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec


class SessionRow(msgspec.Struct, kw_only=True):
    """One session (`sessions`). path: direct, relayed or none; path_reason: why it is relayed, as far as is known.

    bytes_per_s: of all that travelled both ways, over the time in which requests were in flight; 0 before the first.
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
