"""What is told of caps on what is sent and received.

Knows: shapes. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec


class CapState(msgspec.Struct, kw_only=True):
    """A cap that holds now. direction: up (what this machine sends) or down. until: when others hold; empty: never.

    role: own (for its own backups and restores), host (for those of others that are kept here), all (both together).
    """

    direction: str
    role: str
    bytes_per_s: int
    until: str = ""
