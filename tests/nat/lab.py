"""Networks of the kernel's own, with the real program in them: the internet, NATs of several kinds, machines behind.

Each lab is a handful of network namespaces: one is the internet, a router with the signaling server on it; each machine
has one of its own, cabled to the internet or to a router that is another one. nftables makes these what they are:

  none      the machine is on the internet itself
  steady    the router keeps a socket's port whatever the destination, and lets in only what was written to (IPv4: it
            translates; IPv6: it is a firewall that translates nothing, as most are)
  symmetric the router gives each destination another, random port
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from e2e.harness import Home, Json, Running, World, wait_until
from e2e.recorder import Recorder

PORT = 8443
T = TypeVar("T")
RECORDED_PORT = 8444
"""Where the server is when a recorder stands before it."""
_NETWORK_NAMESPACE = 0x40000000
SERVER = {4: "203.0.113.1", 6: "2001:db8::1"}
ALONE = {4: 32, 6: 128}
"""Prefix of an address that shares its network with nobody: whatever is not us is reached through the internet."""
NETWORK = {4: 24, 6: 64}
FORWARDING = {4: "net.ipv4.ip_forward=1", 6: "net.ipv6.conf.all.forwarding=1"}


class Nat(StrEnum):
    """What a machine is behind."""

    NONE = "none"
    STEADY = "steady"
    SYMMETRIC = "symmetric"


def why_not() -> str:
    """Return why no lab can be made here; empty: it can."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    missing = [tool for tool in ("ip", "nft", "sysctl") if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: iproute2, nftables, procps)"
    name = f"bp{os.getpid()}probe"
    try:
        _call("ip", "netns", "add", name)
    except subprocess.CalledProcessError as exc:
        return f"network namespaces are not allowed here: {exc.stderr.decode().strip()[:100]}"
    try:
        _call(
            "ip",
            "netns",
            "exec",
            name,
            "nft",
            "add table ip probe; add chain ip probe c { type nat hook postrouting priority srcnat; }",
        )
    except subprocess.CalledProcessError as exc:
        return f"nftables can't translate addresses here: {exc.stderr.decode().strip()[:100]}"
    finally:
        _call("ip", "netns", "del", name)
    return ""


def _call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=30)


@dataclass
class FarHome(Home):
    """A home on a machine of the lab; it listens on all interfaces of that."""

    def environment(self) -> dict[str, str]:
        return {key: value for key, value in super().environment().items() if key != "BACKUPPEER_BIND"}


@dataclass
class Machine:
    """One machine: its namespace, what is before it, the home on it."""

    name: str
    nat: Nat
    version: int
    number: int
    home: FarHome
    router: str = ""
    peer_id: str = ""

    @property
    def outside(self) -> str:
        """The address that the internet sees first."""
        return f"203.0.113.{10 + self.number}" if self.version == 4 else f"2001:db8::{10 + self.number}"


