"""Where a connection comes from, when proxies stand before the server.

Knows: which networks are proxies of ours. Must not know: sockets. `X-Forwarded-For` is a list that every proxy appends
to and anybody may begin: it counts only when the connection comes from a trusted proxy, and is read from its end, up to
the first address that is none.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from backuppeer import limits
from backuppeer.errors import UserError

FORWARDED: Final = "X-Forwarded-For"
_SIGNS: Final = (FORWARDED, "Forwarded", "Via", "X-Real-IP")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Hops:
    """The proxies that an operator trusts."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """Take addresses and networks (`10.0.0.0/8`).

        Raises:
            UserError: one of them is neither.

        """
        self._trusted = [_parse(text) for text in trusted]

    def trusts(self, address: str) -> bool:
        """Tell whether an address is a proxy of ours."""
        ip = _ip(address)
        return ip is not None and any(ip in network for network in self._trusted)

    def origin_of(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the address that a connection comes from. `forwarded`: the header's values, as they stand.

        A proxy of ours that says nothing, or what is no address, is itself what is counted: nobody gains by it.
        """
        address = peer
        steps = [step.strip() for value in forwarded for step in value.split(",")]
        for step in reversed(steps[-limits.FORWARDED_STEPS :]):
            if not self.trusts(address):
                break
            ip = _ip(step)
            if ip is None:
                break
            address = str(ip)
        return address


def is_forwarded(names: Iterable[str]) -> bool:
    """Tell whether the headers of a request say that a proxy passed it on."""
    signs = {sign.lower() for sign in _SIGNS}
    return any(name.lower() in signs for name in names)


def _parse(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        hint = "name an address or a network, for example 127.0.0.1 or 10.0.0.0/8"
        raise UserError(f"not a proxy's address: {text[:80]!r}", hint=hint) from exc


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, as IPv4 if it is one mapped to IPv6; a port behind it is left out. None: not one."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        ip = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip
