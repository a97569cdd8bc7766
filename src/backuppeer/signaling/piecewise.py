"""Piecewise: a connection that looks through what it read bit by bit, so that no other end can stop the event loop.

Knows: the WebSocket library's connections, frames. Must not know: messages. The library looks through all that it read
in one go: 256 KiB, which may be 130,000 frames and take ten seconds, in which nothing else of this process runs. Here
it gets a piece in each turn of the loop; as long as some is left, or its own queue is full, nothing more is read.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.frames import CTRL_OPCODES, Frame, Opcode
from websockets.protocol import Event, State

from backuppeer import limits
from backuppeer.limits.units import KIB

_SPLINTER_BYTES: Final = 126
"""No program or proxy cuts a message into parts as small as this."""
_ANSWER_PIECE_BYTES: Final = 2 * KIB
"""Of what a server sends: up to 1,000 frames."""


class Valve:
    """A transport that reads on when all that it read was looked through. All else is as of the one in it."""

    def __init__(self, transport: asyncio.Transport, look: Callable[[bytes], None], piece_bytes: int) -> None:
        """look: takes a piece."""
        self._transport, self._look, self._piece_bytes = transport, look, piece_bytes
        self._rest = b""
        self._is_held = self._is_due = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def pause_reading(self) -> None:
        """Look through no more for now: the library's queue is full."""
        self._is_held = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._is_held = False
        self._go_on()

    def take(self, data: bytes) -> None:
        """Look through the first piece of what was read, and through the others in turns to come."""
        self._rest += data
        if not (self._is_due or self._is_held):
            self._look_on()
        self._go_on()

    def finish(self) -> None:
        """Look through all that is left at once."""
        rest, self._rest = self._rest, b""
        if rest:
            self._look(rest)

    def drop(self) -> None:
        """Forget what was not looked through: there is nobody any more whom an answer would reach."""
        self._rest = b""

    def _look_on(self) -> None:
        self._is_due = False
        if self._transport.is_closing():
            self.drop()
        if self._rest and not self._is_held:
            piece, self._rest = self._rest[: self._piece_bytes], self._rest[self._piece_bytes :]
            self._look(piece)
            self._go_on()

    def _go_on(self) -> None:
        if self._rest:
            self._transport.pause_reading()
        elif not self._is_held:
            self._transport.resume_reading()
        if self._rest and not (self._is_due or self._is_held):
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look_on)


class Piecewise(Connection):
    """What a connection of either side has before the library's own class for it."""

    piece_bytes: int
    _valve: Valve

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Put the valve before the library."""
        self._valve = Valve(cast("asyncio.Transport", transport), super().data_received, self.piece_bytes)
        super().connection_made(cast("asyncio.Transport", self._valve))

    def data_received(self, data: bytes) -> None:
        """Look through it, piece by piece."""
        self._valve.take(data)

    def eof_received(self) -> None:
        """End. What is left of an HTTP answer is in it: with TLS the end comes in the same turn. Frames are not."""
        if self.protocol.state is State.CONNECTING:
            self._valve.finish()
        self._valve.drop()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._valve.drop()
        super().connection_lost(exc)


class Answering(Piecewise, ClientConnection):
    """A connection to a server. One that floods it with frames that say nothing is hung up on."""

    piece_bytes = _ANSWER_PIECE_BYTES
    _left = float(limits.SERVER_CONTROL_FRAMES)
    _then_s = 0.0

    def process_event(self, event: Event) -> None:
        """Count what costs work and says nothing; cut who sends too much of it."""
        if isinstance(event, Frame) and says_nothing(event) and not self._take(self.loop.time()):
            self.transport.abort()
            return
        super().process_event(event)

    def _take(self, now_s: float) -> bool:
        grown = self._left + (now_s - self._then_s) * limits.SERVER_CONTROL_FRAMES_PER_S
        self._left, self._then_s = min(float(limits.SERVER_CONTROL_FRAMES), grown) - 1, now_s
        return self._left >= 0


def says_nothing(frame: Frame) -> bool:
    """Tell whether a frame is a ping, a pong, or a splinter of a message: the library answers it or throws it away."""
    is_control = frame.opcode in CTRL_OPCODES and frame.opcode is not Opcode.CLOSE
    return is_control or (not frame.fin and len(frame.data) < _SPLINTER_BYTES)
