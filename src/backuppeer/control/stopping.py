"""Shape of `agent stop` (control.api).

Knows: one struct. Must not know: the agent, the terminal.
"""

import msgspec


class StopResult(msgspec.Struct, kw_only=True):
    """`agent stop`."""

    stopped: bool
