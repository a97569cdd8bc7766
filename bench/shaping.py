"""A line between two network namespaces, of a chosen rate and delay: what a home's line is, on one machine.

Knows: TUN devices. Must not know: what travels. The kernel's own means (netem) are not in every kernel. Each way:
packets go out one after the other at `rate`, those that would wait longer than QUEUE_S are dropped, as a router does
whose queue is full; then all are held for half of the round trip. Needs root and `ip`.

Run as `shaping.py ONE OTHER MBIT_S ROUND_TRIP_MS`, with the names of two namespaces: they get ONE_ADDRESS and
OTHER_ADDRESS, and reach nothing but each other. Says `ready`, then serves until it is killed.
"""

import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field

ONE_ADDRESS = "10.98.0.1"
OTHER_ADDRESS = "10.98.0.2"
QUEUE_S = 0.1
"""Of what waits at the line's mouth: routers of homes hold as much and more."""
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
"""linux/if_tun.h: packets of IP, with nothing before them."""
_PACKET_BYTES = 1500


@dataclass(slots=True)
class Way:
    """One direction: packets in order, each with when it arrives. `source`, `target`: descriptors of TUN devices."""

    source: int
    target: int
    rate_bytes_s: float
    delay_s: float
    free_s: float = 0.0
    """When the line has sent all that it took."""
    under_way: deque[tuple[float, bytes]] = field(default_factory=deque)

    def take(self) -> None:
        """Take what waits at the source."""
        now = time.monotonic()
        try:
            while True:
                packet = os.read(self.source, _PACKET_BYTES)
                begins = max(now, self.free_s)
                if begins - now <= QUEUE_S:
                    self.free_s = begins + len(packet) / self.rate_bytes_s
                    self.under_way.append((self.free_s + self.delay_s, packet))
        except BlockingIOError:
            return

    def deliver(self) -> None:
        """Hand over what has arrived by now."""
        now = time.monotonic()
        while self.under_way and self.under_way[0][0] <= now:
            try:
                os.write(self.target, self.under_way.popleft()[1])
            except BlockingIOError:
                return  # the machine behind takes no more: lost, as anywhere


def serve(ways: tuple[Way, Way]) -> None:
    """Carry packets both ways until killed."""
    sources = [way.source for way in ways]
    while True:
        dues = [way.under_way[0][0] for way in ways if way.under_way]
        wait_s = max(0.0, min(dues) - time.monotonic()) if dues else None
        readable = select.select(sources, [], [], wait_s)[0]
        for way in ways:
            if way.source in readable:
                way.take()
            way.deliver()


def _open_tun(namespace: str, address: str, peer: str) -> int:
    """Return a device of its own in a namespace that has `address`, behind which `peer` is."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = f"{namespace[-12:]}l"
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    _call("ip", "link", "set", name, "netns", namespace)
    _call("ip", "-n", namespace, "addr", "add", address, "peer", peer, "dev", name)
    _call("ip", "-n", namespace, "link", "set", "dev", name, "up")
    return device


def _call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def main() -> None:
    """Lay the line, say so, serve."""
    one, other, mbit_s, round_trip_ms = sys.argv[1:]
    here, there = _open_tun(one, ONE_ADDRESS, OTHER_ADDRESS), _open_tun(other, OTHER_ADDRESS, ONE_ADDRESS)
    rate, delay_s = float(mbit_s) * 1e6 / 8, float(round_trip_ms) / 2000
    # It stands for hardware: who shares this machine's processors must not make the line slower.
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    print("ready", flush=True)
    serve((Way(here, there, rate, delay_s), Way(there, here, rate, delay_s)))


if __name__ == "__main__":
    main()