@dataclass
class Lab:
    """The internet of one test, in one IP version."""

    version: int
    world: World
    machines: list[Machine] = field(default_factory=list)
    _namespaces: list[str] = field(default_factory=list)
    _server: Running | None = None
    recorder: Recorder | None = None

    @property
    def url(self) -> str:
        host = SERVER[4] if self.version == 4 else f"[{SERVER[6]}]"
        return f"ws://{host}:{PORT}"

    def open(self, *, is_recorded: bool) -> None:
        """Make the internet, and start the server on it; recorded: what goes through it over TCP is written down."""
        self._net = self._add_namespace("net")
        self.run(self._net, "sysctl", "-qw", FORWARDING[self.version])
        self.address(self._net, "lo", SERVER[self.version], ALONE[self.version])
        listen, origin = self.url.removeprefix("ws://"), ()
        if is_recorded:
            self.recorder = self._within(self._net, lambda: Recorder(SERVER[self.version], PORT))
            self.recorder.server_port = RECORDED_PORT
            listen, origin = listen.replace(str(PORT), str(RECORDED_PORT)), ("--origin", self.url)
        home = FarHome(self.world.path / "server", "")
        process = subprocess.Popen(
            [
                *("ip", "netns", "exec", self._net, sys.executable, "-m", "backuppeer.cli.main", "--json"),
                *("server", "--listen", listen, "--stamp-bits", "1", *origin),
            ],
            env=home.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._server = Running(process)
        self._server.wait_event("ready")

    def machine(self, name: str, nat: Nat) -> Machine:
        """Add a machine with an identity."""
        number = len(self.machines)
        namespace = self._add_namespace(name)
        home = FarHome(self.world.path / name, self.url, ("ip", "netns", "exec", namespace))
        made = Machine(namespace, nat, self.version, number, home)
        self.machines.append(made)
        if nat is Nat.NONE:
            self._join(made.name, made.outside, number)
        else:
            self._put_behind(made)
        made.peer_id = str(home.do("init", "--yes").last["peer_id"])
        return made

    def move(self, machine: Machine) -> None:
        """Take a machine's line down and bring it up again elsewhere: other addresses inside and outside."""
        self.run(machine.router, "ip", "link", "set", "dev", "out", "down")
        self.run(machine.name, "ip", "link", "set", "dev", "up", "down")
        self.run(machine.router, "ip", "addr", "flush", "dev", "out")
        self.run(machine.router, "ip", "link", "set", "dev", "out", "up")
        self._be_outside(machine.router, "out", f"203.0.113.{60 + machine.number}", machine.number)
        self.run(machine.name, "ip", "addr", "flush", "dev", "up")
        self.run(machine.name, "ip", "link", "set", "dev", "up", "up")
        self.address(machine.name, "up", f"192.168.{machine.number}.77", NETWORK[4])
        self.route(machine.name, "default", "via", f"192.168.{machine.number}.1")

    def close(self) -> None:
        """End every process and namespace."""
        for machine in self.machines:
            machine.home.close()
        if self._server is not None:
            self._server.end()
        if self.recorder is not None:
            self.recorder.close()
        for name in self._namespaces:
            with contextlib.suppress(subprocess.CalledProcessError):
                _call("ip", "netns", "del", name)

    def run(self, namespace: str, *words: str) -> None:
        _call("ip", "netns", "exec", namespace, *words)

    def address(self, namespace: str, device: str, address: str, prefix: int) -> None:
        """Give a device an address; IPv6 without the second in which the kernel looks whether another has it."""
        extra = ("nodad",) if ":" in address else ()
        self.run(namespace, "ip", "addr", "add", f"{address}/{prefix}", "dev", device, *extra)

    def _within(self, namespace: str, make: Callable[[], T]) -> T:
        """Return what is made by a thread of a namespace: its sockets are there, and its own threads stay there."""

        def enter() -> T:
            with Path("/run/netns", namespace).open("rb") as place:
                if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), _NETWORK_NAMESPACE):
                    raise OSError(ctypes.get_errno(), "setns")
            return make()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(enter).result()

    def _add_namespace(self, name: str) -> str:
        full = f"bp{os.getpid()}{self.version}{name}"
        _call("ip", "netns", "add", full)
        self._namespaces.append(full)
        self.run(full, "ip", "link", "set", "dev", "lo", "up")
        return full

    def _join(self, namespace: str, address: str, number: int, device: str = "up") -> None:
        """Plug a namespace into the internet."""
        self._cable(self._net, f"p{number}", namespace, device)
        self.address(self._net, f"p{number}", SERVER[self.version], ALONE[self.version])
        self._be_outside(namespace, device, address, number)

    def _be_outside(self, namespace: str, device: str, address: str, number: int) -> None:
        """Give what is cabled to the internet an address there, and a way to all others."""
        self.address(namespace, device, address, ALONE[self.version])
        self.route(self._net, address, "dev", f"p{number}")
        self.route(namespace, "default", "via", SERVER[self.version], "dev", device, "onlink")

    def _cable(self, one: str, at_one: str, other: str, at_other: str) -> None:
        _call("ip", "link", "add", at_one, "netns", one, "type", "veth", "peer", "name", at_other, "netns", other)
        self.run(one, "ip", "link", "set", "dev", at_one, "up")
        self.run(other, "ip", "link", "set", "dev", at_other, "up")

    def _put_behind(self, machine: Machine) -> None:
        machine.router = router = self._add_namespace(f"r{machine.number}")
        self._join(router, machine.outside, machine.number, "out")
        self._cable(router, "in", machine.name, "up")
        if self.version == 4:
            inside, gateway = f"192.168.{machine.number}.2", f"192.168.{machine.number}.1"
        else:
            network = f"2001:db8:{machine.number + 1}::"
            inside, gateway = f"{network}2", f"{network}1"
            # Everybody knows where it is; the firewall lets nothing in by that.
            self.route(self._net, f"{network}/64", "via", machine.outside)
        self.run(router, "sysctl", "-qw", FORWARDING[self.version])
        self.address(router, "in", gateway, NETWORK[self.version])
        self.address(machine.name, "up", inside, NETWORK[self.version])
        self.route(machine.name, "default", "via", gateway)
        self.run(router, "nft", self._rules(machine))

    def route(self, namespace: str, *words: str) -> None:
        self.run(namespace, "ip", f"-{self.version}", "route", "add", *words)

    def _rules(self, machine: Machine) -> str:
        guard = (
            "add table inet guard; add chain inet guard f { type filter hook forward priority 0; policy drop; };"
            'add rule inet guard f iifname "in" accept; add rule inet guard f ct state established,related accept;'
        )
        # As routers have it: what nobody inside asked for is dropped before the kernel takes note of it, for else its
        # port would count as taken when the machine inside writes to just that sender.
        guard += (
            "add chain inet guard i { type filter hook input priority 0; };"
            'add rule inet guard i iifname "out" meta l4proto { tcp, udp } ct state new drop;'
        )
        family = "ip" if self.version == 4 else "ip6"
        how = {Nat.STEADY: "masquerade", Nat.SYMMETRIC: "masquerade random"}[machine.nat]
        translate = (
            f"add table {family} nat; add chain {family} nat p {{ type nat hook postrouting priority srcnat; }};"
            f'add rule {family} nat p oifname "out" {how};'
        )
        return guard + (translate if self.version == 4 or machine.nat is Nat.SYMMETRIC else "")


