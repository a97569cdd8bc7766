"""What lies between the two ends of a connection in memory: weather, order, windows.

Knows: pieces of bytes under way. Must not know: endpoints, addresses, transport ids.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final
from weakref import WeakValueDictionary

from backuppeer.errors import PeerUnreachable
from backuppeer.transport.base import LOST_CODE, Buffer

_PIECE_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class Weather:
    """What befalls connections; may be changed while they live."""

    delay_s: float = 0.0
    """Each piece arrives after up to this long, in order."""
    loss: float = 0.0
    """Probability that the connection is lost, for each piece of 64 KiB or less."""
    cut_after_bytes: int | None = None
    """A connection is lost when exactly this many payload bytes, of both sides together, have passed."""
    window_bytes: int = 1_250_000
    """Bytes of one direction of a stream that are sent and not read, at most; as iroh's."""


class Air:
    """What all connections of a network share: the weather, its dice, and what is held while nothing passes."""

    def __init__(self, seed: int, weather: Weather) -> None:
        self.weather = weather
        self.random = Random(seed)  # noqa: S311 - dice for tests, not secrets
        self.is_frozen = False
        self._held: list[Callable[[], None]] = []

    def hold(self, action: Callable[[], None]) -> None:
        """Keep a delivery until the thaw."""
        self._held.append(action)

    def thaw(self) -> None:
        """Let pass what was held, in order."""
        self.is_frozen = False
        held, self._held = self._held, []
        for action in held:
            action()


class Link:
    """What both ends of a connection share."""

    def __init__(self, air: Air) -> None:
        self.air = air
        # Weak, or each stream that ever was would stay; a dict, for a set would wake them in an order that varies.
        self._watchers: WeakValueDictionary[int, asyncio.Event] = WeakValueDictionary()
        self._watched = 0
        self.cause: tuple[int | None, int, str] | None = None
        """Who closed (0 dialler, 1 acceptor, None nobody), code, reason."""
        self._passed_bytes = 0
        self._last_s = 0.0
        self._under_way: deque[Callable[[], None]] = deque()

    def end(self, side: int | None, code: int, reason: str) -> None:
        """End the connection; `side` closed it (0 dialler, 1 acceptor, None nobody). The first end counts."""
        if self.cause is None:
            self.cause = (side, code, reason)
            for event in list(self._watchers.values()):
                event.set()

    def watch(self) -> asyncio.Event:
        """Return an event that is also set when the connection ends: whoever waits for anything looks again."""
        event = asyncio.Event()
        self._watched += 1
        self._watchers[self._watched] = event
        return event

    def check_alive(self) -> None:
        """Raise PeerUnreachable if the connection has ended."""
        if self.cause is not None:
            _, code, reason = self.cause
            raise PeerUnreachable(f"the connection has ended (code {code}, {reason})")

    def carry(self, pipe: "Pipe", piece: bytes) -> None:
        """Bring `piece` to the other end of `pipe`, if the weather lets it."""
        weather = self.air.weather
        if self.air.random.random() < weather.loss:
            self.end(None, LOST_CODE, "connection lost")
            return
        if weather.cut_after_bytes is not None and self._passed_bytes + len(piece) >= weather.cut_after_bytes:
            piece = piece[: max(0, weather.cut_after_bytes - self._passed_bytes)]
            self._pass(lambda: self._deliver_last(pipe, piece))
            return
        self._passed_bytes += len(piece)
        self._pass(lambda: pipe.deliver(piece))

    def _deliver_last(self, pipe: "Pipe", piece: bytes) -> None:
        pipe.deliver(piece)
        self.end(None, LOST_CODE, "connection lost")

    def carry_end(self, pipe: "Pipe") -> None:
        """Bring the end of a direction to the other end, after its bytes."""
        self._pass(pipe.deliver_end)

    def _pass(self, action: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        # Never before what was sent earlier: streams keep their order. The queue, not the timer, decides it, for the
        # loop fires timers of the same moment in any order.
        self._last_s = max(self._last_s, now_s + self.air.random.uniform(0, self.air.weather.delay_s))
        self._under_way.append(action)
        if self._last_s <= now_s and len(self._under_way) == 1:
            self._arrive()
        else:
            loop.call_at(self._last_s, self._arrive)

    def _arrive(self) -> None:
        if self.air.is_frozen:
            self.air.hold(self._arrive)
            return
        action = self._under_way.popleft()
        if self.cause is None:
            action()


class Pipe:
    """One direction of a stream."""

    def __init__(self, link: Link) -> None:
        self._changed = link.watch()
        self._link = link
        self._pieces: deque[bytes] = deque()
        self._unread_bytes = 0
        self._is_finished = False
        self._is_broken = False
        self._broken = ""

    async def write(self, data: Buffer) -> None:
        """Send all of `data`, waiting while the window is full."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PIECE_BYTES):
            while self._unread_bytes >= self._link.air.weather.window_bytes and not self._is_dead():
                await self._wait()
            self.check()
            piece = bytes(view[start : start + _PIECE_BYTES])
            self._unread_bytes += len(piece)
            self._link.carry(self, piece)
            self.check()

    async def read(self, max_bytes: int) -> bytes:
        """Return what has arrived, at most `max_bytes`; b"" at the end."""
        while not self._pieces and not self._is_finished and not self._is_dead():
            await self._wait()
        self.check()
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        if len(piece) > max_bytes:
            self._pieces.appendleft(piece[max_bytes:])
            piece = piece[:max_bytes]
        self._unread_bytes -= len(piece)
        self._changed.set()
        return piece

    def deliver(self, piece: bytes) -> None:
        """Let a piece arrive."""
        if piece and not self._is_broken:
            self._pieces.append(piece)
            self._changed.set()

    def deliver_end(self) -> None:
        """Let the end of the direction arrive."""
        self._is_finished = True
        self._changed.set()

    def break_off(self, code: int) -> None:
        """Reset: throw away what was not read; the first code counts."""
        self._broken = self._broken if self._is_broken else f"the stream was reset (code {code})"
        self._is_broken = True
        self._pieces.clear()
        self._changed.set()

    def check(self) -> None:
        """Raise PeerUnreachable if the direction is reset or its connection gone."""
        self._link.check_alive()
        if self._is_broken:
            raise PeerUnreachable(self._broken)

    def _is_dead(self) -> bool:
        return self._is_broken or self._link.cause is not None

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()
