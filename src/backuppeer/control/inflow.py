"""What comes in on a feed route: the request, then bytes, in frames and only when they were asked for.

Knows: frames, how many pieces may be under way. Must not know: HTTP's details, what the bytes are.

The command sends a piece only after the agent asked for it by a `more` event. So the agent holds at most INFLOW_PIECES,
however slow the hosts are, and it reads the socket all the time: a command that goes away is noticed at once, which it
would not be on a socket that nobody reads from. The last frame is the event `done` (the stream is whole) or `error`
(what fed it failed); a stream that ends without either broke off.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from starlette.types import Receive

from backuppeer.control.codec import convert_json, decode_json
from backuppeer.control.events import ErrorResult, Event, EventName
from backuppeer.control.frames import HEAD_BYTES, FrameKind, decode_head
from backuppeer.errors import BackupPeerError, InterruptedByUserError, LocalError, UserError
from backuppeer.limits import CONTROL_BODY_BYTES, INFLOW_PIECES

_SEE: Final = "see /v1/openapi.json"


class Inflow:
    """The bytes of one feed; all but `read_into` belongs to the event loop it was made in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._is_begun = False
        self._expected = self._unasked = 0
        self._wanted = asyncio.Event()
        self._changed = threading.Condition()
        self._pieces: deque[memoryview] = deque()
        self._is_input_over = self._is_over = False
        self._failure: BackupPeerError | None = None

    async def read_request(self, receive: Receive) -> bytes:
        """Return the request that the first frame holds, as JSON.

        Raises:
            UserError: it is longer than a request may be, or something else came.

        """
        while (frame := self._take_frame()) is None:
            if self._is_input_over or not await self._receive(receive):
                raise UserError("the request broke off", hint=_SEE)
        kind, data = frame
        if kind is not FrameKind.EVENT or len(data) > CONTROL_BODY_BYTES:
            raise UserError("a feed begins with its request", hint=_SEE)
        return bytes(data)

    async def run(self, receive: Receive) -> None:
        """Take in what comes until the command has gone."""
        try:
            while True:
                self._take_frames()
                if not await self._receive(receive):
                    return
        finally:
            self._end(InterruptedByUserError("the command went away: no snapshot was made"))

    async def ask(self, emit: Callable[[Event], Awaitable[None]]) -> None:
        """Ask the command for what the reader has room for, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            pieces, self._unasked = self._unasked, 0
            self._expected += pieces
            await emit(Event(event=EventName.MORE, data={"pieces": pieces}))

    def read_into(self, view: memoryview) -> int:
        """Fill `view` with the next bytes, waiting for them; less than it holds only at the end. In one thread.

        Raises:
            LocalError: what feeds the stream failed.
            InterruptedByUserError: the command went away.
            UserError: it sent what no feed is.

        """
        if not self._is_begun:
            # Only now: nothing is fed before somebody is ready to take it.
            self._is_begun = True
            self._call(INFLOW_PIECES)
        filled = 0
        while filled < len(view):
            piece = self._await_piece()
            if piece is None:
                break
            used = min(len(piece), len(view) - filled)
            view[filled : filled + used] = piece[:used]
            filled += used
            self._use(used)
        return filled

    def _await_piece(self) -> memoryview | None:
        with self._changed:
            while not self._pieces and not self._is_over:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure
            return self._pieces[0] if self._pieces else None

    def _use(self, size: int) -> None:
        with self._changed:
            rest = self._pieces[0][size:]
            if len(rest):
                self._pieces[0] = rest
                return
            self._pieces.popleft()
        self._call(1)

    def _call(self, pieces: int) -> None:
        def want() -> None:
            self._unasked += pieces
            self._wanted.set()

        with suppress(RuntimeError):  # the loop is closed: the agent has ended
            self._loop.call_soon_threadsafe(want)

    async def _receive(self, receive: Receive) -> bool:
        """Wait for more; return False when the other side has gone."""
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        if not self._is_over:
            self._buffer += message.get("body", b"")
        self._is_input_over = not message.get("more_body", False)
        return True

    def _take_frames(self) -> None:
        try:
            while not self._is_over and (frame := self._take_frame()) is not None:
                self._accept(*frame)
        except UserError as exc:
            self._end(exc)
        if self._is_input_over:
            self._end(LocalError("the stream broke off: no snapshot was made", hint=_SEE))

    def _take_frame(self) -> tuple[FrameKind, bytes] | None:
        if len(self._buffer) < HEAD_BYTES:
            return None
        try:
            kind, length = decode_head(bytes(self._buffer[:HEAD_BYTES]))
        except ValueError as exc:
            raise UserError(f"bad feed: {exc}", hint=_SEE) from exc
        if len(self._buffer) < HEAD_BYTES + length:
            return None
        data = bytes(memoryview(self._buffer)[HEAD_BYTES : HEAD_BYTES + length])
        del self._buffer[: HEAD_BYTES + length]
        return kind, data

    def _accept(self, kind: FrameKind, data: bytes) -> None:
        if kind is FrameKind.EVENT:
            self._end(_read_end(data))
            return
        if not self._expected:
            raise UserError("bad feed: bytes came that nobody asked for", hint=_SEE)
        self._expected -= 1
        with self._changed:
            self._pieces.append(memoryview(data))
            self._changed.notify()

    def _end(self, failure: BackupPeerError | None) -> None:
        with self._changed:
            if not self._is_over:
                self._is_over, self._failure = True, failure
                self._buffer.clear()  # what stands behind the end is nobody's
                self._changed.notify()


def _read_end(data: bytes) -> BackupPeerError | None:
    """Return why what fed the stream failed; None when the stream is whole."""
    try:
        event = decode_json(data, Event)
        if event.event == EventName.DONE:
            return None
        said = convert_json(event.data, ErrorResult)
    except ValueError as exc:
        raise UserError(f"bad feed: {exc}", hint=_SEE) from exc
    return LocalError(said.message, hint=said.hint)
