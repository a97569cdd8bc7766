"""Where a host is, as one word that people can send each other: `ID@KEY@IP:PORT[,IP:PORT…]`.

Knows: the form, and that KEY is the public key that the machine's connection answers with (its transport id, in hex).
Must not know: whether anybody is there. Without the key no machine could be dialled: an address alone can be anybody's.
Nothing in it is secret, and nothing in it is believed: the host proves its id, over this very connection.
"""

from typing import Final

from backuppeer.control.recovering import Place
from backuppeer.errors import ProtocolViolation, UserError
from backuppeer.ids import PEER_ID_CHARS, format_peer_id, parse_peer_id
from backuppeer.limits import PEER_ADDRESSES
from backuppeer.transport.addresses import parse_address

_KEY_CHARS: Final = 64
_ASK: Final = "its person sees all of it with `id --where`, while the agent runs there; copy it whole"


def format_contact(place: Place) -> str:
    """Return the word for a place."""
    return f"{place.peer_id}@{place.transport}@{','.join(place.addresses)}"


def parse_contact(text: str) -> Place:
    """Return what such a word says.

    Raises:
        UserError: it is none.

    """
    peer_id, _, rest = text.partition("@")
    key, separator, addresses = rest.partition("@")
    peer = parse_host_id(peer_id)
    if not separator:
        raise UserError("an address alone does not tell a host: the key of its connection is missing", hint=_ASK)
    if len(key) != _KEY_CHARS or not set(key.lower()) <= set("0123456789abcdef"):
        raise UserError(f"{key[:80]!r} is not the key of a connection: {_KEY_CHARS} hex digits", hint=_ASK)
    listed = [part for part in addresses.split(",") if part]
    if not 1 <= len(listed) <= PEER_ADDRESSES:
        raise UserError(f"a host has 1 to {PEER_ADDRESSES} addresses, not {len(listed)}", hint=_ASK)
    for address in listed:
        _check_address(address)
    return Place(peer_id=peer, transport=key.lower(), addresses=listed)


def parse_host_id(text: str) -> str:
    """Return a host's id as it was given, checked before anything is made.

    Raises:
        UserError: it is none.

    """
    if text.lower().startswith("bp1") and len(text) < PEER_ID_CHARS:
        raise UserError(
            f"{text!r} is only the start of an id, and a new home knows none that it could stand for",
            hint=f"give all {PEER_ID_CHARS} characters: its person sees them with `id`; or leave --peer out",
        )
    return format_peer_id(parse_peer_id(text))


def _check_address(text: str) -> None:
    try:
        _, port = parse_address(text)
    except ProtocolViolation as exc:
        raise UserError(exc.message, hint="an address is IP:PORT, or [IPV6]:PORT; names are not looked up") from exc
    if not port:
        raise UserError(f"{text!r} has no port", hint=_ASK)
