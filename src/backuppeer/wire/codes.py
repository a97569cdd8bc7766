"""Numbers that say why: in Goodbye and the QUIC close, and in Refused (docs/protocol.md).

Knows: the numbers. Must not know: messages, who sends them. A number, once given, is never reused.
"""

from enum import IntEnum


class CloseCode(IntEnum):
    """Why a connection is closed: the QUIC application code, and the reason in Goodbye. Unknown codes are weather."""

    DONE = 0
    REJECTED = 1
    """The one answer to everything that goes wrong before a session is proven; nothing else may be told apart."""
    VIOLATION = 2
    SHUTDOWN = 3
    IDLE = 4
    DUPLICATE = 5
    """Both sides dialled at once; the connection dialled by the smaller peer id stays."""
    DEAD = 6
    OVERLOADED = 7


class RefusalCode(IntEnum):
    """Why a request was refused: `Refused.code`. Unknown codes read as POLICY."""

    POLICY = 1
    QUOTA = 2
    NO_AGREEMENT = 3
    STORE_UNAVAILABLE = 4
    NOT_FOUND = 5
    DAMAGED = 6
    """The host lost or damaged what was asked for, and says so itself."""
    STALE = 7
    BUSY = 8
    OVER_BUDGET = 9
    """More was asked for today than the agreement has: no evidence of anything."""
    OWED = 10
    """Nothing new is taken from who doesn't keep what it promised in return."""
