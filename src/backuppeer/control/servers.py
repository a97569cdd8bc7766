"""Signaling servers as this home sees them.

Knows: shapes. Must not know: how a server is asked.
"""

import msgspec


class ServerState(msgspec.Struct, kw_only=True):
    """One signaling server as the agent sees it. Counts of rows are those of the last browse that it answered."""

    url: str
    connected: bool
    error: str = ""
    last_reached: str = ""
    failures: int = 0
    """Times in a row that it could not be reached, or broke the protocol."""
    rows: int = 0
    forged: int = 0
    """Rows that the hosts they name did not sign."""
    unreadable: int = 0
    """Rows that are broken, or of another time."""
    outdated: int = 0
    """Rows older than one that was seen before; for a while that is no fault."""
    lagging: bool = False
    """It handed out an older row for longer than an honest server would."""
    forked: int = 0
    """Hosts in its rows that signed two offers under one number: their doing."""
    faults: list[str] = []
    """What a person should know of its rows, each a clause about it."""
