"""iroh's connections and streams as transport.base wants them.

Knows: how iroh's calls fail, block and must be cancelled. Must not know: endpoints, addresses to dial.

Each direction of an iroh stream is behind a lock in Rust, so `reset` waits for ever behind a blocked `write_all`. And a
cancelled call may have moved bytes that nobody was told of. Therefore each call runs in a task of its own, `abort` cuts
that task off first, and a cancelled call resets the stream.
"""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import iroh

from backuppeer.errors import LocalError, PeerUnreachable, ProtocolViolation
from backuppeer.ids import TransportId
from backuppeer.limits import (
    CLOSE_REASON_BYTES,
    HANDSHAKE_S,
    READ_PIECE_BYTES,
    STRANGER_BYTES,
    STRANGER_LOOK_S,
    WRITE_PIECE_BYTES,
)
from backuppeer.transport.base import LOST_CODE, Buffer, CloseInfo, PathInfo, PathKind

T = TypeVar("T")
_CANCELLED_CODE: Final = 0
_STRANGER_CODE: Final = 1
"""As every failure before a session is proven (docs/protocol.md, "Close codes")."""
# iroh tells the cause in words only: "closed by peer: <reason> (code <n>)", or "closed by peer: <n>" without a reason.
# The suffix is iroh's own, so a reason can't imitate another code.
_CLOSED_WITH_REASON: Final = re.compile(r"closed by peer: (.*) \(code (\d+)\)", re.DOTALL)
_CLOSED_WITHOUT: Final = re.compile(r"closed by peer: (\d+)")
# A binding that panics raises InternalError; to us that is a transport that failed, the cause stays in the chain.
IROH_ERRORS: Final = (iroh.IrohError, iroh.InternalError)


def parse_close(cause: str) -> CloseInfo:
    """Return what iroh's words for the end of a connection mean; unprintable characters of the peer become `?`."""
    if match := _CLOSED_WITH_REASON.fullmatch(cause):
        reason = match[1][:CLOSE_REASON_BYTES]
        return CloseInfo(int(match[2]), "".join(c if c.isprintable() else "?" for c in reason), by_peer=True)
    if match := _CLOSED_WITHOUT.fullmatch(cause):
        return CloseInfo(int(match[1]), "", by_peer=True)
    return CloseInfo(LOST_CODE, "connection lost", by_peer=False)


