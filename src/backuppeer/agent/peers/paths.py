"""Why a session goes by a relay, in words (ADR 78).

Knows: kinds of NAT on both sides, as each side's observers saw them. Must not know: sessions, relays. What is not known
is not guessed: then it only says that no direct path was found.
"""

from typing import Final

from backuppeer.agent.peers.whereabouts import NatKind
from backuppeer.transport.base import PathKind

_BOTH: Final = "both NATs are symmetric"
_STRICT: Final = "{one} NAT is symmetric, and {other} lets in only whom it wrote to"
_ONE: Final = "{one} NAT is symmetric, and no direct path was found"
_NOTHING: Final = "no direct path was found"
_SIDES: Final = ("this side's", "the peer's")


def explain_path(kind: PathKind, *, own: NatKind, theirs: str) -> str:
    """Return why a session is relayed; empty for any that is not. own, theirs: what lies before each side."""
    if kind is not PathKind.RELAYED:
        return ""
    nats = (str(own), theirs)
    if NatKind.SYMMETRIC not in nats:
        return _NOTHING
    if nats[0] == nats[1]:
        return _BOTH
    at = nats.index(NatKind.SYMMETRIC)
    # Before one without a NAT there may be a firewall, or it is still being looked for: that is not ours to say.
    words = _STRICT if nats[1 - at] == NatKind.STEADY else _ONE
    return words.format(one=_SIDES[at], other=_SIDES[1 - at])
