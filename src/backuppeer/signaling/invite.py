"""Invite: the text that leads one person to another's slot, and lets them in (ADR 75).

Knows: its bytes, its spelling. Must not know: keys that follow from it, servers' protocol, who uses it.

Bytes: version 1 ‖ host 32 ‖ secret 16 ‖ u32be(expiry in seconds since 1970) ‖ servers, ASCII, joined by line feeds,
`wss://` left out, none = the default one. Text: bech32m with hrp `bpi`, so that a slip of the pen is noticed before
anybody is asked anything. Blanks, line breaks, hyphens and capitals mean nothing: mail programs and people put them in.
Whoever has the text has what it gives: it says who the host is, not who the bearer is.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from backuppeer.crypto.invitation import INVITE_SECRET_BYTES, Invitation, derive_invitation
from backuppeer.errors import LocalError, UserError
from backuppeer.ids import PEER_ID_BYTES, PeerId, format_bech32m, parse_bech32m
from backuppeer.limits import INVITE_CHARS, INVITE_SERVERS
from backuppeer.signaling.servers import DEFAULT_SERVER, is_server_url, parse_server

VERSION: Final = 1
_HRP: Final = "bpi"
_HEAD: Final = struct.Struct(f">B{PEER_ID_BYTES}s{INVITE_SECRET_BYTES}sI")
_USUAL: Final = "wss://"
_EXPIRY_MOST: Final = 0xFFFF_FFFF
_AGAIN: Final = "copy it whole, from bpi1 to its end; or ask for it again"


@dataclass(frozen=True, slots=True)
class Invite:
    """One invite as its bearer has it. expires_s: seconds since 1970 UTC."""

    host: PeerId
    secret: bytes = field(repr=False)
    expires_s: int
    servers: tuple[str, ...]
    """Where the card of the slot lies: the word of a stranger, as all that a peer names."""

    @property
    def keys(self) -> Invitation:
        """Return what follows from its secret."""
        return derive_invitation(self.secret, self.host)


def is_invite(text: str) -> bool:
    """Tell whether a text begins like an invite."""
    return _clean(text[: INVITE_CHARS * 2]).startswith(f"{_HRP}1")


def is_whole(text: str) -> bool:
    """Tell whether a text is all of an invite, with no character of it mistyped."""
    return parse_bech32m(_HRP, _clean(text)) is not None


def format_invite(invite: Invite) -> str:
    """Return the text of an invite: `bpi1…`, 95 characters with the default server.

    Servers beyond INVITE_SERVERS are left out, from the end.

    Raises:
        LocalError: it would be longer than one may be.

    """
    named = () if invite.servers == (DEFAULT_SERVER,) else invite.servers[:INVITE_SERVERS]
    head = _HEAD.pack(VERSION, invite.host, invite.secret, min(invite.expires_s, _EXPIRY_MOST))
    text = format_bech32m(_HRP, head + "\n".join(url.removeprefix(_USUAL) for url in named).encode("ascii"))
    if len(text) > INVITE_CHARS:
        raise LocalError("the addresses of the servers are too long for an invite", hint="name shorter ones, or fewer")
    return text


def parse_invite(text: str) -> Invite:
    """Return what an invite says.

    Raises:
        UserError: it is none, mistyped, of an unknown version, or names no server that could be dialled.

    """
    data = parse_bech32m(_HRP, _clean(text)) if len(text) <= INVITE_CHARS * 4 else None
    if not data:
        raise UserError("not an invite, or at least one character of it is wrong", hint=_AGAIN)
    if data[0] != VERSION:
        raise UserError(
            f"the invite has version {data[0]}, this program knows {VERSION}",
            hint="install the version of the program that your friend has",
        )
    if len(data) < _HEAD.size:
        raise UserError("the invite is cut short", hint=_AGAIN)
    _, host, secret, expires_s = _HEAD.unpack_from(data)
    return Invite(PeerId(host), secret, expires_s, _read_servers(data[_HEAD.size :]))


def _read_servers(raw: bytes) -> tuple[str, ...]:
    if not raw:
        return (DEFAULT_SERVER,)
    bad = UserError("the invite names no server that could be asked", hint=_AGAIN)
    try:
        parts = raw.decode("ascii").split("\n")
    except UnicodeDecodeError as exc:
        raise bad from exc
    urls = [part if "://" in part else _USUAL + part for part in parts]
    if len(urls) > INVITE_SERVERS or not all(map(is_server_url, urls)):
        raise bad
    return tuple(dict.fromkeys(map(parse_server, urls)))


def _clean(text: str) -> str:
    """Return a text as it was meant: no blanks, line breaks or hyphens, small letters. ASCII only: one spelling."""
    joined = "".join(text.split()).replace("-", "")
    return joined.lower() if joined.isascii() and len(joined) <= INVITE_CHARS else ""
