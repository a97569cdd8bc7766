"""Shapes of `invite` and of `connect INVITE` (control.api, ADR 75).

Knows: request and result structs. Must not know: the agent, the terminal. Units and texts as in `control.api`.
"""

import msgspec

from backuppeer.control.api import Request


class InviteRequest(Request):
    """`invite create`. storage: to each that comes; 0 = as much as is usual and left."""

    storage: int = 0
    uses: int = 1
    expires_s: int = 0
    """0 = the default."""
    name: str = ""


class InviteNamed(Request):
    """`invite revoke`: id, its beginning, or name."""

    invite: str


class InviteText(Request):
    """`connect INVITE`: the invite as it was given."""

    text: str


class InviteMade(msgspec.Struct, kw_only=True):
    """`invite create`. invite: whoever has this text has what it gives."""

    invite_id: str
    invite: str
    peer_id: str
    name: str
    uses: int
    storage_bytes: int
    expires: str
    servers: list[str]
    """Where it leads to the slot by now."""
    unlisted: bool
    note: str = ""
    """What its person should know."""


class InviteUse(msgspec.Struct, kw_only=True):
    """Who came by an invite; agreed: an agreement came of it."""

    peer_id: str
    alias: str
    time: str
    agreed: bool


class InviteRow(msgspec.Struct, kw_only=True):
    """One invite (`invite list`). state: live, used up, expired, revoked."""

    invite_id: str
    name: str
    state: str
    uses: int
    used: list[InviteUse]
    storage_bytes: int
    created: str
    expires: str


class InviteOpened(msgspec.Struct, kw_only=True):
    """Where an invite leads, and what it gives without a question; 0 = it doesn't say.

    verified: it came by a spoken code, whose words only its host knew. agreed: this home has space there already.
    """

    peer_id: str
    storage_bytes: int
    verified: bool = False
    agreed: bool = False


class CodeToSay(msgspec.Struct, kw_only=True):
    """A spoken code that waits to be said, once, until it expires."""

    code: str
    expires: str


class InviteSpoken(msgspec.Struct, kw_only=True):
    """`invite create --spoken`: who said the code, and is a friend by that; what it may have.

    agreed_bytes: what it has here already; the invite is used up then, and gives no more.
    """

    invite_id: str
    peer_id: str
    alias: str
    storage_bytes: int
    agreed_bytes: int = 0
