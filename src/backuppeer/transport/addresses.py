"""Addresses as text: `ip:port`, `[ip]:port`. No names, no scopes.

Knows: which addresses are well-formed, and which a peer may make us dial (DESIGN 6). Must not know: sockets, peers.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from backuppeer.errors import ProtocolViolation
from backuppeer.limits import ADDRESS_CHARS, PEER_ADDRESSES

Ip = IPv4Address | IPv6Address


def parse_address(text: str) -> tuple[Ip, int]:
    """Return IP and port of `1.2.3.4:5` or `[2001:db8::1]:5`; port 0 is allowed (for binding).

    Raises:
        ProtocolViolation: anything else: a name, a scope id, a port out of range, too long.

    """
    bad = ProtocolViolation(f"not an address: {text[:ADDRESS_CHARS]!r}")
    host, separator, port = text.rpartition(":")
    if len(text) > ADDRESS_CHARS or not separator or not (port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
        raise bad
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        ip = ip_address(host[1:-1] if bracketed else host)
    except ValueError as exc:
        raise bad from exc
    if bracketed != isinstance(ip, IPv6Address) or "%" in host:
        raise bad
    return ip, int(port)


def format_address(ip: Ip, port: int) -> str:
    """Return the text that `parse_address` reads."""
    return f"[{ip}]:{port}" if isinstance(ip, IPv6Address) else f"{ip}:{port}"


def select_dialable(addresses: Iterable[str], *, may_loopback: bool = False) -> list[str]:
    """Return those of a peer's addresses that we may dial, ≤ PEER_ADDRESSES, so that nobody uses us as a scanner.

    Malformed, unspecified, multicast, link-local and, but for tests on one machine, loopback addresses are dropped.
    """
    chosen: list[str] = []
    for text in addresses:
        try:
            ip, port = parse_address(text)
        except ProtocolViolation:
            continue
        # ::ffff:127.0.0.1 is 127.0.0.1 to the socket, so it is judged as that.
        real: Ip = (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip
        is_bad = real.is_unspecified or real.is_multicast or real.is_link_local or real.is_reserved
        if port == 0 or (is_bad and not real.is_loopback) or (real.is_loopback and not may_loopback):
            continue
        plain = format_address(real, port)
        if plain not in chosen:
            chosen.append(plain)
        if len(chosen) == PEER_ADDRESSES:
            break
    return chosen
