"""Shapes of `leave`: both roles of a home retired, and what remains (ADR 90, control.api).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import Request
from backuppeer.control.ending import RetiredOwner


class LeaveRequest(Request):
    """`leave`; confirmed: the person, or --yes, saw the plan and agreed."""

    confirmed: bool = False


class LeftHost(msgspec.Struct, kw_only=True):
    """A host of ours, which keeps `used_bytes` until `until` at least.

    ended: our notice stands. told: whether it has heard of it. refused: why it takes no notice from us, or empty.
    """

    peer_id: str
    alias: str
    used_bytes: int
    until: str
    ended: bool = False
    told: bool = False
    refused: str = ""


class LeavePlan(msgspec.Struct, kw_only=True):
    """What leaving would mean, or where it stands.

    owners: of how many `used_bytes` lie here, until `until` at least; "": nothing does. is_new: something is left to
    end. requests: how many of ours wait for a host. sets: those with a schedule. store_fault: why the store can't be
    looked into, or empty.
    """

    hosts: list[LeftHost]
    owners: int
    used_bytes: int
    until: str
    is_new: bool
    is_offering: bool
    requests: int
    sets: list[str]
    store_fault: str = ""


class LeaveResult(msgspec.Struct, kw_only=True):
    """Notice was given to all. `until`: when the last of others' data here goes at the soonest; "": nothing is here.

    store: where the store lies, "" where there never was one. store_fault: why it can't be looked into, or empty.
    """

    hosts: list[LeftHost]
    owners: list[RetiredOwner]
    until: str
    store: str
    store_fault: str = ""
