"""Who makes room when there are too many notes: the network that left most of them, not those that left theirs first.

Knows: names of inboxes, opaque names of networks. Must not know: notes, how they are kept. One line with a whole IPv6
prefix could otherwise push out the notes of everybody within hours. All this is in memory alone, and names of networks
are hashes by a key of this process: what is stored says nothing of where it came from, and after a restart nobody
crowds.
"""

import hashlib
import heapq
import ipaddress
import secrets
import socket
from typing import Final

_V4_PREFIX: Final = 24
_V6_PREFIX: Final = 48
_NAME_BYTES: Final = 8
_STALE_SHARE: Final = 4
_STALE_LEAST: Final = 64


class Networks:
    """Gives networks their names, as long as this process runs."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def name(self, address: str) -> bytes:
        """Return the name of the network of an address: a /24 of IPv4, a /48 of IPv6."""
        return hashlib.blake2b(network_of(address).encode(), key=self._key, digest_size=_NAME_BYTES).digest()


def network_of(address: str) -> str:
    """Return what counts as one network: a /24 of IPv4, a /48 of IPv6; what is no address as it stands."""
    try:
        one, two, three, _ = socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        return _network_of_any(address)
    return f"{one}.{two}.{three}.0/{_V4_PREFIX}"  # ten times faster than the way of all others, for each message


def _network_of_any(address: str) -> str:
    try:
        ip = ipaddress.ip_interface(address.partition("%")[0]).ip
    except ValueError:
        return address
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    ip = mapped or ip
    prefix = _V4_PREFIX if isinstance(ip, ipaddress.IPv4Address) else _V6_PREFIX
    return str(ipaddress.ip_network((ip, prefix), strict=False))


class Crowd:
    """Which network left the note of which inbox; notes that are not known here belong to nobody."""

    def __init__(self) -> None:
        self._networks: dict[bytes, bytes] = {}
        self._inboxes: dict[bytes, dict[bytes, None]] = {}
        """Of each network, as they were left."""
        self._sizes: list[tuple[int, bytes]] = []
        """A heap of (-notes, network): what was true once; `choose` throws away what is no more."""

    def add(self, inbox: bytes, network: bytes) -> None:
        """Note who left the newest note of an inbox."""
        self.drop(inbox)
        self._networks[inbox] = network
        self._inboxes.setdefault(network, {})[inbox] = None
        self._tell(network)

    def drop(self, inbox: bytes) -> None:
        """Forget an inbox whose note has gone."""
        network = self._networks.pop(inbox, None)
        if network is None:
            return
        left = self._inboxes[network]
        del left[inbox]
        if left:
            self._tell(network)
        else:
            del self._inboxes[network]

    def choose(self) -> bytes | None:
        """Return the oldest inbox of the network that holds most; None when no network holds more than one."""
        while self._sizes:
            size, network = self._sizes[0]
            left = self._inboxes.get(network, {})
            if len(left) == -size:
                return next(iter(left)) if len(left) > 1 else None
            heapq.heappop(self._sizes)
        return None

    def _tell(self, network: bytes) -> None:
        heapq.heappush(self._sizes, (-len(self._inboxes[network]), network))
        if len(self._sizes) > _STALE_SHARE * len(self._inboxes) + _STALE_LEAST:
            self._sizes = [(-len(left), name) for name, left in self._inboxes.items()]
            heapq.heapify(self._sizes)
