"""What every transport offers: connections between two transport keys, and byte streams inside them.

Knows: transport ids, addresses, streams of bytes. Must not know: messages, identities of peers, proofs.

Rules that both implementations obey (tests/transport/test_conformance.py):
- A stream appears at the peer only when something is written to it (QUIC), so the opener writes first.
- Closing a connection throws away what is still in flight, `finish` or not. Only an acknowledgement by the peer says
  that bytes arrived, so the side that *receives* the last bytes closes.
- `write` returns when the bytes are taken over, not when they arrived; a reader that doesn't read stops it.
- A `write` or `read` that is cancelled or fails leaves the stream reset: never continue on it.
- After the connection is gone every call raises `PeerUnreachable`; nothing hangs.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from backuppeer.errors import ProtocolViolation
from backuppeer.ids import TransportId

Buffer = bytes | bytearray | memoryview


class PathKind(StrEnum):
    """How the bytes of a connection travel."""

    DIRECT = "direct"
    RELAYED = "relayed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PathInfo:
    """The path in use: its round-trip time in milliseconds, and the peer's `ip:port` (a relay's URL if relayed).

    sent_packets, lost_packets: of this path, since it came up; both 0 where a transport does not count.
    """

    kind: PathKind
    rtt_ms: float
    address: str
    sent_packets: int = 0
    lost_packets: int = 0


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """Why a connection ended: code and reason of the side that closed; LOST_CODE if it was lost and nobody said why."""

    code: int
    reason: str
    by_peer: bool


LOST_CODE: Final = -1


class Stream(Protocol):
    """One bidirectional stream of bytes."""

    async def read(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes, or b"" when the peer has finished.

        Raises:
            PeerUnreachable: the connection is gone, or the peer reset the stream.

        """
        ...

    async def read_exact(self, size_bytes: int) -> bytes:
        """Return exactly `size_bytes` bytes.

        Raises:
            PeerUnreachable: as `read`.
            ProtocolViolation: the peer finished before.

        """
        ...

    async def write(self, data: Buffer) -> None:
        """Hand over all of `data`; it may be changed by the caller once this returns.

        Raises:
            PeerUnreachable: the connection is gone, or the peer stopped reading.

        """
        ...

    async def finish(self) -> None:
        """Say that nothing more will be written; reading goes on.

        Raises:
            PeerUnreachable: the connection is gone, or the peer stopped reading.

        """
        ...

    async def abort(self, code: int) -> None:
        """Throw both directions away (reset and stop); the peer's calls on it raise. Idempotent, never raises."""
        ...


Take = Callable[[memoryview], None]
"""Gets the next bytes, at most BULK_PIECE_BYTES; valid until it returns. Called in a thread."""
Give = Callable[[int, memoryview], None]
"""(offset, view): fills the view with the bytes from the offset on. Called in a thread."""


async def read_whole(read: Callable[[int], Awaitable[bytes]], size_bytes: int) -> bytes:
    """Return exactly `size_bytes` bytes of what `read` returns 1 to n of at a time.

    Raises:
        ProtocolViolation: the stream ended before.

    """
    data = bytearray()
    while len(data) < size_bytes:
        piece = await read(size_bytes - len(data))
        if not piece:
            raise ProtocolViolation(f"the stream ended {size_bytes - len(data)} bytes early")
        data += piece
    return bytes(data)


