"""Numbers that say why: in Goodbye and the QUIC close, and in Refused (docs/protocol.md).

Knows: the numbers. Must not know: messages, who sends them. A number, once given, is never reused.
"""

from enum import IntEnum
from typing import Final

from backuppeer.errors import Refusal


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
    PARTED = 8
    """A person ended the session: what is under way ends first, and nobody dials again by itself for a while."""
    CUT = 9
    """As PARTED, at once: what was under way is broken off."""


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
    """The audits of today asked for more than the agreement has: no evidence of anything."""
    OWED = 10
    """Nothing new is taken from who doesn't keep what it promised in return."""
    SUCCEEDED = 11
    """Another identity goes on in place of the one that asks; Hello has the succession (ADR 69)."""


WITHHOLDING: Final[dict[RefusalCode, bool]] = {
    RefusalCode.POLICY: True,
    RefusalCode.QUOTA: True,
    RefusalCode.NO_AGREEMENT: True,
    RefusalCode.STORE_UNAVAILABLE: False,
    RefusalCode.NOT_FOUND: True,
    RefusalCode.DAMAGED: True,
    RefusalCode.STALE: True,
    RefusalCode.BUSY: False,
    RefusalCode.OVER_BUDGET: True,
    RefusalCode.OWED: True,
    RefusalCode.SUCCEEDED: True,
}
"""Whether a host that answers so, when it is asked for what it keeps, withholds it. It may well be full, owed something
or have its rules: that is a reason to take nothing new, and none to give nothing back (ADR 61)."""
_OF_CHALLENGES: Final = frozenset({RefusalCode.STALE, RefusalCode.OVER_BUDGET})
"""Only a challenge names a head, and has a budget: to whatever else is asked for neither can be true."""


def classify_refusal(code: int, *, is_read: bool, is_challenge: bool = False) -> Refusal:
    """Return whether a peer may refuse so.

    is_read: something that it keeps was to be given back, or shown. is_challenge: as an audit's challenge names it.
    """
    if is_challenge and code in _OF_CHALLENGES:
        return Refusal.ALLOWED
    known = code in RefusalCode.__members__.values()
    withholds = WITHHOLDING[RefusalCode(code) if known else RefusalCode.POLICY]
    return Refusal.FAULT if is_read and withholds else Refusal.ALLOWED
