"""Guest: what the desk may know of where a connection comes from.

Knows: names that say nothing. Must not know: addresses.
"""

from typing import Protocol

from backuppeer.signaling.messages import RelayIs


class Guest(Protocol):
    """What the desk may know of where a connection comes from: nothing but names that say nothing."""

    origin: str
    """The name by which the client dialled us."""

    def name_noter(self) -> bytes | None:
        """Count a note against the network, and name that; None when it has left too many."""
        ...

    def name_network(self, key: bytes) -> bytes:
        """Return the name of the network under a key."""
        ...

    def strike(self) -> bool:
        """Count a breach of the protocol; return whether the network is kept out from now on."""
        ...

    def admit(self, transport: bytes) -> RelayIs:
        """Admit a transport key to the relay, on the account of the network."""
        ...
