"""One session with a proven peer: its control stream, its requests, what is in flight (DESIGN 6).

Knows: one connection. Must not know: other sessions, who may have one (agent.sessions does).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from backuppeer.agent.peers.channel import Channel, SucceededError, read_frame
from backuppeer.agent.peers.course import Course
from backuppeer.agent.peers.lanes import LaneBroken, Lanes
from backuppeer.agent.peers.meter import Meter
from backuppeer.agent.peers.parting import THERE
from backuppeer.agent.peers.quality import Quality, judge_quality
from backuppeer.agent.peers.rates import InForce, Rates, choose_caps
from backuppeer.agent.peers.work import Deed, describe_work
from backuppeer.clock import Clock
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import shorten_peer_id
from backuppeer.limits import CONTROL_STALL_S
from backuppeer.transport.base import Connection, MovesBulk, Stream
from backuppeer.transport.throttle import UNBRAKED, BrakedStream
from backuppeer.wire.codec import FrameReader, UnknownMessage
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.fields import Message
from backuppeer.wire.messages import Hello, PutPack
from backuppeer.wire.session import ControlStream, ProvenPeer, Speaker


class Session:
    """One proven connection. Made by Sessions only."""

    def __init__(
        self,
        connection: Connection,
        proven: ProvenPeer,
        stream: Stream,
        reader: FrameReader,
        lane_binds: Sequence[str] = (),
    ) -> None:
        self.connection = connection
        self.lanes = Lanes(shorten_peer_id(proven.peer), say=self.say, path=connection.path, binds=lane_binds)
        self.peer = proven.peer
        self.version = proven.version
        self.hello = Hello()
        self.since_ms = 0
        self.used_s = 0.0
        self.in_flight = 0
        self.is_open = True
        self.is_parting = False
        """Whether a person of either side ended it: what is under way ends, nothing new begins."""
        self.is_doubted = False
        """Whether it was given up as this machine slept, or moved: the peer can't know."""
        self.failure = ""
        """Why this side gave the session up, for a person; set before the connection is closed."""
        self.ended = asyncio.Event()
        self.on_succeeded: Callable[[], bool] = lambda: False
        """Called when a request is refused since another goes on in our place, of which Hello said nothing. Returns
        whether the peer is to be dialled anew, so that its Hello says and proves it."""
        self.course = Course()
        self.meter = Meter()
        self.heard_s = 0.0
        """When anything came from the peer last, as the heartbeat saw it."""
        self._rates: Rates | None = None
        self._as_owner = self._as_host = UNBRAKED
        self._busy: set[_Busy] = set()
        self._spent: set[type[Message]] = set()
        self._was_used, self._unused = False, asyncio.Event()
        self._unused.set()
        self._stream, self._reader, self._control = stream, reader, ControlStream()
        self._speaking = asyncio.Lock()
        self._clock: Clock | None = None

    def start_clock(self, clock: Clock, rates: Rates) -> None:
        """Note when the session began, and which caps it shares."""
        self._clock, self._rates = clock, rates
        self._as_owner, self._as_host = rates.share(self.peer)
        self.lanes.as_owner, self.lanes.as_host = self._as_owner, self._as_host
        self.since_ms, self.used_s = clock.now_ms(), clock.monotonic_s()
        self.heard_s = self.used_s
        self.course.start(clock)

    @property
    def state(self) -> str:
        """Return what a person is told: connected (and not used yet), transferring, idle, parting or closed."""
        if not self.is_open:
            return "closed"
        if self.is_parting:
            return "parting"
        unused = "idle" if self._was_used else "connected"
        return "transferring" if self.in_flight else unused

    @property
    def work(self) -> list[str]:
        """Return what is under way, in words."""
        return describe_work(busy.deed for busy in self._busy)

    @property
    def caps(self) -> list[InForce]:
        """Return the caps that hold for what is under way."""
        if self._rates is None or not self._busy:
            return []
        by_us = {busy.deed.by_us for busy in self._busy}
        return choose_caps(self._rates.list_caps(), as_owner=True in by_us, as_host=False in by_us)

    def hear_request(self, stream: Stream) -> Channel:
        """Return the channel of a stream that the peer opened; it keeps to our caps, as lanes do by themselves."""
        braked = stream if isinstance(stream, MovesBulk) else BrakedStream(stream, self._as_host)
        return Channel(braked, Speaker.SERVER, spent=self._spent)

    @property
    def quality(self) -> Quality:
        """Return how good the connection is, and why."""
        path = self.connection.path()
        silent_s = self._clock.monotonic_s() - self.heard_s if self._clock is not None else 0.0
        return judge_quality(path.kind, rtt_ms=path.rtt_ms, loss=self.meter.loss, silent_s=silent_s)

    def look(self) -> None:
        """Note how much has moved until now."""
        if self._clock is not None:
            moved_bytes = self.sent_bytes + self.received_bytes
            self.meter.look(self._clock.monotonic_s(), moved_bytes, self.connection.path())

    @property
    def sent_bytes(self) -> int:
        """Return the payload bytes sent, over whatever path."""
        return self.connection.sent_bytes + self.lanes.sent_bytes

    @property
    def received_bytes(self) -> int:
        """Return the payload bytes received, over whatever path."""
        return self.connection.received_bytes + self.lanes.received_bytes

    @asynccontextmanager
    async def request(self, message: Message, *, bulk: bool = False) -> AsyncIterator[Channel]:
        """Open a request stream, say `message`, and give the channel for the answer.

        The stream is finished when the block ends well and thrown away when it doesn't. `bulk`: megabytes will travel,
        over a lane if there is one.

        Raises:
            PeerUnreachable: the session is gone.

        """
        if not self.is_open or self.is_parting:
            raise PeerUnreachable(self.failure or f"the session with {shorten_peer_id(self.peer)} has ended")
        async with self._begin(message):
            lane = await self.lanes.obtain() if bulk else None
            stream = lane or BrakedStream(await self.connection.open_stream(), self._as_owner)
            channel = Channel(stream, Speaker.OPENER)
            try:
                await channel.send(message)
                yield channel
                await channel.finish()
            except BaseException as exc:
                if lane is not None:
                    self.lanes.drop(lane, is_broken=isinstance(exc, PeerUnreachable))
                await channel.abort()
                if isinstance(exc, PeerUnreachable):
                    self._explain(exc, is_lane=lane is not None)
                if isinstance(exc, SucceededError) and not self.hello.succeeded and self.on_succeeded():
                    await self.end("it says that another goes on in our place, and is asked anew")
                    raise PeerUnreachable(self.failure) from exc
                raise
        if lane is not None:
            await self.lanes.give_back(lane)

    @asynccontextmanager
    async def _begin(self, message: Message) -> AsyncIterator[None]:
        """Count a request of ours as in flight; a pack waits for its turn where a cap leaves room for few."""
        with self.busy(lambda: Deed(type(message), by_us=True)):
            if not isinstance(message, PutPack) or self._rates is None:
                yield
                return
            async with self._rates.turn():
                yield

    async def end(self, why: str = "what was said when it began may not hold any more") -> None:
        """Give the session up, so that the next one begins with another Hello. why: for a person."""
        self.failure = why
        self.course.give_up(why)
        await self.connection.close(CloseCode.DONE, "")

    def _explain(self, exc: PeerUnreachable, *, is_lane: bool) -> None:
        """Raise what a failed stream means for the session, if that is more than the stream's own words."""
        info = self.connection.close_info
        if info is not None and info.by_peer and info.code == CloseCode.CUT:
            self.failure = self.failure or THERE
        if self.failure:
            # What the transport says is only that we closed it ourselves.
            raise PeerUnreachable(self.failure) from exc
        if is_lane and self.is_open:
            raise LaneBroken(exc.message) from exc

    def busy(self, describe: Callable[[], Deed]) -> "_Busy":
        """Count a request as in flight while the block runs; `describe`: what it is, as far as that is known."""
        return _Busy(self, describe)

    async def wait_unused(self) -> None:
        """Wait until no request is in flight, of either side."""
        await self._unused.wait()

    def count(self, busy: "_Busy", more: int) -> None:
        """Note that a request began (1) or ended (-1)."""
        self.in_flight += more
        self._was_used = True
        (self._busy.add if more > 0 else self._busy.discard)(busy)
        self.course.use(is_busy=self.in_flight > 0)
        if self.in_flight:
            self._unused.clear()
        else:
            self._unused.set()

    def touch(self) -> None:
        """Note that the session was used now."""
        if self._clock is not None:
            self.used_s = self._clock.monotonic_s()

    async def say(self, message: Message) -> None:
        """Write to the control stream; heartbeat, answers and goodbyes come from different tasks, one at a time.

        Once either side is leaving, nothing but the Goodbye itself is said.

        Raises:
            PeerUnreachable: the session is gone, or the peer reads nothing: it would hold up the heartbeat for ever.

        """
        try:
            async with asyncio.timeout(CONTROL_STALL_S), self._speaking:
                if not self._control.is_leaving:
                    await self._stream.write(self._control.send(message))
        except TimeoutError as exc:
            self.failure = self.failure or "it reads nothing of what is said to it"
            raise PeerUnreachable(self.failure) from exc

    async def hear(self) -> Message | UnknownMessage:
        """Return the next message of the control stream."""
        return self._control.receive(await read_frame(self._stream, self._reader))


class _Busy:
    def __init__(self, session: Session, describe: Callable[[], Deed]) -> None:
        self._session, self._describe = session, describe

    @property
    def deed(self) -> Deed:
        return self._describe()

    def __enter__(self) -> None:
        self._session.count(self, 1)

    def __exit__(self, *_: object) -> None:
        self._session.count(self, -1)
        self._session.touch()
