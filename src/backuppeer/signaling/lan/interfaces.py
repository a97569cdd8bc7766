"""Interfaces: the networks that this machine is in, and which addresses lie in them.

Knows: ifaddr. Must not know: sockets, what is done there. What was heard in a network is dialled only inside of it: so
nobody there makes us knock at other machines than it could reach itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface

import ifaddr

from backuppeer.limits import LAN_INTERFACES

Ip = IPv4Address | IPv6Address
IpInterface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Interface:
    """One network card, with those of its addresses that others in its network can dial."""

    name: str
    addresses: tuple[IpInterface, ...]
    index: int = 0
    """The system's number of the card; 0: not known."""

    def holds(self, ip: Ip) -> bool:
        """Tell whether an address lies in a network of this card."""
        return any(ip.version == own.version and ip in own.network for own in self.addresses)


def list_interfaces(binds: Sequence[str]) -> list[Interface]:
    """Return the networks to be found in; binds: the addresses that this home listens on, wildcards = all.

    Loopback counts only where nothing else is listened on (tests). Not those without neighbours: links between two
    ends, which tunnels are, and what has only addresses that no peer may be dialled at (link-local).
    """
    chosen = [ip_address(text) for text in binds]
    found = []
    try:
        adapters = list(ifaddr.get_adapters())
    except OSError:
        return []  # the system does not tell: then this home is in no network
    for adapter in adapters:
        addresses = tuple(own for own in map(_read, adapter.ips) if own is not None and _is_used(own, chosen))
        if addresses:
            found.append(Interface(adapter.name, addresses, adapter.index or 0))
    return found[:LAN_INTERFACES]


def find_interface(ip: Ip, interfaces: Iterable[Interface]) -> Interface | None:
    """Return the interface in whose network an address lies."""
    return next((interface for interface in interfaces if interface.holds(ip)), None)


def is_near(source: Sequence[str | int], interfaces: Iterable[Interface]) -> bool:
    """Tell whether a packet is from a network of these cards; source: as the socket says it, also IPv4 within IPv6.

    A link-local address is near on its own card alone: the same one may be in any network.
    """
    try:
        ip = ip_address(str(source[0]).partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.version == 6 and ip.is_link_local:
        scope = source[3] if len(source) > 3 else 0
        return scope != 0 and any(scope == interface.index for interface in interfaces)
    return find_interface(ip, interfaces) is not None


def _read(found: ifaddr.IP) -> IpInterface | None:
    text = found.ip if isinstance(found.ip, str) else found.ip[0]
    try:
        return ip_interface(f"{text.partition('%')[0]}/{found.network_prefix}")
    except ValueError:
        return None


def _is_used(own: IpInterface, binds: Sequence[Ip]) -> bool:
    if own.ip.is_link_local or own.ip.is_multicast or own.ip.is_unspecified or own.network.num_addresses <= 2:
        return False
    if own.ip in binds:
        return True
    return not own.ip.is_loopback and any(bind.is_unspecified and bind.version == own.version for bind in binds)
