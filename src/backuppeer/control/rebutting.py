"""Shapes of `audit rebut`: what a host kept that its owner signed about a pack (control.api).

Knows: request and result structs. Must not know: what a judge makes of it; the command judges.
"""

import msgspec

from backuppeer.control.api import Request


class RebutRequest(Request):
    """Ask for the first request to remove a pack after number `after`; ids in hex, `stored` empty: for none."""

    agreement: str
    stored: str = ""
    after: int = 0


class KeptRemoval(msgspec.Struct, kw_only=True):
    """A request to delete or withdraw, as it was signed, and the packs that it names, in hex. number: 0: none is left.

    agreements: with `after` 0 all revisions of the agreement as they were signed, oldest first, in hex.
    endings: with it the owner's last notice, and its leave to end at once.
    """

    number: int = 0
    signed: str = ""
    packs: list[str] = msgspec.field(default_factory=list)
    agreements: list[str] = msgspec.field(default_factory=list)
    endings: list[str] = msgspec.field(default_factory=list)
