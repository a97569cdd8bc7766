"""Where a peer can be dialled, as it says itself in a statement that it signed (DESIGN 6; ADR 78).

Knows: addresses, the server at whose relay it is found, what lies before it. Must not know: sessions, dialling.
"""

from enum import StrEnum
from typing import Final

import msgspec

from backuppeer.ids import PeerId
from backuppeer.proof.statements import TransportBinding, open_statement
from backuppeer.signaling.servers import is_server_url

_RELAY: Final = "relay"
_NAT: Final = "nat"


class NatKind(StrEnum):
    """What lies between a machine and the internet, as observers see it."""

    UNKNOWN = ""
    NONE = "none"
    SOME = "some"
    """One, of which only one observer could be asked."""
    STEADY = "steady"
    """It keeps a socket's port whatever the destination: a direct path can be found."""
    SYMMETRIC = "symmetric"
    """It gives each destination another port."""


class Whereabouts(msgspec.Struct, frozen=True):
    """Where a peer said, in a statement it signed, that it can be dialled."""

    transport: bytes
    addresses: tuple[str, ...]
    time_ms: int = 0
    relay: str = ""
    """The signaling server at whose relay it is found; empty: at none."""
    nat: str = ""
    """A NatKind."""

    def encode(self) -> bytes:
        """Return bytes for State."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "Whereabouts":
        """Return what `encode` wrote."""
        return msgspec.msgpack.decode(data, type=cls)

    def extensions(self) -> dict[str, bytes]:
        """Return what stands in `ext` of a TransportBinding beside the addresses."""
        said = {_RELAY: self.relay.encode(), _NAT: self.nat.encode()}
        return {name: value for name, value in said.items() if value}


def read_binding(signed: bytes, peer: PeerId) -> Whereabouts:
    """Return what a peer's signed TransportBinding says.

    Raises:
        AuthenticationFault: not signed by `peer`.

    """
    binding = open_statement(TransportBinding, signed, peer)
    relay, nat = (binding.ext.get(name, b"").decode("ascii", "replace") for name in (_RELAY, _NAT))
    return Whereabouts(
        binding.transport,
        tuple(binding.addresses),
        binding.time_ms,
        relay if is_server_url(relay) else "",
        nat if nat in set(NatKind) else "",
    )
