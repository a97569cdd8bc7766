"""Stands before a signaling server and writes down every byte that goes through, either way; knows WebSocket frames."""

import contextlib
import socket
import threading
from dataclasses import dataclass, field

import msgspec

from e2e.harness import Json

_DATA = {0, 1, 2}


@dataclass
class Visit:
    """One connection: what the client sent, and what it was sent."""

    asked: bytearray = field(default_factory=bytearray)
    told: bytearray = field(default_factory=bytearray)

    def requests(self) -> list[tuple[Json, int]]:
        """The messages that the client sent, and how long each was."""
        return read_messages(bytes(self.asked))

    def answers(self) -> list[tuple[Json, int]]:
        return read_messages(bytes(self.told))

    def plain(self) -> bytes:
        """All that the server could read of it: heads, and what the frames hold."""
        heads = [bytes(data).partition(b"\r\n\r\n")[0] for data in (self.asked, self.told)]
        return b"\0".join(
            [*heads, *(payload for data in (self.asked, self.told) for payload in frames_of(bytes(data)))]
        )


class Recorder:
    """Listens on a port of its own; `server_port` may be set before the first visitor comes."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.visits: list[Visit] = []
        self.server_port = 0
        self._host = host
        self._listener = socket.create_server((host, port))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            _end(each)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                visit = Visit()
                self.visits.append(visit)
                try:
                    server = socket.create_connection((self._host, self.server_port))
                except OSError:
                    client.close()
                    continue
                self._sockets += [client, server]
                for source, sink, record in ((client, server, visit.asked), (server, client, visit.told)):
                    self._threads.append(threading.Thread(target=_carry, args=(source, sink, record), daemon=True))
                    self._threads[-1].start()


def _carry(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            record += data
            sink.sendall(data)
    _end(source)
    _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def read_messages(data: bytes) -> list[tuple[Json, int]]:
    """Return the protocol messages of one direction of a connection, and how many bytes each had."""
    return [(msgspec.msgpack.decode(payload), len(payload)) for payload in frames_of(data)]


def frames_of(data: bytes) -> list[bytes]:
    """Return what the data frames of one direction hold, unmasked; none in an HTTP exchange, or one cut short."""
    head, _, rest = data.partition(b"\r\n\r\n")
    found: list[bytes] = []
    if b"upgrade" not in head.lower():
        return found
    while len(rest) >= 2:
        opcode, is_masked, size, at = rest[0] & 15, rest[1] >> 7, rest[1] & 127, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(rest[2 : 2 + width], "big"), 2 + width
        mask, at = (rest[at : at + 4], at + 4) if is_masked else (bytes(4), at)
        payload = rest[at : at + size]
        if len(payload) < size:
            break
        if opcode in _DATA:
            found.append(_unmask(payload, mask))
        rest = rest[at + size :]
    return found


def _unmask(payload: bytes, mask: bytes) -> bytes:
    pattern = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")).to_bytes(len(payload), "big")
