"""Whether this machine could reach an address at all, were anybody there.

Knows: the system's routing table, by asking for a route. Must not know: peers. Nothing is sent: connecting a UDP socket
only looks up the route (connect(2)).
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv6Address

from backuppeer.errors import ProtocolViolation
from backuppeer.transport.addresses import parse_address


def has_route(addresses: Iterable[str]) -> bool:
    """Say whether any of the addresses (`ip:port`) can be sent to from here; what is no address is taken to be."""
    return any(_is_routed(address) for address in addresses)


def _is_routed(address: str) -> bool:
    try:
        ip, port = parse_address(address)
    except ProtocolViolation:
        return True
    family = socket.AF_INET6 if isinstance(ip, IPv6Address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(ip), port))
    except OSError:
        return False
    return True
