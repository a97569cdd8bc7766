"""Shapes of `peers replace`: all packs of one host at another, then the first ends (control.api, ADR 45).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import Request


class ReplaceRequest(Request):
    """`peers replace OLD NEW`; confirmed: the person, or --yes, saw what it means and agreed."""

    old: str
    new: str
    confirmed: bool = False


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
