"""Endpoints, connections and streams of the network in memory.

Knows: who listens where, which ends belong together. Must not know: sockets, messages.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, PeerUnreachable
from backuppeer.ids import TransportId
from backuppeer.limits import CLOSE_REASON_BYTES, UNPROVEN_CONNECTIONS
from backuppeer.transport.base import LOST_CODE, Buffer, CloseInfo, PathInfo, PathKind, read_whole
from backuppeer.transport.memory.link import Air, Link, Pipe, Weather


class Network:
    """Joins endpoints; `seed` decides the weather's dice."""

    def __init__(self, seed: int = 0, *, weather: Weather | None = None) -> None:
        self._air = Air(seed, weather or Weather())
        self._endpoints: dict[str, MemoryTransport] = {}
        self._connections: list[MemoryConnection] = []
        """The dialler's ends."""

    @property
    def weather(self) -> Weather:
        """The weather, to be changed at will."""
        return self._air.weather

    def join(self, secret: bytes, *, address: str | None = None) -> "MemoryTransport":
        """Return a new endpoint with the 32-byte secret of its transport key, at `address` or the next free one."""
        where = address or f"10.0.{len(self._endpoints) // 250}.{len(self._endpoints) % 250 + 1}:4433"
        transport = MemoryTransport(self, TransportId(SigningKey.from_seed(secret).public), where)
        self._endpoints[where] = transport
        return transport

    def find(self, address: str) -> "MemoryTransport | None":
        """Return who listens at `address`."""
        found = self._endpoints.get(address)
        return None if found is None or found.is_closed or found.is_offline else found

    def connect(self, dialler: "MemoryTransport", acceptor: "MemoryTransport") -> "MemoryConnection":
        """Join two endpoints; the acceptor finds its half in its queue."""
        near, far = _join_ends(Link(self._air), dialler, acceptor)
        acceptor.queue(far)
        self._connections = [*(old for old in self._connections if old.close_info is None), near]
        return near

    def lose_connections(self, of: "MemoryTransport | None" = None) -> None:
        """Lose every connection (of one endpoint): both sides notice."""
        for connection in self._connections:
            if of is None or of in connection.owners:
                connection.lose()

    def close_connections(self, of: "MemoryTransport") -> None:
        """Close every connection of an endpoint that goes away: code 0, no reason."""
        for connection in self._connections:
            if of in connection.owners:
                connection.end_by(connection.owners.index(of))

    def freeze(self) -> None:
        """Let nothing pass and tell nobody."""
        self._air.is_frozen = True

    def thaw(self) -> None:
        """Let pass what was held, in order."""
        self._air.thaw()


