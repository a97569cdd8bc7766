"""QUIC between transport keys, by iroh: the only room that imports it.

Knows: iroh, its traps (FACTS, "iroh"), how its errors read. Must not know: messages, identities, who is a partner.
No discovery, no publishing: an endpoint dials the addresses and uses the relays it is given, and nothing else.
"""

from backuppeer.transport.iroh.connection import IrohConnection, IrohStream
from backuppeer.transport.iroh.endpoint import ALPN, IrohTransport, open_iroh
from backuppeer.transport.iroh.observer import Observer, open_observer

__all__ = ["ALPN", "IrohConnection", "IrohStream", "IrohTransport", "Observer", "open_iroh", "open_observer"]
