"""A network in memory: the same contract as iroh, with weather that a test chooses.

Knows: delay, loss, cuts, silence; all of it seeded, so that a failing run repeats. Must not know: sockets, messages.

What QUIC does and this does too: a stream appears at the peer with its first write; a window stops the writer; a reset
and a close throw away what was not read. What it does faster: a lost connection is noticed by both sides at once; to
test the heartbeat, `freeze` the network instead: nothing passes and nobody is told.
"""

from backuppeer.transport.memory.link import Weather
from backuppeer.transport.memory.network import MemoryConnection, MemoryStream, MemoryTransport, Network

__all__ = ["MemoryConnection", "MemoryStream", "MemoryTransport", "Network", "Weather"]
