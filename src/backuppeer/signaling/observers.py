"""Where a server's observers are, as bytes in `RelayIs`.

Knows: the form. Must not know: sockets. An observer is a QUIC endpoint beside the server, which tells whoever connects
the address it came from (ADR 78). It is named by port only: its host is the server's, so that nobody is sent elsewhere.
"""

from typing import Final, NamedTuple

from backuppeer.errors import ProtocolViolation
from backuppeer.ids import TransportId

_KEY_BYTES: Final = 32
_VERSIONS: Final = frozenset({4, 6})


class ObserverPlace(NamedTuple):
    """One observer: its transport key, UDP port, IP version (4 or 6)."""

    transport: TransportId
    port: int
    version: int


def pack_observer(place: ObserverPlace) -> bytes:
    """Return the OBSERVER_BYTES of one place."""
    return place.transport + place.port.to_bytes(2, "big") + bytes([place.version])


def unpack_observer(data: bytes) -> ObserverPlace:
    """Return the place that `pack_observer` wrote.

    Raises:
        ProtocolViolation: no port, or another version than 4 and 6.

    """
    place = ObserverPlace(
        TransportId(data[:_KEY_BYTES]), int.from_bytes(data[_KEY_BYTES : _KEY_BYTES + 2], "big"), data[-1]
    )
    if not place.port or place.version not in _VERSIONS:
        raise ProtocolViolation("an observer without a port, or of no IP version")
    return place