class MemoryStream:
    """One end of a stream."""

    def __init__(self, connection: "MemoryConnection", pipes: tuple[Pipe, Pipe], *, announce: bool) -> None:
        self._connection = connection
        self._out, self._in = pipes
        self._announce = announce
        self._is_ended = False

    async def read(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes, b"" at the end."""
        data = await self._guarded_read(max_bytes)
        self._connection.received_bytes += len(data)
        return data

    async def read_exact(self, size_bytes: int) -> bytes:
        """Return exactly `size_bytes` bytes."""
        return await read_whole(self.read, size_bytes)

    async def write(self, data: Buffer) -> None:
        """Hand over all of `data`."""
        if self._is_ended:
            raise PeerUnreachable("can't write: the stream is finished or aborted")
        self._show()
        try:
            await self._out.write(data)
        except asyncio.CancelledError:
            await self.abort(0)
            raise
        self._connection.sent_bytes += len(data)

    async def finish(self) -> None:
        """Say that nothing more will be written."""
        self._out.check()
        self._show()
        if not self._is_ended:
            self._is_ended = True
            self._connection.carry_end(self._out)

    async def abort(self, code: int) -> None:
        """Reset and stop."""
        self._is_ended = True
        self._out.break_off(code)
        self._in.break_off(code)

    async def _guarded_read(self, max_bytes: int) -> bytes:
        try:
            return await self._in.read(max_bytes)
        except asyncio.CancelledError:
            await self.abort(0)
            raise

    def _show(self) -> None:
        if self._announce:
            self._announce = False
            self._connection.announce(self._out, self._in)


class MemoryConnection:
    """One end of a connection."""

    def __init__(self, link: Link, side: int, owners: tuple["MemoryTransport", "MemoryTransport"]) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0
        self.owners = owners
        """Dialler and acceptor."""
        self.peer: MemoryConnection = self
        """The other end, once both exist."""
        self._link = link
        self._side = side
        self._changed = link.watch()
        self._streams: deque[MemoryStream] = deque()

    @property
    def remote(self) -> TransportId:
        """The peer's transport id."""
        return self.owners[1 - self._side].transport_id

    @property
    def is_dialler(self) -> bool:
        """Whether we dialled."""
        return self._side == 0

    @property
    def close_info(self) -> CloseInfo | None:
        """Why the connection ended, or None."""
        if self._link.cause is None:
            return None
        side, code, reason = self._link.cause
        return CloseInfo(code, reason, by_peer=side == 1 - self._side)

    async def open_stream(self) -> MemoryStream:
        """Open a stream; the peer sees it with the first write."""
        self._link.check_alive()
        return MemoryStream(self, (Pipe(self._link), Pipe(self._link)), announce=True)

    async def accept_stream(self) -> MemoryStream:
        """Return the next stream that the peer opened."""
        while not self._streams:
            self._link.check_alive()
            self._changed.clear()
            await self._changed.wait()
        self._link.check_alive()
        return self._streams.popleft()

    async def close(self, code: int, reason: str) -> None:
        """Close at once."""
        self._link.end(self._side, code, reason.encode()[:CLOSE_REASON_BYTES].decode(errors="ignore"))

    async def wait_closed(self) -> str:
        """Return the reason once the connection has ended."""
        while (info := self.close_info) is None:
            self._changed.clear()
            await self._changed.wait()
        return info.reason

    def path(self) -> PathInfo:
        """Return a direct path while the connection lives."""
        if self._link.cause is not None:
            return PathInfo(PathKind.NONE, 0.0, "")
        rtt_ms = self._link.air.weather.delay_s * 1000
        return PathInfo(PathKind.DIRECT, rtt_ms, self.owners[1 - self._side].address)

    def announce(self, out: Pipe, into: Pipe) -> None:
        """Show the peer a stream that we opened."""
        self.peer.take_stream(MemoryStream(self.peer, (into, out), announce=False))

    def take_stream(self, stream: MemoryStream) -> None:
        """Queue a stream that the peer opened."""
        self._streams.append(stream)
        self._changed.set()

    def carry_end(self, pipe: Pipe) -> None:
        """Bring the end of a direction to the peer."""
        self._link.carry_end(pipe)

    def lose(self) -> None:
        """End the connection without anybody having closed it."""
        self._link.end(None, LOST_CODE, "connection lost")

    def end_by(self, side: int) -> None:
        """End the connection as an endpoint does that goes away: code 0, no reason."""
        self._link.end(side, 0, "")


def _join_ends(
    link: Link, dialler: "MemoryTransport", acceptor: "MemoryTransport"
) -> tuple[MemoryConnection, MemoryConnection]:
    near, far = (MemoryConnection(link, side, (dialler, acceptor)) for side in (0, 1))
    near.peer, far.peer = far, near
    return near, far


class MemoryTransport:
    """An endpoint in a Network."""

    def __init__(self, network: Network, transport_id: TransportId, address: str) -> None:
        self.address = address
        self.is_closed = False
        self.is_offline = False
        """A test may set this: nobody finds us, we find nobody; live connections are another matter."""
        self._network = network
        self._id = transport_id
        self._incoming: deque[MemoryConnection] = deque()
        self._changed = asyncio.Event()

    @property
    def transport_id(self) -> TransportId:
        """Our own transport id."""
        return self._id

    def addresses(self) -> list[str]:
        """Return our one address."""
        return [self.address]

    async def dial(self, to: TransportId, addresses: Sequence[str], *, relay: str = "") -> MemoryConnection:
        """Return a connection to the owner of `to`, or say who else answered. There are no relays in memory."""
        del relay
        if self.is_closed or self.is_offline:
            raise PeerUnreachable("the transport is closed")
        found = [peer for address in addresses if (peer := self._network.find(address)) is not None]
        for peer in found:
            if peer.transport_id == to and peer is not self:
                return self._network.connect(self, peer)
        where = ", ".join(addresses)
        if found and self not in found:
            raise AuthenticationFault(
                f"another key than the peer's answers at {where}", hint="the address may be stale"
            )
        raise PeerUnreachable(f"no answer from {where or 'no address'}")

    async def accept(self) -> MemoryConnection:
        """Return the next connection made to us."""
        while not self._incoming:
            if self.is_closed:
                raise PeerUnreachable("the transport is closed")
            self._changed.clear()
            await self._changed.wait()
        return self._incoming.popleft()

    async def close(self) -> None:
        """Close every connection."""
        if not self.is_closed:
            self.is_closed = True
            self._network.close_connections(self)
            self._incoming.clear()
            self._changed.set()

    def queue(self, connection: MemoryConnection) -> None:
        """Take a connection that was dialled to us.

        Raises:
            PeerUnreachable: too many wait already.

        """
        if len(self._incoming) >= UNPROVEN_CONNECTIONS:
            raise PeerUnreachable("the peer refused the connection")
        self._incoming.append(connection)
        self._changed.set()
