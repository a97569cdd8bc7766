"""Which signaling servers to use, and what a server's address may look like.

Knows: the one default, the address syntax, the order flag, environment, config, default. Must not know: sockets. This
is the only place of the project where the address of a server stands.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from backuppeer import limits
from backuppeer.errors import UserError

DEFAULT_SERVER: Final = "wss://backup01.wiuf.net"
_SCHEMES: Final = {"ws": 80, "wss": 443}
_LOCAL_SUFFIXES: Final = frozenset({"localhost", "local", "lan", "internal", "home", "arpa", "localdomain"})
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_SEPARATORS: Final = re.compile(r"[,\s]+")


def parse_servers(text: str) -> list[str]:
    """Return the addresses of a list separated by commas or blanks, normalised, each once, in order.

    Raises:
        UserError: one of them is no server address, or there are more than 16.

    """
    return check_servers(part for part in _SEPARATORS.split(text) if part)


def check_servers(urls: Iterable[str]) -> list[str]:
    """Return addresses normalised, each once, in order.

    Raises:
        UserError: one of them is no server address, or there are more than 16.

    """
    unique = list(dict.fromkeys(parse_server(url) for url in urls))
    if len(unique) > limits.SERVERS:
        raise UserError(f"{len(unique)} signaling servers, at most {limits.SERVERS}", hint="name fewer servers")
    return unique


def parse_server(text: str) -> str:
    """Return one server address in its normal form: lower-case scheme and host, no default port, no final slash.

    Raises:
        UserError: not a `ws://` or `wss://` address with a host, or with user, query or fragment, or over 256
            characters.

    """
    parts = _split(text)
    if parts is None:
        raise UserError(
            f"not a signaling server address: {text[:80]!r}",
            hint="an address is wss:// (or ws:// on your own network), then a host name and optionally a port",
        )
    return f"{parts.scheme}://{_authority(parts)}{parts.path.rstrip('/')}"


def is_server_url(text: str) -> bool:
    """Tell whether a text from outside is a server address we would dial."""
    return _split(text) is not None


def is_safe_foreign(text: str) -> bool:
    """Tell whether a server that a peer named may be dialled: `wss://`, a public-looking name, no address literal.

    TLS with a checked certificate makes such a dial useless for probing what stands in our own network.
    """
    parts = _split(text)
    if parts is None or parts.scheme != "wss":
        return False
    host = (parts.hostname or "").lower().rstrip(".")
    labels = host.split(".")
    is_literal = ":" in host or labels[-1].isdigit() or labels[-1].startswith("0x")
    return len(labels) > 1 and not is_literal and labels[-1] not in _LOCAL_SUFFIXES


def may_lead_to(url: str, other: str) -> bool:
    """Tell whether a server may send us on to another address: of the same host and scheme, or a safe foreign one."""
    one, two = _split(url), _split(other)
    is_same = one is not None and two is not None and (one.scheme, one.hostname) == (two.scheme, two.hostname)
    return is_server_url(other) and (is_same or is_safe_foreign(other))


def authority(url: str) -> str:
    """Return host and port of an address as the HTTP Host header says them: lower case, no default port.

    Raises:
        UserError: not a server address.

    """
    return _authority(urlsplit(parse_server(url)))


def count_servers(count: int) -> str:
    """Return `1 server`, `2 servers`."""
    return f"{count} server{'' if count == 1 else 's'}"


def resolve_servers(flag: Sequence[str] | None, environment: str | None, config: Sequence[str] | None) -> list[str]:
    """Return the servers to use: flag, else environment, else config, else the one default; set but empty = none.

    flag: `--server` values (None = not given); environment: `BACKUPPEER_SERVERS` (None = not set);
    config: the configured list (None = not configured).

    Raises:
        UserError: an address is malformed, or there are more than 16.

    """
    if flag is not None:
        return check_servers(url for text in flag for url in parse_servers(text))
    if environment is not None:
        return parse_servers(environment)
    if config is not None:
        return check_servers(config)
    return [DEFAULT_SERVER]


def _split(text: str) -> SplitResult | None:
    """Split an address, None where it is not one. urlsplit drops control characters, hence the check before it."""
    if len(text) > limits.SERVER_URL_CHARS or not _PRINTABLE.fullmatch(text):
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    wanted = parts.scheme in _SCHEMES and bool(parts.hostname) and port != 0
    unwanted = parts.query or parts.fragment or "@" in parts.netloc or "?" in text or "#" in text or "\\" in text
    return parts if wanted and not unwanted else None


def _authority(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return host if port is None or port == _SCHEMES[parts.scheme] else f"{host}:{port}"
