"""Shapes of `peers forgive`: what a host was caught at counts no more (control.api, ADR 53).

Knows: the result struct. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec


class ForgiveResult(msgspec.Struct, kw_only=True):
    """What stood against the peer until now, each a clause about it, the heaviest first."""

    peer_id: str
    alias: str
    forgiven: list[str]
