"""What a server counts of itself, for Prometheus.

Knows: numbers. Must not know: addresses, keys, inboxes: a label has few values, all of them ours.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from backuppeer.signaling.server.relay.relay import RelayCounters

_RELAY: Final = {
    "relay_clients": "Peers connected to the relay now",
    "relay_forwarded_bytes": "Bytes passed on by the relay since it began",
    "relay_dropped_slow": "Datagrams for peers that did not take them",
    "relay_dropped_budget": "Datagrams of pairs without budget, or of networks for which too much waited",
    "relay_denied": "Connections that the relay did not let in",
}
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.connections = self._gauge("connections", "Connections open now")
        self.slots = self._gauge("slots", "Slots on show, at all nodes of this service")
        self.notes = self._gauge("notes", "Recovery notes kept here")
        self.is_whole = self._gauge("store_up", "1 while the state can be read and written, 0 while read-only")
        self.stamp_bits = self._gauge("stamp_bits", "Work that a new key must show now; each bit doubles it")
        self.message_bits = self._gauge("message_bits", "Work for a message into an inbox that had some lately, now")
        self.messages = self._counter("messages", "Messages answered", "type")
        self.refused = self._counter("refused", "Connections and messages turned away", "reason")
        self.closed = self._counter("closed", "Connections closed by this server", "code")

    def watch_relay(self, counters: RelayCounters) -> None:
        """Show what a relay counts, as it is when somebody looks."""
        shown: dict[str, Callable[[], float]] = {
            "relay_clients": lambda: counters.clients,
            "relay_forwarded_bytes": lambda: counters.forwarded_bytes,
            "relay_dropped_slow": lambda: counters.dropped_slow,
            "relay_dropped_budget": lambda: counters.dropped_budget,
            "relay_denied": lambda: counters.denied,
        }
        for name, look in shown.items():
            self._gauge(name, _RELAY[name]).set_function(look)

    def render(self) -> bytes:
        """Return all of it as text for Prometheus."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"backuppeer_{name}", text, registry=self._registry)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(f"backuppeer_{name}", text, [label], registry=self._registry)