class _Half:
    """One direction of a stream: one call at a time, which `cut` ends at once."""

    __slots__ = ("_is_cut", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._is_cut = False

    async def run(self, call: Coroutine[Any, Any, T]) -> T:
        if self.is_cut() or self._task is not None:
            call.close()
            if self.is_cut():
                raise PeerUnreachable("the stream was aborted")
            raise LocalError("two tasks use one direction of a stream at once")
        task: asyncio.Task[T] = asyncio.ensure_future(call)
        self._task = task
        try:
            return await task
        except asyncio.CancelledError:
            ours = asyncio.current_task()
            if self.is_cut() and not (ours and ours.cancelling()):
                raise PeerUnreachable("the stream was aborted") from None
            raise
        finally:
            self._task = None

    def is_cut(self) -> bool:
        return self._is_cut

    def cut(self) -> None:
        self._is_cut = True
        if self._task is not None:
            self._task.cancel()


class IrohStream:
    """A bidirectional QUIC stream; one reader and one writer at a time. Keeps its connection alive."""

    __slots__ = ("_connection", "_is_aborted", "_reading", "_recv", "_send", "_writing")

    def __init__(self, connection: "IrohConnection", stream: iroh.BiStream) -> None:
        self._connection = connection
        self._send = stream.send()
        self._recv = stream.recv()
        self._reading = _Half()
        self._writing = _Half()
        self._is_aborted = False

    async def read(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes (never more than READ_PIECE_BYTES), b"" at the end."""
        data = await self._guarded(self._reading, self._recv.read(min(max_bytes, READ_PIECE_BYTES)), "read")
        self._connection.received_bytes += len(data)
        return data

    async def read_exact(self, size_bytes: int) -> bytes:
        """Return exactly `size_bytes` bytes."""
        data = await self.read(size_bytes) if size_bytes else b""
        if len(data) == size_bytes:
            return data
        buffer = bytearray(data)
        while data and len(buffer) < size_bytes:
            data = await self.read(size_bytes - len(buffer))
            buffer += data
        if len(buffer) < size_bytes:
            raise ProtocolViolation(f"the stream ended {size_bytes - len(buffer)} bytes early")
        return bytes(buffer)

    async def write(self, data: Buffer) -> None:
        """Hand over all of `data`, copied piece by piece."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), WRITE_PIECE_BYTES):
            # The generated code passes any buffer on to the copy (transport.iroh.patch); its annotation says bytes.
            is_whole = isinstance(data, bytes) and len(view) <= WRITE_PIECE_BYTES
            piece: Any = data if is_whole else view[start : start + WRITE_PIECE_BYTES]
            await self._guarded(self._writing, self._send.write_all(piece), "write")
            self._connection.sent_bytes += len(piece)

    async def finish(self) -> None:
        """Say that nothing more will be written."""
        # iroh's own finish succeeds on a connection that is gone.
        if self._connection.close_info is not None:
            raise self._connection.make_error("can't finish")
        await self._guarded(self._writing, self._send.finish(), "finish")

    async def abort(self, code: int) -> None:
        """Reset and stop; what waits on this stream ends with PeerUnreachable."""
        if self._is_aborted:
            return
        self._is_aborted = True
        self._reading.cut()
        self._writing.cut()
        # One turn of the loop lets the cut tasks free their Rust futures, and with them the locks that reset needs.
        await asyncio.sleep(0)
        await asyncio.gather(self._send.reset(code), self._recv.stop(code), return_exceptions=True)

    async def _guarded(self, half: _Half, call: Coroutine[Any, Any, T], doing: str) -> T:
        try:
            return await half.run(call)
        except IROH_ERRORS as exc:
            raise self._connection.make_error(f"can't {doing}: the peer reset the stream") from exc
        except asyncio.CancelledError:
            # write_all and read are not safe to cancel: how much went over is unknown, so nothing may follow.
            await self.abort(_CANCELLED_CODE)
            raise


class IrohConnection:
    """A QUIC connection between two transport keys.

    Dropping the last reference closes it: hold it, or one of its streams. Its endpoint must outlive it.
    """

    def __init__(self, connection: iroh.Connection, *, is_dialler: bool) -> None:
        self._connection = connection
        self._own_close: CloseInfo | None = None
        self._is_dialler = is_dialler
        self._remote = TransportId(connection.remote_id().to_bytes())
        self._accepts = 0
        self._is_used = False
        self.sent_bytes = 0
        self.received_bytes = 0

    @property
    def remote(self) -> TransportId:
        """The peer's transport id, proven by TLS 1.3 with raw public keys."""
        return self._remote

    @property
    def is_dialler(self) -> bool:
        """Whether we dialled."""
        return self._is_dialler

    @property
    def close_info(self) -> CloseInfo | None:
        """Why the connection ended, or None."""
        if self._own_close is None and (cause := self._connection.close_reason()) is not None:
            return parse_close(cause)
        return self._own_close

    async def open_stream(self) -> IrohStream:
        """Open a stream; the peer sees it with the first write."""
        self._is_used = True
        try:
            return IrohStream(self, await self._connection.open_bi())
        except IROH_ERRORS as exc:
            raise self.make_error("can't open a stream") from exc

    async def accept_stream(self) -> IrohStream:
        """Return the next stream that the peer opened."""
        self._accepts += 1
        self._is_used = self._is_used or self._accepts > 1
        try:
            stream = await self._connection.accept_bi()
        except IROH_ERRORS as exc:
            raise self.make_error("can't accept a stream") from exc
        # iroh still hands out streams that came before the connection ended; nothing can be read from them.
        if self.close_info is not None:
            raise self.make_error("can't accept a stream")
        return IrohStream(self, stream)

    async def close(self, code: int, reason: str) -> None:
        """Close at once; what is in flight is lost."""
        if self.close_info is None:
            self._own_close = CloseInfo(code, reason, by_peer=False)
            self._connection.close(code, reason.encode()[:CLOSE_REASON_BYTES])

    async def wait_closed(self) -> str:
        """Return the reason once the connection has ended."""
        cause = parse_close(await self._connection.closed())
        return (self._own_close or cause).reason

    async def guard(self) -> None:
        """Close the connection if it brings far more than we read before we use it, for HANDSHAKE_S at most.

        In use it is when we open a stream or ask for a second one: whoever is served by now has proven who it is. QUIC
        can't take back the windows that it granted in its own handshake, so the only remedy is to look.
        """
        end_s = asyncio.get_running_loop().time() + HANDSHAKE_S
        while not self._is_used and self.close_info is None and asyncio.get_running_loop().time() < end_s:
            # A quarter more than was read: packet headers and acknowledgements of a fast first stream.
            if self._connection.stats().udp_rx_bytes > STRANGER_BYTES + self.received_bytes * 5 // 4:
                await self.close(_STRANGER_CODE, "")
            await asyncio.sleep(STRANGER_LOOK_S)

    def path(self) -> PathInfo:
        """Return the path in use; its round-trip time comes in whole milliseconds."""
        for path in self._connection.paths() if self.close_info is None else ():
            if path.is_selected:
                kind = PathKind.RELAYED if path.is_relay else PathKind.DIRECT
                counted = path.stats
                packets = counted.udp_tx_datagrams, counted.lost_packets
                return PathInfo(kind, float(path.rtt_ms or 0), path.remote_addr, *packets)
        return PathInfo(PathKind.NONE, 0.0, "")

    def make_error(self, otherwise: str) -> PeerUnreachable:
        """Return the error to raise for a failed call: why the connection ended, or `otherwise` if it lives."""
        info = self.close_info
        if info is None:
            return PeerUnreachable(otherwise)
        if info.code == LOST_CODE:
            return PeerUnreachable("the connection to the peer was lost", hint="is it online? try again in a moment")
        side = "the peer" if info.by_peer else "this side"
        words = f", {info.reason}" if info.reason else ""
        return PeerUnreachable(
            f"{side} closed the connection (code {info.code}{words})",
            hint="try again in a moment; if it stays so, the log of the peer's agent says why",
        )
