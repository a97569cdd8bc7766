"""Two machines on one cable, with the real program on both: no server, no router, no way out."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from e2e.harness import World
from nat.lab import FarHome, call

DEVICE = "cable"


@dataclass
class Neighbour:
    """One machine: its namespace, its home, its address in the house."""

    namespace: str
    home: FarHome
    peer_id: str = ""

    def move(self, address: str) -> None:
        """Have another address, as after a night without the router."""
        self.run("ip", "addr", "flush", "dev", DEVICE)
        self.run("ip", "addr", "add", f"{address}/24", "dev", DEVICE)

    def run(self, *words: str) -> None:
        call("ip", "netns", "exec", self.namespace, *words)


@contextlib.contextmanager
def cabled(*addresses: str) -> Iterator[tuple[World, list[Neighbour]]]:
    """Have two machines that may use their network, with an identity and an address each; leave nothing of them."""
    world = World()
    names = [f"bp{os.getpid()}n{number}" for number in range(len(addresses))]
    made: list[Neighbour] = []
    try:
        for name in names:
            call("ip", "netns", "add", name)
            home = FarHome(world.path / name, "", ("ip", "netns", "exec", name))
            made.append(Neighbour(name, home))
        one, other = names
        call("ip", "link", "add", DEVICE, "netns", one, "type", "veth", "peer", "name", DEVICE, "netns", other)
        for neighbour, address in zip(made, addresses, strict=True):
            for device in ("lo", DEVICE):
                neighbour.run("ip", "link", "set", "dev", device, "up")
            neighbour.move(address)
        for neighbour, init in [(each, each.home.start("init", "--yes")) for each in made]:
            neighbour.peer_id = str(init.wait_event("done")["peer_id"])
            assert init.process.wait(60) == 0
            (neighbour.home.path / "config.toml").write_text('[network]\nlan = "yes"\n')
        yield world, made
    finally:
        for neighbour in made:
            neighbour.home.close()
            with contextlib.suppress(subprocess.CalledProcessError):
                call("ip", "netns", "del", neighbour.namespace)
        world.close()
