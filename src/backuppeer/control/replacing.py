"""Shapes of `peers replace`: all packs of one host at another, then the first ends (control.api, ADR 45).

Knows: request, plan and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import Request


class ReplaceRequest(Request):
    """`peers replace OLD NEW`; confirmed: the person, or --yes, saw what it means and agreed."""

    old: str
    new: str
    confirmed: bool = False


class ReplacePlan(msgspec.Struct, kw_only=True):
    """What would be done: `copy_packs` of all `packs` are copied to the new host, which has `free_bytes` free.

    `until`: the old one keeps all until then at least. is_ended: notice was given to it before; told: it has heard.
    """

    old: str
    new: str
    old_name: str
    new_name: str
    packs: int
    bytes: int
    copy_packs: int
    copy_bytes: int
    free_bytes: int
    until: str
    is_ended: bool
    told: bool
    sets: list[str] = msgspec.field(default_factory=list)
    """The sets that name the old one: they name the new one afterwards."""


class ReplaceResult(msgspec.Struct, kw_only=True):
    """The new host has all: `packs` of `bytes`, each answered for by it. The old one keeps all until `until` at least.

    told: whether the old one has heard of the notice; if not, it is told when it is met.
    """

    old: str
    new: str
    packs: int
    bytes: int
    until: str
    told: bool
    sets: list[str] = msgspec.field(default_factory=list)
    """The sets that named the old one, and name the new one now."""
