"""Shapes of `disconnect` and `agent stop` (control.api).

Knows: result structs. Must not know: the agent, the terminal.
"""

import msgspec


class DisconnectResult(msgspec.Struct, kw_only=True):
    """`disconnect`."""

    peer_id: str
    closed: bool


class StopResult(msgspec.Struct, kw_only=True):
    """`agent stop`."""

    stopped: bool
