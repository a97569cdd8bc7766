"""Listener: accepts connections, keeps the open ones, and pings them all from one sweep (ADR 82).

Knows: connections, times. Must not know: what is said on them, where they come from. Each connection stands in one of
many groups; a group is pinged every `ping_s`, and who owes an answer from the last time is closed. So a peer that is
gone is noticed between one and two such times after it said its last, as with a task and timers for each, which took
3 KiB of every connection.
"""

import asyncio
import ssl
from asyncio import sslproto
from collections.abc import Callable, Coroutine
from typing import Any, Final

from websockets.protocol import State
from websockets.typing import Subprotocol

from backuppeer.limits.units import KIB
from backuppeer.signaling.server.connection import Connection

_GROUPS: Final = 200
"""With 60,000 connections 300 are pinged in a row: 3 ms of the loop, every tenth of a second."""
_PAYLOAD_BYTES: Final = 4
_TLS_READ_BYTES: Final = 16 * KIB
"""A TLS record. asyncio keeps a buffer of 256 KiB for each TLS connection and has no option for it; a smaller one costs
more system calls where much comes at once, which is on the relay alone."""


class Tls(sslproto.SSLProtocol):
    """TLS below one connection, which hears of it from the first TCP byte on.

    asyncio's own says nothing before the handshake: nobody would count who never finishes one.
    """

    max_size = _TLS_READ_BYTES

    def __init__(self, connection: Connection, context: ssl.SSLContext, listener: "Listener") -> None:
        super().__init__(
            asyncio.get_running_loop(),
            connection,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for it
            server_side=True,
            ssl_handshake_timeout=listener.handshake_s,  # type: ignore[arg-type]  # seconds of any kind
            ssl_shutdown_timeout=listener.close_s,
        )
        self._connection, self._listener = connection, listener
        self._socket: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._socket = transport
        self._listener.with_tls.add(self)
        super().connection_made(transport)
        self._connection.reach(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the connection, also when it never was one."""
        self._listener.with_tls.discard(self)
        is_early = self._connection.transport is None
        super().connection_lost(exc)
        if is_early:
            self._connection.miss()

    def cut_early(self) -> None:
        """Cut it, unless its handshake has ended."""
        if self._connection.transport is None:
            self._socket.abort()


class Listener:
    """All connections of one server process."""

    def __init__(
        self,
        make: Callable[["Listener"], Connection],
        *,
        handshake_s: float,
        close_s: float,
        message_bytes: int,
        subprotocols: list[str],
    ) -> None:
        """make: one for each TCP connection."""
        self._make = make
        self.handshake_s, self.close_s, self.message_bytes = handshake_s, close_s, message_bytes
        self.subprotocols = [Subprotocol(name) for name in subprotocols]
        self.is_closing = False
        self.connections: set[Connection] = set()
        self.with_tls: set[Tls] = set()
        self._groups: list[set[Connection]] = [set() for _ in range(_GROUPS)]
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str | None, port: int, tls: ssl.SSLContext | None) -> list[tuple[str, int]]:
        """Listen; return the addresses (ip, port). The TLS handshake has the time of the WebSocket's own.

        Raises:
            OSError: it can't be listened there.

        """
        loop = asyncio.get_running_loop()
        if tls:
            self._server = await loop.create_server(lambda: Tls(self._make(self), tls, self), host, port)
        else:
            self._server = await loop.create_server(lambda: self._make(self), host, port)
        return [found.getsockname()[:2] for found in self._server.sockets]

    async def ping(self, every_s: float) -> None:
        """Ping all connections again and again, a group at a time, until cancelled."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        round_number = 0
        while True:
            for group in self._groups:
                # Never sooner after a stall: answers that are on their way must have their time.
                due_s = max(due_s + every_s / _GROUPS, loop.time())
                await asyncio.sleep(due_s - loop.time())
                payload = round_number.to_bytes(_PAYLOAD_BYTES, "big")
                for connection in list(group):
                    connection.beat(payload)
            round_number = (round_number + 1) % 2 ** (8 * _PAYLOAD_BYTES)

    def stop(self) -> None:
        """Take nobody in any more, also none whose handshake is not over."""
        self.is_closing = True
        if self._server is not None:
            self._server.close()
        for tls in self.with_tls:
            tls.cut_early()

    def open_connections(self) -> list[Connection]:
        """Return those that are WebSockets now."""
        return [connection for connection in self.connections if connection.state is State.OPEN]

    async def wait_closed(self) -> None:
        """Wait until all connections have gone, and all that was begun for them is done."""
        while self.connections or self._tasks:
            self._idle.clear()
            await self._idle.wait()

    def joined(self, connection: Connection) -> None:
        """Note a new connection; one that comes too late is cut."""
        self.connections.add(connection)
        if self.is_closing:
            connection.transport.abort()

    def opened(self, connection: Connection) -> None:
        """Give it a group."""
        connection.group = self._count = (self._count + 1) % _GROUPS
        self._groups[connection.group].add(connection)

    def left(self, connection: Connection) -> None:
        """Forget it."""
        self.connections.discard(connection)
        self._groups[connection.group].discard(connection)
        self._note_end()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run a task that is waited for at the end."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._note_done)

    def _note_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._note_end()

    def _note_end(self) -> None:
        if not self.connections and not self._tasks:
            self._idle.set()
