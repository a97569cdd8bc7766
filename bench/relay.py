"""The relay of a signaling server: what one pair of peers moves through it, and how fairly eight share it.

Knows: the server, the transport, network namespaces. Must not know: packs, sessions, files. Senders and receivers are
in two namespaces that reach only the third, where the server is: nothing but the relay can carry. All of it shares this
machine's processors. Needs root and `ip`; its limits are those of a server as it comes.

Run as `relay.py serve`, `relay.py receive SERVER COUNT` or `relay.py send SERVER ID…`; figures on standard output.
"""

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from meter import Meter
from peer import Report

from backuppeer.clock import SystemClock
from backuppeer.ids import TransportId
from backuppeer.limits import READ_PIECE_BYTES, WRITE_PIECE_BYTES
from backuppeer.signaling.asking import ask_relay, relay_url
from backuppeer.signaling.server.process import Keeping, run_server
from backuppeer.signaling.server.relay.relaying import Relaying
from backuppeer.transport.base import Connection, PathKind, Stream
from backuppeer.transport.iroh import IrohTransport, open_iroh

PAIRS = 8
STREAMS = 4
ONE = "MiB/s of one pair"
ALL = f"MiB/s of {PAIRS} pairs"
SHARE = f"slowest of {PAIRS} pairs to fastest"
_SECONDS = 8.0
_WARM_S = 2.0
_MIB = 1 << 20
_SERVER = "ws://10.99.0.1:8443"
_SIDES = {"send": "10.99.1", "receive": "10.99.2"}


