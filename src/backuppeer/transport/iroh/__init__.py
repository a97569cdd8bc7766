"""QUIC between transport keys, by iroh: the only room that imports it.

Knows: iroh, its traps (FACTS, "iroh"), how its errors read. Must not know: messages, identities, who is a partner.
No relay, no discovery, no publishing: an endpoint dials the addresses it is given and nothing else.
"""

from backuppeer.transport.iroh.connection import IrohConnection, IrohStream
from backuppeer.transport.iroh.endpoint import ALPN, IrohTransport, open_iroh

__all__ = ["ALPN", "IrohConnection", "IrohStream", "IrohTransport", "open_iroh"]
