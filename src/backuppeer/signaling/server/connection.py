"""Connection: one WebSocket of the server, small enough to be held by the ten thousand (ADR 82).

Knows: bytes of a transport, the library's protocol without IO (its only user), frames, times. Must not know: what
messages say, where a connection comes from.

A connection that idles has neither task nor timer: whoever attends it is run when a message has come or it has ended,
until nothing is left to take; pings come from one sweep for all of them (`listener`). All that it holds is the
library's parser and the few slots below.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from backuppeer.limits.units import KIB

LIBRARY_LOG: Final = logging.getLogger("backuppeer.signaling.server.websockets")
# What matters is logged by the desk; the library's lines say nothing that an operator could use.
LIBRARY_LOG.setLevel(logging.CRITICAL + 1)
_PIECE_BYTES: Final = 16 * KIB
"""Looked through of a connection before others have their turn: up to 2,700 frames, some 0.1 s."""
_QUEUE_MESSAGES: Final = 4
"""That wait to be taken; with more no further piece is looked through until all but one are."""
_ROOM: Final = b"room"
"""Owed by who does not read what was written: no ping would reach it, so no pong pays it, whatever it says."""
_DATA: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})


class Attendant(Protocol):
    """Who answers what comes over one connection."""

    async def attend(self) -> None:
        """Take what there is, answer, and return; when the connection has ended, let go of it."""
        ...


class Keeper(Protocol):
    """What a connection needs of the server that it belongs to."""

    handshake_s: float
    close_s: float
    message_bytes: int
    subprotocols: list[Subprotocol]
    is_closing: bool

    def joined(self, connection: "Connection") -> None:
        """Note a new connection."""
        ...

    def opened(self, connection: "Connection") -> None:
        """Ping it from now on: it is a WebSocket."""
        ...

    def left(self, connection: "Connection") -> None:
        """Forget it."""
        ...

    def spawn(self, work: Coroutine[None, None, None]) -> object:
        """Run a task, and end only after it."""
        ...


class Connection(asyncio.Protocol):
    """A WebSocket, from the first TCP byte on."""

    __slots__ = (
        "_attendant",
        "_end",
        "_is_attended",
        "_is_due",
        "_is_held",
        "_keeper",
        "_messages",
        "_owed",
        "_parts",
        "_protocol",
        "_rest",
        "_room",
        "_timer",
        "_waker",
        "group",
        "is_lost",
        "transport",
    )
    transport: Any
    """A transport of asyncio, plain or TLS; None until there is one, which with TLS is after its handshake."""
    group: int
    """For its keeper."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.transport = None
        self._protocol = ServerProtocol(
            subprotocols=keeper.subprotocols, max_size=keeper.message_bytes, logger=LIBRARY_LOG
        )
        self._attendant: Attendant | None = None
        self._messages: deque[bytes | str] | None = None
        self._parts: tuple[Opcode, bytearray] | None = None
        self._owed: bytes = b""
        self._room: asyncio.Event | None = None
        self._end: asyncio.Event | None = None
        self._waker: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rest = b""
        self._is_attended = self._is_held = self._is_due = self.is_lost = False
        self.group = 0

    @property
    def state(self) -> State:
        """How far the WebSocket is: CONNECTING, OPEN, CLOSING or CLOSED."""
        return self._protocol.state

    @property
    def closed(self) -> ConnectionClosed:
        """How it ended; only for one that `is_lost`."""
        return self._protocol.close_exc

    @property
    def has_room(self) -> bool:
        """Whether it reads what is sent: not too much waits for it."""
        return self._room is None

    @property
    def _is_writable(self) -> bool:
        return self.state is State.OPEN and not self.transport.is_closing()

    def limit_messages(self, size_bytes: int) -> None:
        """Take messages of another size from now on."""
        self._protocol.max_message_size = size_bytes

    def respond(self, status: int, text: str) -> Response:
        """Return a plain HTTP answer in place of a WebSocket."""
        return self._protocol.reject(status, text)

    def attend(self, attendant: Attendant, *, at_once: bool = False) -> None:
        """Let somebody answer, from the next message on or at once."""
        self._attendant = attendant
        if at_once:
            self.notify()

    def notify(self) -> None:
        """Run the attendant, unless it runs."""
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)
        if self._attendant is not None and not self._is_attended:
            self._is_attended = True
            self._keeper.spawn(self._run(self._attendant))

    async def _run(self, attendant: Attendant) -> None:
        try:
            await attendant.attend()
        except BaseException:
            self.transport.abort()
            raise
        finally:
            self._is_attended = False

    def take(self) -> bytes | str | None:
        """Take the next message without waiting; None: there is none."""
        if self._messages is None:
            return None
        message = self._messages.popleft()
        is_short = len(self._messages) <= 1
        if not self._messages:
            self._messages = None
        if self._is_held and is_short:
            self._is_held = False
            self._go_on()
        return message

    async def recv(self) -> bytes | str:
        """Wait for a message. For one reader at a time.

        Raises:
            ConnectionClosed: there will be none.

        """
        while (message := self.take()) is None:
            if self.is_lost:
                raise self.closed
            self._waker = asyncio.get_running_loop().create_future()
            try:
                await self._waker
            finally:
                self._waker = None
        return message

    async def send(self, data: bytes) -> None:
        """Send a message, and wait while too much waits to be sent.

        Raises:
            ConnectionClosed: it is closed, or was before all was sent.

        """
        if not self._is_writable:
            await self.wait_closed()
            raise self.closed
        self._write(data)
        if self._room is not None:
            await self._room.wait()
            if self.is_lost:
                raise self.closed

    def post(self, data: bytes) -> bool:
        """Send a message without ever waiting; False: it was not, since too much waits already, or it is closed."""
        if not self.has_room or not self._is_writable:
            return False
        self._write(data)
        return True

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close it and wait for its end; who does not answer in time is cut."""
        if self.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait for its end."""
        if not self.is_lost:
            self._end = self._end or asyncio.Event()
            await self._end.wait()

    def beat(self, payload: bytes) -> None:
        """Ping it; close it when it has not answered the last ping, or not read anything since."""
        if self.state is not State.OPEN:
            return
        if self._owed:
            self._protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        elif self._room is not None:
            self._owed = _ROOM
            return
        else:
            self._owed = payload
            self._protocol.send_ping(payload)
        self._flush()

    def reach(self, transport: Any) -> None:
        """Note the TCP connection on which the TLS handshake begins; `connection_made` or `miss` follows."""
        raise NotImplementedError

    def miss(self) -> None:
        """Forget it: it ended before its TLS handshake."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the handshake has its time from here."""
        self.transport = transport
        self._keeper.joined(self)
        self._timer = asyncio.get_running_loop().call_later(self._keeper.handshake_s, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Look through the first piece of what was read, and through the others in turns of the loop to come."""
        self._rest += data
        if not (self._is_due or self._is_held):
            self._look_on()

    def _look_on(self) -> None:
        self._is_due = False
        if self.transport.is_closing():
            self._rest = b""  # of one that is cut no more is looked at
        if not self._rest:
            return
        if not self._is_held:
            piece, self._rest = self._rest[:_PIECE_BYTES], self._rest[_PIECE_BYTES:]
            self._protocol.receive_data(piece)
            self._process()
        self._go_on()

    def _go_on(self) -> None:
        """Read on when all was looked through, else look on when others had their turn."""
        if not (self._rest or self._is_held):
            self.transport.resume_reading()
            return
        self.transport.pause_reading()
        if self._rest and not (self._is_held or self._is_due):
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look_on)

    def eof_received(self) -> None:
        """Note that nothing more will come; the transport closes itself."""
        self._rest = b""
        self._protocol.receive_eof()
        self._process()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - weather, of whatever kind
        """Wake all who wait, and let the attendant let go."""
        self._rest = b""
        self._protocol.receive_eof()
        self.is_lost = True
        self._stop_timer()
        for event in (self._room, self._end):
            if event is not None:
                event.set()
        self._keeper.left(self)
        self.notify()

    def pause_writing(self) -> None:
        """Let senders wait."""
        self._room = asyncio.Event()

    def resume_writing(self) -> None:
        """Let them go on."""
        if self._room is not None:
            self._room.set()
            self._room = None
        if self._owed is _ROOM:
            self._owed = b""

    def answer(self, request: Request) -> Response | None:
        """Answer an HTTP request, or return None for a WebSocket."""
        raise NotImplementedError

    def serve(self) -> None:
        """Find an attendant, now that it is a WebSocket."""
        raise NotImplementedError

    def is_heard(self, frame: Frame) -> bool:
        """Tell whether a frame counts; False: the connection was cut for it."""
        raise NotImplementedError

    def is_answer(self, frame: Frame) -> bool:
        """Tell whether a frame is the pong to our last ping."""
        return frame.opcode is Opcode.PONG and self._owed is not _ROOM and bytes(frame.data) == self._owed != b""

    def _process(self) -> None:
        events = self._protocol.events_received()
        self._flush()
        for event in events:
            if isinstance(event, Request):
                self._open(event)
            elif isinstance(event, Frame):
                self._hear(event)

    def _open(self, request: Request) -> None:
        response = self.answer(request)
        if response is None and self._keeper.is_closing:
            response = self.respond(503, "this server is going away\n")
        self._protocol.send_response(response or self._protocol.accept(request))
        if self.state is not State.CONNECTING:
            self._stop_timer()
            self._keeper.opened(self)
        self._flush()
        request.headers.clear()  # the library's parser keeps the request for good: 2.7 KB
        if self.state is State.OPEN:
            self.serve()

    def _hear(self, frame: Frame) -> None:
        if not self.is_heard(frame):
            return
        if frame.opcode in _DATA:
            self._gather(frame)
        elif self.is_answer(frame):
            self._owed = b""

    def _gather(self, frame: Frame) -> None:
        """Put a message together; the protocol bounds the size of the whole."""
        opcode, parts = self._parts or (frame.opcode, bytearray())
        parts += frame.data
        self._parts = None if frame.fin else (opcode, parts)
        if not frame.fin:
            return
        self._messages = self._messages or deque()
        self._messages.append(parts.decode(errors="replace") if opcode is Opcode.TEXT else bytes(parts))
        self._is_held = len(self._messages) > _QUEUE_MESSAGES
        self.notify()

    def _write(self, data: bytes) -> None:
        self._protocol.send_binary(data)
        self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.transport.write(data)
            elif self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()
        if self._protocol.close_expected() and self._timer is None and not self.is_lost:
            self._timer = asyncio.get_running_loop().call_later(self._keeper.close_s, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
