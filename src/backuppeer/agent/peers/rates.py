"""The caps of this agent on what it sends and receives, shared by its peers (ADR 88).

Knows: caps, which peer has which share. Must not know: settings, streams, lanes.

Theory of operation. One bucket for each cap. Who moves a piece owes it, and rests until it is paid for: pieces are paid
one after the other, in the order in which they came in line. Of each peer one piece is in line, its others stand behind
that one: so peers have equal shares, not streams, nor sessions, of which a peer may begin new ones. The settings are
looked at once in a second, by whoever moves bytes: nobody wakes up for it, and a change holds at once.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from backuppeer.agent.home.bandwidth import Caps
from backuppeer.clock import Clock
from backuppeer.ids import PeerId
from backuppeer.limits import BANDWIDTH_LOOK_S, BULK_STALL_S, MIB
from backuppeer.transport.throttle import Brakes

_BURST_S: Final = 0.25
"""How much of the time in which nothing was moved may be made up for."""
_PIECE_S: Final = 0.125
"""About how long a piece takes; between these two."""
_LEAST_PIECE_BYTES: Final = MIB // 64
"""As LANE_FRAME_LEAST_BYTES: smaller frames are for messages."""
_MOST_PIECE_BYTES: Final = MIB // 4


class Bucket:
    """One cap. `bytes_per_s`: 0 = none. Under the lock of its users."""

    __slots__ = ("_paid_s", "bytes_per_s")

    def __init__(self) -> None:
        self.bytes_per_s = 0
        self._paid_s = 0.0

    def set(self, bytes_per_s: int) -> None:
        """Let another cap hold; what was taken under the one before is forgotten."""
        if bytes_per_s != self.bytes_per_s:
            self.bytes_per_s, self._paid_s = bytes_per_s, 0.0

    def reserve(self, size_bytes: int, now_s: float) -> float:
        """Put a piece in line; return when it is paid for."""
        if self.bytes_per_s:
            self._paid_s = max(self._paid_s, now_s - _BURST_S) + size_bytes / self.bytes_per_s
            return self._paid_s
        return now_s


class Piece:
    """Bytes that are owed for one peer; in line of it, behind those that came before."""

    __slots__ = ("_share", "due_s", "size_bytes")

    def __init__(self, share: "Share", size_bytes: int) -> None:
        self._share, self.size_bytes = share, size_bytes
        self.due_s: float | None = None

    def rest_s(self) -> float:
        """Return for how many seconds to rest before this is asked again; 0 = it is paid."""
        return self._share.rest_s(self)

    def drop(self) -> None:
        """Stand in line no more."""
        self._share.drop(self)


class Share:
    """What one peer has of a bucket; from any thread. `find`: which one it is now."""

    def __init__(self, rates: "Rates", find: Callable[[], Bucket]) -> None:
        self._rates, self._find = rates, find
        self._line = deque[Piece]()
        self._carried = 0

    def most(self) -> int:
        """Return how many bytes to pay for at once; 0 = there is no cap."""
        self._rates.look()
        bytes_per_s = self._find().bytes_per_s
        if not bytes_per_s:
            return 0
        return max(_LEAST_PIECE_BYTES, min(int(bytes_per_s * _PIECE_S), _MOST_PIECE_BYTES))

    def owe(self, size_bytes: int) -> Piece:
        """Put bytes in line."""
        with self._rates.lock:
            piece, self._carried = Piece(self, size_bytes + self._carried), 0
            self._line.append(piece)
        return piece

    def carry(self, size_bytes: int) -> None:
        """Count bytes for which the next piece pays."""
        with self._rates.lock:
            self._carried += size_bytes

    def rest_s(self, piece: Piece) -> float:
        """Return for how long a piece is to rest."""
        self._rates.look()
        with self._rates.lock:
            bucket, line, now_s = self._find(), self._line, self._rates.clock.monotonic_s()
            while line and bucket.bytes_per_s:
                first = line[0]
                if first.due_s is None:
                    first.due_s = bucket.reserve(first.size_bytes, now_s)
                if first.due_s > now_s:
                    return first.due_s - now_s if piece in line else 0.0
                line.popleft()
            return 0.0

    def drop(self, piece: Piece) -> None:
        """Take a piece out of the line, if it is still there."""
        with self._rates.lock:
            if piece in self._line:
                self._line.remove(piece)


@dataclass(frozen=True, slots=True)
class InForce:
    """A cap that holds now. role: `all`, `own` or `host`; direction: `up` or `down`; until_ms: 0 = for good."""

    role: str
    direction: str
    bytes_per_s: int
    until_ms: int


class Rates:
    """All caps. `read`: returns those that hold now; None, for as long as nobody set it: there are none."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.lock, self._looking = clock, threading.Lock(), threading.Lock()
        self.read: Callable[[], Caps] | None = None
        self._caps, self._looked_s = Caps(), -BANDWIDTH_LOOK_S
        self._up, self._down, self._host_up, self._host_down = (Bucket() for _ in range(4))
        self._as_owner, self._as_host = (WeakValueDictionary[PeerId, Brakes]() for _ in range(2))
        self._running, self._waiting = 0, deque[asyncio.Future[None]]()

    def look(self, *, at_once: bool = False) -> None:
        """Go by the settings as they are now, if they were not looked at just before."""
        if self.read is None:
            return
        now_s = self.clock.monotonic_s()
        is_due = at_once or now_s - self._looked_s >= BANDWIDTH_LOOK_S
        if not is_due or not self._looking.acquire(blocking=False):
            return
        try:
            self._looked_s = now_s
            self._follow(self.read())
        finally:
            self._looking.release()

    def share(self, peer: PeerId) -> tuple[Brakes, Brakes]:
        """Return the brakes of a session: for what it moves for ourselves, and for its peer as our owner.

        All sessions of a peer have the same, for as long as one of them holds on to them.
        """
        with self.lock:
            owner, host = self._as_owner.get(peer), self._as_host.get(peer)
            if owner is None:
                owner = self._as_owner[peer] = Brakes(Share(self, lambda: self._up), Share(self, lambda: self._down))
            if host is None:
                host = self._as_host[peer] = Brakes(Share(self, self._find_host_up), Share(self, self._find_host_down))
            return owner, host

    def list_caps(self) -> list[InForce]:
        """Return the caps that hold now."""
        self.look(at_once=True)
        caps, found = self._caps, list[InForce]()
        for direction, own, host in (("up", caps.up, caps.host_up), ("down", caps.down, caps.host_down)):
            rows = (("all", own), ("host", 0)) if host is None else (("own", own), ("host", host))
            found += [InForce(role, direction, speed, caps.until_ms) for role, speed in rows if speed]
        return found

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until a pack of ours can be one of so few under way that each gets its MiB within BULK_STALL_S.

        Only what is sent: who asks for bytes and hears none takes the other side for silent (ADR 84).
        """
        while self._running >= self._count_turns():
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                if waiting.cancelled():
                    self._waiting.remove(waiting)
                else:
                    self._call_next()  # the turn was ours already
                raise
        self._running += 1
        if self._running < self._count_turns():
            self._call_next()  # a cap was lifted
        try:
            yield
        finally:
            self._running -= 1
            self._call_next()

    def _call_next(self) -> None:
        """Let who waited longest look whether there is a turn for it."""
        waiting = next((one for one in self._waiting if not one.done()), None)
        if waiting is not None:
            self._waiting.remove(waiting)
            waiting.set_result(None)

    def _count_turns(self) -> float:
        self.look()
        return max(1, int(self._caps.up * BULK_STALL_S / (2 * MIB))) if self._caps.up else float("inf")

    def _find_host_up(self) -> Bucket:
        return self._up if self._caps.host_up is None else self._host_up

    def _find_host_down(self) -> Bucket:
        return self._down if self._caps.host_down is None else self._host_down

    def _follow(self, caps: Caps) -> None:
        with self.lock:
            self._caps = caps
            self._up.set(caps.up)
            self._down.set(caps.down)
            self._host_up.set(caps.host_up or 0)
            self._host_down.set(caps.host_down or 0)


def choose_caps(caps: Sequence[InForce], *, as_owner: bool, as_host: bool) -> list[InForce]:
    """Return those caps that hold for what is under way."""
    roles = {"all"} | ({"own"} if as_owner else set()) | ({"host"} if as_host else set())
    return [cap for cap in caps if cap.role in roles] if as_owner or as_host else []
