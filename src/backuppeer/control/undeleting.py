"""Shapes of `peers undelete`: what a host holds as deleted, and what is had back (control.api, DESIGN 5, 10).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import Request
from backuppeer.control.saving import LeftOut


class UndeleteRequest(Request):
    """`peers undelete`: `snapshots` (ids or prefixes) or `all` of those that are not in the list and still there."""

    peer: str
    snapshots: list[str] = msgspec.field(default_factory=list)
    all: bool = False


class DeletedSnapshot(msgspec.Struct, kw_only=True):
    """One snapshot that is not in the list any more, and can be read."""

    snapshot: str
    time: str
    host: str
    paths: list[str]
    files: int
    bytes: int
    tags: list[str] = msgspec.field(default_factory=list)
    set: str = ""


class UndeletePlan(msgspec.Struct, kw_only=True):
    """What a host holds as deleted: `packs` of `bytes`. `first`, `last`: when they go, at the soonest; "" for none.

    `unreadable`: packs among them of which the host gives no directory.
    """

    peer_id: str
    name: str
    packs: int
    bytes: int
    first: str
    last: str
    unreadable: int
    snapshots: list[DeletedSnapshot]


class UndeleteResult(msgspec.Struct, kw_only=True):
    """Had back: `snapshots` are in the list again, which has `kept` now; `packs` of `bytes` are kept as any others.

    `incomplete`: snapshots that stay out, as a part of them is erased. `peers`: who has the new list.
    """

    snapshots: list[str]
    incomplete: list[str]
    kept: int
    packs: int
    bytes: int
    peers: list[str]
    left_out: list[LeftOut] = msgspec.field(default_factory=list)
