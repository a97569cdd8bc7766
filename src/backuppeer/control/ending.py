"""Shapes of `peers end` and `host --retire`, notice of agreements (ADR 45), and of `host --move-store` (control.api).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import PeerRequest, Request


class EndRequest(PeerRequest):
    """`peers end`. side: `owner` (the peer keeps our data), `host` (we keep its), or empty where only one can be meant.

    confirmed: the person, or --yes, saw the plan and agreed.
    """

    side: str = ""
    confirmed: bool = False


class EndPlan(msgspec.Struct, kw_only=True):
    """What ending would mean: `used_bytes` are kept until `until` at least, then erased."""

    peer_id: str
    name: str
    side: str
    used_bytes: int
    until: str
    sets: list[str] = msgspec.field(default_factory=list)
    """The sets that name the host."""


class EndResult(msgspec.Struct, kw_only=True):
    """Notice was given. told: whether the other side has heard of it; if not, it is told when it is met."""

    peer_id: str
    alias: str
    side: str
    until: str
    told: bool


class MoveRequest(Request):
    """`host --move-store`: have the store lie in `directory`, an absolute path."""

    directory: str


class MoveResult(msgspec.Struct, kw_only=True):
    """The store lies in `target` now, not in `source`. renamed: within one file system, so nothing was copied.

    cleared: nothing is left of it in `source`.
    """

    source: str
    target: str
    files: int
    bytes: int
    seconds: float
    renamed: bool
    cleared: bool


class MovePlace(msgspec.Struct, kw_only=True):
    """Where the store lies, once a move that somebody left has ended. cleared: nothing is left of it elsewhere."""

    directory: str
    cleared: bool


class RetireRequest(Request):
    """`host --retire`; confirmed: the person, or --yes, saw the plan and agreed."""

    confirmed: bool = False


class RetirePlan(msgspec.Struct, kw_only=True):
    """What retiring would mean: `used_bytes` of `owners` are kept until `until` at least; "": the disk is free.

    is_new: notice was not given to all of them yet.
    """

    owners: int
    is_new: bool
    used_bytes: int
    until: str


class RetiredOwner(msgspec.Struct, kw_only=True):
    """One owner, and until when all of it is kept at least. told: whether it has heard of it."""

    peer_id: str
    alias: str
    used_bytes: int
    until: str
    told: bool


class RetireResult(msgspec.Struct, kw_only=True):
    """Notice was given to all; `until`: when the disk is free at the soonest, "" if it is."""

    owners: list[RetiredOwner]
    until: str
