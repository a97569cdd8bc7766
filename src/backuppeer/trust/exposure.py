"""How much may lie with a stranger: little at first, and more as it proves that it keeps what it has. Pure.

Knows: the cap of DESIGN 8. Must not know: ledgers, audits. Verified bytes are those of packs of which the host showed a
leaf within the last 30 days: an audit reads 0.1 % of the bytes, but what it can say something of is all that it drew
from.
"""

from typing import Final

from backuppeer.limits import GIB

TRIAL_BYTES: Final = GIB
"""What a stranger gets before it proved anything: what its disappearance may cost."""
GROWTH: Final = 4
"""Times what was verified. The daily audits see all within a month, `audit --now` at once."""


def cap_bytes(verified_bytes: int, *, is_friend: bool = False, lifted_bytes: int | None = None) -> int | None:
    """Return how many bytes may lie with a host in all; None = as many as agreed on.

    verified_bytes: of packs that showed a leaf within 30 days. lifted_bytes: the cap its owner set for this host.
    """
    if is_friend:
        return None
    most = max(TRIAL_BYTES, GROWTH * max(0, verified_bytes))
    return most if lifted_bytes is None else max(most, lifted_bytes)


def room_bytes(held_bytes: int, cap: int | None) -> int | None:
    """Return how many bytes more may be sent below `cap`; what lies there already is never asked back."""
    return None if cap is None else max(0, cap - held_bytes)
