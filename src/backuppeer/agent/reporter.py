"""Events of one job, from whichever thread it runs in to the person who watches (REQUIREMENTS U3).

Knows: the event loop, how often a person needs news. Must not know: what the job does.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import msgspec

from backuppeer.agent.brake import Halt, in_job_thread
from backuppeer.control.events import ErrorFile, Event, EventName, Fault, Note, PeerShare, Progress, State
from backuppeer.errors import PeerFault
from backuppeer.ids import PeerId, format_peer_id

Emit = Callable[[Event], Awaitable[None]]
Count = Callable[[Callable[[int, int, bool], None], Callable[[], bool]], None]
"""Counts in a thread: tells `Reporter.set_total`, and stops when the other callable returns True."""
_EVERY_S: Final = 0.2
_BEAT_S: Final = 1.0
"""How often a job that is blocked says where it stands."""
_NOISE_BYTES: Final = 4096
"""Heartbeats to a peer that is gone are less than this and no sign of life."""


class Reporter:
    """Progress of one job; everything but `state` and `beat` may be called from any thread."""

    def __init__(self, emit: Emit, *, files_total: int = 0, bytes_total: int = 0) -> None:
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._started_s = time.monotonic()
        self._next_s = 0.0
        self._progress = Progress(phase="", files_total=files_total, bytes_total=bytes_total)
        self.sent_bytes: Callable[[], int] = _nothing
        self.traffic_bytes: Callable[[], int] = _nothing
        self.by_peer: Callable[[], list[PeerShare]] = list
        self.errors = 0
        self._faults: set[tuple[PeerId, str]] = set()
        self._pending: deque[Event] = deque()
        self._delivering: asyncio.Task[None] | None = None
        self._is_dropped = False

    @property
    def seconds(self) -> float:
        """Return how long the job has run."""
        return round(time.monotonic() - self._started_s, 3)

    def begin(self, phase: str, *, unit: str = "file", files_total: int = 0, bytes_total: int = 0) -> None:
        """Start a phase; its totals are 0 where unknown. `unit`: what is counted, in the singular."""
        self._progress = Progress(phase=phase, unit=unit, files_total=files_total, bytes_total=bytes_total)
        self._next_s = 0.0
        self.update()

    def enter(self, phase: str) -> None:
        """Start another pass over the same files."""
        progress = self._progress
        self.begin(phase, unit=progress.unit, files_total=progress.files_total, bytes_total=progress.bytes_total)

    def count(self, files: int, *, current: str) -> None:
        """Take a count that moves seldom, and tell it at once. `current`: what stands behind it, in words."""
        self._progress.current = current
        self._next_s = 0.0
        self.update(files=files)

    def set_total(self, files: int, size_bytes: int, counting: bool) -> None:  # noqa: FBT001 - called positionally, as Tell
        """Set how much there is to do in this phase, or while `counting` how much of it is known."""
        progress = self._progress
        progress.files_total, progress.bytes_total, progress.counting = files, size_bytes, counting

    def update(self, **counters: int) -> None:
        """Take totals so far and tell them, but not more often than people can read."""
        for name in ("files", "bytes"):
            if name in counters:
                setattr(self._progress, name, counters[name])
        now = time.monotonic()
        if now < self._next_s:
            return
        if self._progress.bytes > self._progress.bytes_total and not self._progress.counting:
            # There is more than when it was counted: nobody knows how much is left.
            self._progress.bytes_total = self._progress.files_total = 0
        self._next_s = now + _EVERY_S
        self._progress.seconds = self.seconds
        self._progress.sent_bytes = self.sent_bytes()
        self._progress.peers = self.by_peer()
        self._post(Event(event=EventName.PROGRESS, data=msgspec.to_builtins(self._progress)))

    def beat(self) -> None:
        """Tell where the work stands though it did not move; from the event loop, where the sessions live."""
        traffic = self.traffic_bytes()
        if abs(traffic - self._progress.traffic_bytes) >= _NOISE_BYTES:
            self._progress.traffic_bytes = traffic
        self.update()

    def error_file(self, path: bytes, message: str, *, is_away: bool = False) -> None:
        """Name a file that was left out, or is not whole; `is_away`: no host that has it can be reached."""
        self.errors += 1
        self._post(_event(EventName.ERROR_FILE, ErrorFile(path=os.fsdecode(path), message=message, away=is_away)))

    def note(self, text: str) -> None:
        """Tell something a person should read once."""
        self._post(_event(EventName.NOTE, Note(text=text)))

    def fault(self, peer: PeerId, name: str, error: PeerFault, *, hint: str) -> None:
        """Tell what a host was caught at, once for each host and deed: the command ends with 15 at least."""
        key = (peer, error.message)
        if key not in self._faults:
            self._faults.add(key)
            said = Fault(peer_id=format_peer_id(peer), name=name, message=error.message, hint=hint)
            self._post(_event(EventName.FAULT, said))

    def say_state(self, state: str, text: str, retry_s: float = 0.0) -> None:
        """Tell which step the work is at, without waiting for the watcher. retry_s: until the next try."""
        self._post(_event(EventName.STATE, State(state=state, text=text, retry_s=round(retry_s, 1))))

    async def state(self, state: str, text: str) -> None:
        """Tell which step the work is at."""
        self._enqueue(_event(EventName.STATE, State(state=state, text=text)))
        await self.drain()

    async def drain(self) -> None:
        """Return when everything that was posted has been delivered."""
        # Once around: what was posted by the work's last line is only now put in the queue.
        await asyncio.sleep(0)
        while self._delivering is not None:
            await asyncio.wait([self._delivering])

    def drop(self) -> None:
        """Deliver no more: nobody is there."""
        self._pending.clear()
        self._is_dropped = True
        # Let go of first: a task cancelled before its first step never gets to say that it has ended, and whoever
        # drains after this would wait for it without end.
        delivering, self._delivering = self._delivering, None
        if delivering is not None:
            delivering.cancel()

    def _post(self, event: Event) -> None:
        # Not waited for: a watcher that reads slowly, or has left, must not hold up the work.
        with suppress(RuntimeError):  # the loop is closed: the agent has ended
            self._loop.call_soon_threadsafe(self._enqueue, event)

    def _enqueue(self, event: Event) -> None:
        if self._is_dropped:
            return  # a thread that has not seen yet that nobody is there
        self._pending.append(event)
        if self._delivering is None:
            self._delivering = self._loop.create_task(self._deliver())

    async def _deliver(self) -> None:
        # One task, one after the other: events arrive in order, and none behind the end of the job.
        try:
            while self._pending:
                await self._emit(self._pending.popleft())
        finally:
            if self._delivering is asyncio.current_task():
                self._delivering = None


@asynccontextmanager
async def reporting(emit: Emit) -> AsyncIterator[Reporter]:
    """Give a Reporter for one job; what it was told has been delivered when the block is left, unless cancelled."""
    reporter = Reporter(emit)
    try:
        yield reporter
    except asyncio.CancelledError:
        reporter.drop()
        raise
    finally:
        await reporter.drain()
        # They know the job and its buffers, and whoever gave the reporter still has it.
        reporter.sent_bytes = reporter.traffic_bytes = _nothing
        reporter.by_peer = list


def _nothing() -> int:
    return 0


@asynccontextmanager
async def beating(reporter: Reporter) -> AsyncIterator[None]:
    """Tell where the work stands each second while the block runs, also when it does not move."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(_BEAT_S)
            reporter.beat()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def counting(count: Count | None, reporter: Reporter) -> AsyncIterator[None]:
    """Let `count` find out in a thread how much there is to do, while the block does it; no longer than the block."""
    if count is None:
        yield
        return
    over = Halt()
    task = asyncio.create_task(in_job_thread(partial(count, reporter.set_total, over.is_set)))
    try:
        yield
    finally:
        over.set()
        # A count that failed leaves the total unknown; it must not end the work.
        await asyncio.gather(task, return_exceptions=True)


def _event(name: EventName, data: msgspec.Struct) -> Event:
    return Event(event=name, data=msgspec.to_builtins(data))