class RelayAlone:
    """A server, senders and receivers, each in a network of its own; nothing is kept."""

    name = "relay"
    synced = "nothing is stored"
    can_restore = False

    def __init__(self, root: Path, meter: Meter, *, scale: float) -> None:
        root.mkdir(parents=True)
        self._meter, self._seconds = meter, max(2.0, _SECONDS * scale)
        self._spaces = {word: f"bench{os.getpid()}{word}" for word in ("serve", *_SIDES)}
        self._running: list[subprocess.Popen[bytes]] = []
        try:
            self._cable()
            self._server = self._start("serve")
            _read_line(self._server)
            meter.watch("host", [self._server.pid])
        except BaseException:
            self.close()
            raise

    def backup(self, paths: list[Path]) -> Report:  # noqa: ARG002 - there are no files
        """Move bytes, by one pair and by eight."""
        one, many = self._measure(1), self._measure(PAIRS)
        figures = {ONE: one[0], ALL: sum(many), SHARE: min(many) / max(many)}
        return Report(
            seconds=2 * self._seconds, sent_bytes=int(sum(one + many) * self._seconds * _MIB), figures=figures
        )

    def restore(self, target: Path) -> None:
        """Nothing was kept: there is nothing to restore."""

    def stored_bytes(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """End the server and take the networks down."""
        for process in self._running:
            process.kill()
            process.communicate()
        for name in self._spaces.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def _measure(self, pairs: int) -> list[float]:
        """Return the MiB per second that arrived of each pair."""
        receiver = self._start("receive", _SERVER, str(pairs))
        sender = self._start("send", _SERVER, *_read_line(receiver).split())
        self._meter.watch("owner", [sender.pid])
        _read_line(sender)
        time.sleep(_WARM_S)
        before, began = _ask(receiver), time.monotonic()
        time.sleep(self._seconds)
        after, lasted = _ask(receiver), time.monotonic() - began
        ways = set(_ask(sender))
        for process in (sender, receiver):
            self._running.remove(process)
            process.kill()
            process.communicate()
        if ways != {PathKind.RELAYED.value}:
            raise SystemExit("a pair found another way than the relay")
        return [(int(now) - int(then)) / lasted / _MIB for now, then in zip(after, before, strict=True)]

    def _cable(self) -> None:
        try:
            for name in self._spaces.values():
                _call("ip", "netns", "add", name)
        except (subprocess.CalledProcessError, FileNotFoundError) as exc:
            raise SystemExit("row relay: network namespaces need root and iproute2") from exc
        server = self._spaces["serve"]
        _call("ip", "-n", server, "addr", "add", "10.99.0.1/32", "dev", "lo")
        _call("ip", "-n", server, "link", "set", "dev", "lo", "up")
        for word, prefix in _SIDES.items():
            side = self._spaces[word]
            _call("ip", "link", "add", word, "netns", server, "type", "veth", "peer", "name", "out", "netns", side)
            for space, device, address in ((server, word, f"{prefix}.1/24"), (side, "out", f"{prefix}.2/24")):
                _call("ip", "-n", space, "addr", "add", address, "dev", device)
                _call("ip", "-n", space, "link", "set", "dev", device, "up")
            _call("ip", "-n", side, "link", "set", "dev", "lo", "up")
            _call("ip", "-n", side, "route", "add", "default", "via", f"{prefix}.1")  # which forwards nothing

    def _start(self, *words: str) -> "subprocess.Popen[bytes]":
        command = ["ip", "netns", "exec", self._spaces[words[0]], sys.executable, str(Path(__file__).resolve()), *words]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._running.append(process)
        return process


def _call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def _read_line(process: "subprocess.Popen[bytes]") -> str:
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        raise SystemExit(f"{process.args!r} ended")
    return line.decode()


def _ask(process: "subprocess.Popen[bytes]") -> list[str]:
    """Return what a process answers to an empty line, in words."""
    if process.stdin is not None:
        process.stdin.write(b"\n")
        process.stdin.flush()
    return _read_line(process).split()


async def _answer(say: Callable[[], Iterable[object]]) -> None:
    """Answer each line of standard input."""
    while await asyncio.to_thread(sys.stdin.readline):
        print(*say(), flush=True)


async def _serve() -> None:
    relaying = Relaying(SystemClock())
    await run_server(
        _SERVER.removeprefix("ws://"),
        keeping=Keeping(relaying=relaying),
        on_ready=lambda port: print(port, flush=True),
    )


async def _open(server: str, bind: str) -> IrohTransport:
    transport = await open_iroh(secrets.token_bytes(32), bind=[bind])
    await ask_relay(server, transport.transport_id)
    return transport


async def _receive(server: str, count: int) -> None:
    transports = [await _open(server, f"{_SIDES['receive']}.2:0") for _ in range(count)]
    for transport in transports:
        await transport.use_relay(relay_url(server))
        while not transport.home_relay:  # noqa: ASYNC110 - iroh tells it in another thread
            await asyncio.sleep(0.02)
    print(*(transport.transport_id.hex() for transport in transports), flush=True)
    connections = [await transport.accept() for transport in transports]
    draining = [asyncio.ensure_future(_drain_all(connection)) for connection in connections]
    await _answer(lambda: (connection.received_bytes for connection in connections))
    del draining


async def _drain_all(connection: Connection) -> None:
    async with asyncio.TaskGroup() as tasks:
        while True:
            stream = await connection.accept_stream()
            tasks.create_task(_drain(stream))


async def _drain(stream: Stream) -> None:
    while await stream.read(READ_PIECE_BYTES):
        pass


async def _send(server: str, receivers: list[str]) -> None:
    transports = [await _open(server, f"{_SIDES['send']}.2:0") for _ in receivers]
    connections = [
        await transport.dial(TransportId(bytes.fromhex(to)), [], relay=relay_url(server))
        for transport, to in zip(transports, receivers, strict=True)
    ]
    pushing = [asyncio.ensure_future(_push(each)) for each in connections for _ in range(STREAMS)]
    print(len(pushing), flush=True)
    await _answer(lambda: (each.path().kind.value for each in connections))


async def _push(connection: Connection) -> None:
    piece, stream = os.urandom(WRITE_PIECE_BYTES), await connection.open_stream()
    while True:
        await stream.write(piece)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(_serve())
    elif sys.argv[1] == "receive":
        asyncio.run(_receive(sys.argv[2], int(sys.argv[3])))
    else:
        asyncio.run(_send(sys.argv[2], sys.argv[3:]))