@contextlib.contextmanager
def opened(version: int, *, is_recorded: bool = False) -> Iterator[Lab]:
    """Have a lab, and leave nothing of it."""
    world = World()
    lab = Lab(version, world)
    try:
        lab.open(is_recorded=is_recorded)
        yield lab
    finally:
        lab.close()
        world.close()


def offer(machine: Machine) -> None:
    """Put a slot on offer."""
    machine.home.do("host", "--storage", "1GB", "--accept", "all", "--detach", "--yes")


def back_up(owner: Machine, host: Machine, folder: Path) -> Json:
    """Agree with a host and back a folder up to it; return the session as `sessions` shows it once it has settled."""
    home = owner.home
    home.do("connect", host.peer_id, "--storage", "100MB", "--name", host.nat.value, "--yes", "--wait", "60s")
    done = home.do("backup", "--to", host.nat.value, "--yes", str(folder)).last
    assert done["sent_bytes"], done
    return session_with(owner, host)


def session_with(owner: Machine, host: Machine) -> Json:
    rows = [row for row in owner.home.do("sessions").rows if row["peer_id"] == host.peer_id]
    assert rows, "no session"
    return rows[0]


def wait_path(owner: Machine, host: Machine, path: str) -> Json:
    """Return the session once it goes by that path."""
    found: list[Json] = []

    def look() -> bool:
        found[:] = [session_with(owner, host)]
        return found[0]["path"] == path

    wait_until(look, f"{owner.nat} to reach {host.nat} {path}", timeout_s=15)
    return found[0]


def expected(owner: Nat, host: Nat) -> str:
    """Return how two machines meet: a symmetric NAT meets only those whom it need not guess a port for."""
    kinds = {owner, host}
    is_hopeless = Nat.SYMMETRIC in kinds and Nat.NONE not in kinds
    return "relayed" if is_hopeless else "direct"
