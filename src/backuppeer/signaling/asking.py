"""Asking a server for its relay and its observers (ADR 77, 78).

Knows: one question on a socket of its own. Must not know: transports, who is to be reached.
"""

import asyncio
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from backuppeer.errors import PeerFault, Unavailable
from backuppeer.ids import TransportId
from backuppeer.limits import SERVER_CONNECT_S
from backuppeer.signaling.client import open_link
from backuppeer.signaling.messages import AskRelay, RelayIs
from backuppeer.signaling.observers import ObserverPlace, unpack_observer
from backuppeer.signaling.proxying import proxy_for
from backuppeer.signaling.servers import authority
from backuppeer.transport.addresses import format_address, parse_address


async def ask_relay(url: str, transport: TransportId) -> RelayIs:
    """Have a transport key admitted at a server; `life_s` 0: it has no relay, or none for us.

    Raises:
        Unavailable: the server can't be reached, or is too old to have one.
        ProtocolViolation: it does not keep to the protocol.

    """
    async with open_link(url) as link:
        return await link.ask(AskRelay(transport), RelayIs)


def relay_url(server: str) -> str:
    """Return the address of a server's relay as iroh wants it: `https://` for `wss://`; empty for one below a path."""
    parts = urlsplit(server)
    return "" if parts.path.strip("/") else f"{'https' if parts.scheme == 'wss' else 'http'}://{authority(server)}"


def is_proxied(server: str) -> bool:
    """Say whether a server is reached through a proxy here and now: then its relay and observers are not used.

    They would be reached from our own address, which whoever sets a proxy may want to keep from the server.
    """
    try:
        wish = proxy_for(server)
    except Unavailable:
        return True
    if wish is not True:
        return wish is not None
    proxies, host = getproxies(), urlsplit(server).hostname or ""
    is_secure = urlsplit(server).scheme == "wss"
    wanted = ("all", "socks", "https", *(() if is_secure else ("http",)))
    return any(kind in proxies for kind in wanted) and not proxy_bypass(host)


def read_observers(answer: RelayIs) -> list[ObserverPlace]:
    """Return where a server says that its observers are; what is malformed is left out."""
    places: list[ObserverPlace] = []
    for data in answer.observers:
        try:
            places.append(unpack_observer(data))
        except PeerFault:
            continue
    return places


async def find_addresses(server: str) -> dict[int, str]:
    """Return a server's IP address by IP version (4, 6), as the system resolves its name; empty when it can't now."""
    host = urlsplit(server).hostname or ""
    found: dict[int, str] = {}
    try:
        async with asyncio.timeout(SERVER_CONNECT_S):
            rows = await asyncio.get_running_loop().getaddrinfo(host, 1, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError):
        return found
    for family, _, _, _, address in rows:
        version = 6 if family == socket.AF_INET6 else 4
        found.setdefault(version, str(address[0]).partition("%")[0])
    return found


def observer_address(host: str, place: ObserverPlace) -> str:
    """Return the `ip:port` of an observer at a server's IP address."""
    ip, _ = parse_address(f"[{host}]:1" if place.version == 6 else f"{host}:1")
    return format_address(ip, place.port)
