"""Shapes of `connect --best`: the host that is proposed, and the next one (control.api).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import BrowseRow, Request


class BestRequest(Request):
    """`connect --best`: at least so much free space, in this region if one is named."""

    storage: int
    region: str = ""


class BestChoice(msgspec.Struct, kw_only=True):
    """The best host that can be proposed, and the runner-up if there is one. seen: how many hosts are on offer."""

    best: BrowseRow
    next: BrowseRow | None
    seen: int
