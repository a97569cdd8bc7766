"""Which proxy signaling goes through, and what the address of one may look like.

Knows: the wish of whoever works now: of a command, for all that comes of it, or of the settings, for what the agent
does by itself. Must not know: sockets. A proxy that can't be reached is never gone around. Only signaling goes through
it; sessions between peers are UDP, which proxies don't carry.
"""

import ipaddress
import re
from contextvars import ContextVar
from typing import Final, Literal
from urllib.parse import urlsplit

from backuppeer.errors import Unavailable, UserError
from backuppeer.limits import SERVER_URL_CHARS

_SCHEMES: Final = frozenset({"socks5", "socks5h", "http", "https"})
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_NOWHERE: Final = "nowhere:"
_WISH: Final[ContextVar[str]] = ContextVar("proxy", default="")
"""Tasks take it from whoever starts them: so it holds for an offer as long as that lasts. Empty = none was named."""


def parse_proxy(text: str) -> str:
    """Return a proxy's address in its normal form; empty stays empty: none.

    Names of servers are looked up by the proxy, so that they don't show in the network around us.

    Raises:
        UserError: not `socks5://` or `http://` (`https://`) with a host; never shows what may be a password.

    """
    if not text:
        return ""
    try:
        parts = urlsplit(text if _PRINTABLE.fullmatch(text) and len(text) <= SERVER_URL_CHARS else "")
        port, is_whole = parts.port, bool(parts.hostname) and parts.path in ("", "/")
    except ValueError:
        parts, port, is_whole = urlsplit(""), None, False
    is_bare = not parts.query and not parts.fragment and (parts.username is None) == (parts.password is None)
    if parts.scheme not in _SCHEMES or not is_whole or not is_bare or port == 0:
        raise UserError(
            "not a proxy's address", hint="for example socks5://127.0.0.1:9050 or http://proxy.example:3128"
        )
    scheme = "socks5h" if parts.scheme == "socks5" else parts.scheme
    return f"{scheme}://{parts.netloc}"


def has_password(text: str) -> bool:
    """Tell whether an address says a password."""
    return "@" in text


def use_proxy(text: str) -> None:
    """Let what is done from here on, and what comes of it, go through a proxy; empty = through none of ours.

    Raises:
        UserError: not a proxy's address.

    """
    _WISH.set(parse_proxy(text))


def use_nothing() -> None:
    """Let nothing be dialled from here on: a proxy may be wanted, and nobody knows which."""
    _WISH.set(_NOWHERE)


def proxy_for(url: str) -> str | Literal[True] | None:
    """Return the proxy to dial a server by; None: none, on this machine; True: what the environment says, if anything.

    Raises:
        Unavailable: nothing may be dialled.

    """
    if _is_loopback(url):
        return None
    wish = _WISH.get()
    if wish == _NOWHERE:
        raise Unavailable(f"{url}: not dialled, as the settings can't be read, and may name a proxy")
    return wish or True


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
