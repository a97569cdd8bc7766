"""What a server counts of itself, for Prometheus.

Knows: numbers. Must not know: addresses, keys, inboxes: a label has few values, all of them ours.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

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
        self.messages = self._counter("messages", "Messages answered", "type")
        self.refused = self._counter("refused", "Connections and messages turned away", "reason")
        self.closed = self._counter("closed", "Connections closed by this server", "code")

    def render(self) -> bytes:
        """Return all of it as text for Prometheus."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"backuppeer_{name}", text, registry=self._registry)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(f"backuppeer_{name}", text, [label], registry=self._registry)
