"""Relaying: relay, observers and admissions of one server process, as its other parts see them (DESIGN 7; ADR 77, 78).

Knows: how these three go together. Must not know: frames, sockets, listings.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Final

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.errors import LocalError
from backuppeer.signaling.messages import RelayIs
from backuppeer.signaling.observers import ObserverPlace, pack_observer
from backuppeer.signaling.server.relay.admissions import Admissions
from backuppeer.signaling.server.relay.relay import Relay
from backuppeer.transport.addresses import format_address
from backuppeer.transport.iroh import Observer, open_observer

_LAST_PORT: Final = 0xFFFF


class Relaying:
    """What a server does for peers that can't reach each other."""

    def __init__(
        self,
        clock: Clock,
        *,
        bytes_per_s: float = limits.RELAY_BYTES_PER_S,
        observe_at: Sequence[tuple[str, int]] = (),
        at: str = "",
        may_loopback: bool = False,
    ) -> None:
        """observe_at: (ip, port) where observers listen, when not where the server does: behind a proxy.

        at: the node's own address, where several answer to one name.
        """
        self._observe_at, self.at = observe_at, at
        self.admissions, self._may_loopback = Admissions(clock), may_loopback
        self.relay = Relay(self.admissions, clock, bytes_per_s=bytes_per_s)
        self._observers: list[Observer] = []

    @property
    def observer_ports(self) -> list[int]:
        """The UDP ports of the observers, each once."""
        return sorted({each.port for each in self._observers})

    def answer(self, network: str, transport: bytes) -> RelayIs:
        """Admit a transport key on the account of a network, and say what there is for it."""
        if not self.admissions.admit(transport, network):
            return RelayIs()
        places = [ObserverPlace(each.transport_id, each.port, each.version) for each in self._observers]
        return RelayIs(int(self.admissions.life_s), [pack_observer(place) for place in places], self.at)

    @asynccontextmanager
    async def running(self, listening: Sequence[tuple[str, int]], *, sweep_s: float) -> AsyncIterator[None]:
        """Relay and observe while the body runs. listening: (ip, port) of the server; observers share them in UDP."""
        async with AsyncExitStack() as held:
            for wanted in _plan_observers(self._observe_at or listening, may_loopback=self._may_loopback):
                # A machine without IPv6, or a port that something else has in UDP: peers do without.
                with suppress(LocalError):
                    observer = await open_observer(wanted, may_ask=self.admissions.holds)
                    held.push_async_callback(observer.close)
                    self._observers.append(observer)
            running = asyncio.ensure_future(self.relay.run(sweep_s))
            try:
                yield
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
                self._observers.clear()


def _plan_observers(listening: Sequence[tuple[str, int]], *, may_loopback: bool) -> list[str]:
    """Return what to bind: the server's own ports, and one beside each, so that a NAT shows whether it cares."""
    plans: list[str] = []
    for host, port in listening:
        ip = ip_address(host.partition("%")[0])
        if ip.is_loopback and not may_loopback:
            continue  # whoever comes from this machine has no NAT
        plans += [format_address(ip, port), format_address(ip, port + 1 if port < _LAST_PORT else 0)]
    return plans[: limits.OBSERVERS]