@runtime_checkable
class MovesBulk(Protocol):
    """A stream that moves bulk in one go in a thread of its own; not every transport can.

    Each piece that passes the event loop costs two changes of threads, 0.1 ms or more when others wait for the
    interpreter. Cancelled or failed, the stream is reset, and the thread no longer uses the caller's buffers.
    """

    @property
    def moved_bytes(self) -> int:
        """Return a count that grows with every byte moved, also in the middle of a call."""
        ...

    async def fill(self, view: memoryview) -> None:
        """Fill `view` with the next bytes.

        Raises:
            PeerUnreachable: as `Stream.read`.
            ProtocolViolation: the peer finished before.

        """
        ...

    async def receive_bulk(self, size_bytes: int, take: Take) -> None:
        """Hand exactly `size_bytes` to `take`, piece by piece; what `take` raises comes out here.

        Raises:
            PeerUnreachable: as `Stream.read`.
            ProtocolViolation: the peer finished before.

        """
        ...

    async def send_bulk(self, size_bytes: int, give: Give) -> None:
        """Write `size_bytes` that `give` provides piece by piece; what `give` raises comes out here.

        Raises:
            PeerUnreachable: as `Stream.write`.

        """
        ...


class Connection(Protocol):
    """One connection between two transport keys, both of them authenticated by the transport."""

    @property
    def remote(self) -> TransportId:
        """Return the peer's proven transport id."""
        ...

    @property
    def is_dialler(self) -> bool:
        """Return whether this side dialled."""
        ...

    @property
    def sent_bytes(self) -> int:
        """Return the payload bytes written to streams so far."""
        ...

    @property
    def received_bytes(self) -> int:
        """Return the payload bytes read from streams so far."""
        ...

    @property
    def close_info(self) -> CloseInfo | None:
        """Return why the connection ended, or None while it lives."""
        ...

    async def open_stream(self) -> Stream:
        """Open a stream; the peer sees it with the first write. Waits while the peer allows no more streams.

        Raises:
            PeerUnreachable: the connection is gone.

        """
        ...

    async def accept_stream(self) -> Stream:
        """Return the next stream that the peer opened.

        Raises:
            PeerUnreachable: the connection is gone.

        """
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close at once; the peer sees `code` (0 … 2^32-1) and `reason` (≤ 256 bytes of UTF-8). Idempotent."""
        ...

    async def wait_closed(self) -> str:
        """Return the reason once the connection has ended, by whichever side; `close_info` then has the code."""
        ...

    def path(self) -> PathInfo:
        """Return the path in use now."""
        ...


@runtime_checkable
class Relayed(Protocol):
    """A transport that can be found at relays, and asked where its sockets are seen from outside; not every one can."""

    @property
    def transport_id(self) -> TransportId:
        """Return our own transport id."""
        ...

    @property
    def home_relay(self) -> str:
        """Return the URL of the relay at which we are found now, or nothing."""
        ...

    def interface_addresses(self) -> list[str]:
        """Return the `ip:port` of our sockets on this machine's interfaces."""
        ...

    async def use_relay(self, url: str) -> None:
        """Be found at a relay (`http://`, `https://`), too."""
        ...

    async def observe(self, observer: TransportId, address: str) -> str:
        """Return the `ip:port` at which an observer at `address` sees us, or nothing."""
        ...

    async def set_external(self, addresses: Sequence[str]) -> None:
        """Have these addresses be tried by peers beside those of our interfaces."""
        ...


class Transport(Protocol):
    """One endpoint: a transport key, bound sockets, and the connections made through them."""

    @property
    def transport_id(self) -> TransportId:
        """Return our own transport id."""
        ...

    def addresses(self) -> list[str]:
        """Return the `ip:port` (`[ip]:port` for IPv6) under which we can be dialled, without any server's help."""
        ...

    async def dial(self, to: TransportId, addresses: Sequence[str], *, relay: str = "") -> Connection:
        """Return a connection to the owner of the key `to`, found at one of `addresses`, within limits.DIAL_S.

        relay: the URL of a relay where it is found, too, if the transport has such; direct paths are preferred.

        Raises:
            PeerUnreachable: nothing answers at these addresses, or there are none.
            AuthenticationFault: somebody answers, but with another key.

        """
        ...

    async def accept(self) -> Connection:
        """Return the next connection made to us. Failed handshakes of strangers are dropped silently.

        Raises:
            PeerUnreachable: the transport is closed.

        """
        ...

    async def close(self) -> None:
        """Close every connection and release the sockets. Idempotent."""
        ...
