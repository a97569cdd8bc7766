"""One lane: a TLS connection that carries streams one after another.

Knows: blocking sockets in a thread, the frames between streams. Must not know: certificates, sessions, messages.

On the connection each direction is a sequence of frames: u32be length, then that many bytes (1 to LANE_FRAME_BYTES); a
length of 0 ends the stream. When both directions have ended, the lane is free for the next stream. A stream that breaks
takes its lane with it.

Blocking sockets, because they move three times what asyncio's do (FACTS); one thread per lane, because a TLS connection
must not be used by two. So a lane carries bulk in one direction at a time, which is what requests do.
"""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from backuppeer.errors import PeerUnreachable, ProtocolViolation
from backuppeer.limits import LANE_END_S, LANE_FRAME_BYTES, LANE_FRAME_LEAST_BYTES, LANE_SMALL_FRAMES
from backuppeer.transport.base import Buffer, Give, Take, read_whole
from backuppeer.transport.throttle import UNBRAKED, Brakes, Debt

T = TypeVar("T")
_HEAD_BYTES: Final = 4
_END: Final = bytes(_HEAD_BYTES)


class Lane:
    """A TLS connection after its handshake, and its thread. One stream at a time: `open_stream` or `accept_stream`."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lane")
        self._is_closed = self._is_busy = False
        self.on_close: Callable[[], None] = lambda: None
        """Called once, when the lane has been closed by whichever side."""
        self.brakes: Brakes = UNBRAKED
        """What streams of this lane keep to; set before there is one."""
        self._ending = threading.Event()
        self._owed = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        """Payload, without frames."""

    @property
    def is_open(self) -> bool:
        """Whether streams can still be had."""
        return not self._is_closed

    def open_stream(self) -> "LaneStream":
        """Return the next stream; the lane must be free. The peer sees it with the first write."""
        return LaneStream(self)

    async def accept_stream(self) -> "LaneStream":
        """Return the next stream that the peer opens, as soon as its first bytes are there.

        Raises:
            PeerUnreachable: the lane is closed.

        """
        stream = LaneStream(self)
        await self.run(stream.await_head)
        return stream

    def close(self) -> None:
        """Close at once; whoever waits on a stream of this lane gets an error. Idempotent, never raises."""
        if self._is_closed:
            return
        self._is_closed = True
        self._ending.set()
        with suppress(OSError):
            # A reset: what is in flight is thrown away, and a peer that is blocked in a write learns it at once.
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if self._is_busy:
                # The system's call and not TLS's goodbye: it wakes the thread that is blocked in the connection.
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
        try:
            # In the lane's own thread, after what it is in the middle of: else that could meet another's descriptor.
            self._thread.submit(self._connection.close)
        except RuntimeError:  # no thread was ever started, and none can be
            self._connection.close()
        self._thread.shutdown(wait=False)
        self.on_close()

    async def run(self, call: Callable[..., T], *args: object) -> T:
        """Run a blocking call in the lane's thread; whatever goes wrong closes the lane.

        When this returns or raises, the call has ended, so its buffers and files are the caller's again; but one that
        hangs in a dead disk is left behind after LANE_END_S.

        Raises:
            PeerUnreachable: the lane is closed, or broke.
            ProtocolViolation: the peer sent what is no frame.

        """
        if self._is_closed:
            raise PeerUnreachable("the lane is closed")
        running: Future[T] | None = None
        try:
            self._is_busy = True
            running = self._thread.submit(call, *args)
            result = await asyncio.wrap_future(running)
        except (OSError, ValueError, RuntimeError) as exc:  # ssl errors are OSErrors; closed under us: the others
            self.close()
            raise PeerUnreachable("the lane broke") from exc
        except BaseException:
            self.close()
            if running is not None:
                await _await_end(running)
            raise
        self._is_busy = False
        return result

    def receive_into(self, view: memoryview, *, is_payload: bool) -> None:
        """Fill `view` (in the lane's thread)."""
        brake, at = self.brakes.down, 0
        most = brake.most() if is_payload else 0
        while at < len(view):
            count = self._connection.recv_into(view[at:])  # a record at most, 16 KiB
            if not count:
                raise ConnectionResetError("the peer closed the lane")
            at += count
            self.received_bytes += count * is_payload  # at once: it is a sign of life
            self._owed += count if most else 0
            if most and self._owed >= most:
                self._owed, owed = 0, self._owed
                self.pay(brake.owe(owed))

    def pay(self, debt: Debt) -> None:
        """Rest until bytes are paid for, or the lane is closed (in its thread)."""
        try:
            while (rest_s := debt.rest_s()) > 0 and not self._ending.wait(rest_s):
                pass
        finally:
            debt.drop()

    def send(self, data: Buffer) -> None:
        """Send all of `data` (in the lane's thread)."""
        self._connection.sendall(data)


async def _await_end(running: "Future[T]") -> None:
    """Wait for the end of a call whose result nobody wants any more."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    running.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
    with suppress(TimeoutError):
        async with asyncio.timeout(LANE_END_S):
            await ended.wait()


class LaneStream:
    """A bidirectional stream on a lane; one call at a time."""

    __slots__ = ("_lane", "_left", "_read_ended", "_small", "_write_ended")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._left = self._small = 0
        self._read_ended = False
        self._write_ended = False

    @property
    def is_over(self) -> bool:
        """Whether both directions have ended, so that the lane is free."""
        return self._read_ended and self._write_ended

    async def read(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes (never more than LANE_FRAME_BYTES), b"" at the end."""
        if self._read_ended or not max_bytes:
            return b""
        return await self._lane.run(self._read, max_bytes)

    @property
    def moved_bytes(self) -> int:
        """Return a count that grows with every byte moved."""
        return self._lane.sent_bytes + self._lane.received_bytes

    async def fill(self, view: memoryview) -> None:
        """Fill `view` with the next bytes."""
        if len(view):
            await self._lane.run(self._fill, view)

    async def receive_bulk(self, size_bytes: int, take: Take) -> None:
        """Hand exactly `size_bytes` to `take`, in pieces of LANE_FRAME_BYTES and a rest; before an error what came."""
        if size_bytes:
            await self._lane.run(self._receive_bulk, size_bytes, take)

    async def send_bulk(self, size_bytes: int, give: Give) -> None:
        """Write `size_bytes` that `give` provides."""
        if self._write_ended:
            raise PeerUnreachable("the stream was finished")
        if size_bytes:
            await self._lane.run(self._send_bulk, size_bytes, give)

    async def read_exact(self, size_bytes: int) -> bytes:
        """Return exactly `size_bytes` bytes."""
        return await read_whole(self.read, size_bytes)

    async def write(self, data: Buffer) -> None:
        """Hand over all of `data`."""
        if self._write_ended:
            raise PeerUnreachable("the stream was finished")
        if len(data):
            await self._lane.run(self._write, memoryview(data).cast("B"))

    async def finish(self) -> None:
        """Say that nothing more will be written."""
        if not self._write_ended:
            self._write_ended = True
            await self._lane.run(self._lane.send, _END)

    async def abort(self, code: int) -> None:
        """Throw the stream away, and the lane with it: in the middle of a stream it is good for nothing else."""
        del code
        if not self.is_over:
            self._lane.close()

    async def drain(self) -> None:
        """Read what the peer still sends, which must be nothing but the end; then the lane is free.

        Raises:
            ProtocolViolation: there was more.

        """
        if await self.read(1):
            self._lane.close()
            raise ProtocolViolation("bytes after the end of a request on a lane")

    def await_head(self) -> None:
        """Wait for the first frame of the stream (in the lane's thread)."""
        self._read_head()

    def _read_head(self) -> None:
        head = bytearray(_HEAD_BYTES)
        self._lane.receive_into(memoryview(head), is_payload=False)
        self._left = int.from_bytes(head, "big")
        if self._left > LANE_FRAME_BYTES:
            raise ProtocolViolation(f"a frame of {self._left} bytes on a lane")
        self._read_ended = not self._left
        if 0 < self._left < LANE_FRAME_LEAST_BYTES:
            # Messages are small and few. Each frame costs a change of threads: bulk in tiny ones would cost minutes.
            self._small += 1
            if self._small > LANE_SMALL_FRAMES:
                raise ProtocolViolation("too many small frames on a lane")

    def _read(self, max_bytes: int) -> bytes:
        data = bytearray(min(max_bytes, self._left or LANE_FRAME_BYTES))
        count = self._read_into(memoryview(data))
        return bytes(memoryview(data)[:count])

    def _read_into(self, view: memoryview) -> int:
        if not self._left:
            self._read_head()
        count = min(len(view), self._left)
        self._lane.receive_into(view[:count], is_payload=True)
        self._left -= count
        return count

    def _fill(self, view: memoryview) -> None:
        while view:
            if self._read_ended:
                raise ProtocolViolation(f"the stream ended {len(view)} bytes early")
            view = view[self._read_into(view) :]

    def _receive_bulk(self, size_bytes: int, take: Take) -> None:
        buffer = memoryview(bytearray(min(size_bytes, LANE_FRAME_BYTES)))
        for left in range(size_bytes, 0, -len(buffer)):
            piece, before = buffer[:left], self._lane.received_bytes
            try:
                self._fill(piece)
            except OSError:
                take(piece[: self._lane.received_bytes - before])
                raise
            take(piece)

    def _send_bulk(self, size_bytes: int, give: Give) -> None:
        buffer = memoryview(bytearray(min(size_bytes, LANE_FRAME_BYTES)))
        for offset in range(0, size_bytes, len(buffer)):
            piece = buffer[: size_bytes - offset]
            give(offset, piece)
            self._write(piece)

    def _write(self, data: memoryview) -> None:
        up, start = self._lane.brakes.up, 0
        while start < len(data):
            most = up.most()
            frame = data[start : start + (min(most, LANE_FRAME_BYTES) or LANE_FRAME_BYTES)]
            start += len(frame)
            if most:
                self._lane.pay(up.owe(len(frame)))
            head = len(frame).to_bytes(_HEAD_BYTES, "big")
            if len(frame) < LANE_FRAME_LEAST_BYTES:
                self._lane.send(head + frame)  # one record for a message
            else:
                self._lane.send(head)
                self._lane.send(frame)
            self._lane.sent_bytes += len(frame)
