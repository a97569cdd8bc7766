"""One job: what it told last, whether it is paused, who follows it.

Knows: events, its brake. Must not know: what it does, other jobs.
"""

import asyncio
from collections import deque
from copy import copy
from typing import Final

import msgspec

from backuppeer.agent.brake import Brake
from backuppeer.agent.jobs.kinds import Kind
from backuppeer.agent.reporter import Emit
from backuppeer.clock import Clock, format_time
from backuppeer.control.events import Event, EventName, Note, Progress, State
from backuppeer.control.jobs import JobRow
from backuppeer.errors import BackupPeerError
from backuppeer.limits import JOB_BACKLOG

_WINDOW_S: Final = 10.0
_LEAST_S: Final = 1.0
"""A rate over less than this is noise."""
_OF_COURSE: Final = {EventName.PROGRESS, EventName.STATE}
_WAITING: Final = "waiting"
_PAUSED: Final = "paused"


class Watcher:
    """Events on their way to one terminal."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._is_over = False
        self.missed = 0
        """Events that were left out as nobody read."""

    def offer(self, event: Event) -> None:
        """Take an event; where too many wait, the oldest is left out."""
        if self._events and event.event == self._events[-1].event == EventName.PROGRESS:
            self._events.pop()  # what it said is superseded
        elif len(self._events) >= JOB_BACKLOG:
            self._events.popleft()
            self.missed += 1
        self.push(event)

    def push(self, event: Event) -> None:
        """Take an event in any case."""
        if not self._is_over:
            self._events.append(event)
            self._news.set()

    async def put(self, event: Event) -> None:
        """Take an event when there is room."""
        while len(self._events) >= JOB_BACKLOG and not self._is_over:
            self._room.clear()
            await self._room.wait()
        self.push(event)

    async def take(self) -> Event | None:
        """Return the next event; None: there will be no more."""
        while not self._events and not self._is_over:
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        """There will be no more."""
        self._is_over = True
        self._news.set()
        self._room.set()


class Job:
    """One job, from its begin on; `end` is its last word."""

    task: asyncio.Task[object]

    def __init__(self, number: int, kind: Kind, route: str, *, of: str, by: str, clock: Clock) -> None:
        self.number, self.kind, self.route, self.by, self._of = number, kind, route, by, of
        self._clock = clock
        self._since_ms, self._ended_ms = clock.now_ms(), 0
        self.brake = Brake()
        self.brake.job = number
        self.is_ending = self.is_cancelled = self.is_left = False
        self.outcome: object = None
        """What the work returned, or the error it ended with."""
        self.over = asyncio.Event()
        self.watchers: set[Watcher] = set()
        self._terminal: Watcher | None = None
        self._progress = Progress(phase="")
        self._said = State(state="")
        self._points: deque[tuple[float, Progress]] = deque()

    @property
    def name(self) -> str:
        """What it is called: `backup of set documents`."""
        return f"{self.kind.verb} of {self._of}" if self._of else self.kind.verb

    @property
    def may_pause(self) -> bool:
        """Whether it can be paused now."""
        return self.kind.may_pause and not self.brake.is_on and not self.is_ending

    def open_terminal(self) -> Watcher:
        """Return what goes to its own terminal."""
        self._terminal = Watcher()
        return self._terminal

    def leave_terminal(self) -> None:
        """Go on without its own terminal."""
        self.is_left = True
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None

    def watch(self) -> Watcher:
        """Return what a further terminal is told: where the job stands, and all from now on."""
        watcher = Watcher()
        if self.brake.is_on:
            watcher.push(_event(EventName.STATE, self._say_paused()))
        elif self._said.state:
            watcher.push(_event(EventName.STATE, self._said))
        if self._progress.phase:
            watcher.push(_event(EventName.PROGRESS, self._progress))
        if self._ended_ms:
            watcher.close()
        self.watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Tell a further terminal no more."""
        self.watchers.discard(watcher)

    async def tell(self, event: Event | bytes, direct: Emit | None) -> None:
        """Take what the work tells, and hand it on."""
        if isinstance(event, Event):
            self._note(event)
            if self.brake.is_on and event.event in _OF_COURSE:
                return  # it stands still: what is under way ends, and that is no news
            if event.event != EventName.ROWS:  # those are for who asked
                for watcher in self.watchers:
                    watcher.offer(event)
            if self._terminal is not None:
                await self._terminal.put(event)
        if direct is not None:
            await direct(event)  # type: ignore[arg-type] # bytes, too, where the route is one of bulk

    def pause(self) -> None:
        """Pause."""
        if self.may_pause:
            self.brake.pull()
            self._points.clear()
            self._tell_all(_event(EventName.STATE, self._say_paused()))

    def resume(self) -> None:
        """Go on."""
        if self.brake.is_on:
            self.brake.release()
            self._tell_all(_event(EventName.STATE, State(state="resumed", text="it goes on", job=self.number)))
            if self._said.state == _WAITING:
                self._tell_all(_event(EventName.STATE, self._said))

    def end(self, outcome: object) -> None:
        """Note what came of it, and tell everybody no more."""
        # A copy has no traceback: that would keep the job's buffers as long as the job is shown.
        self.outcome = copy(outcome) if isinstance(outcome, BackupPeerError) else outcome
        self._ended_ms = self._clock.now_ms()
        for watcher in [*self.watchers, *([self._terminal] if self._terminal else [])]:
            if watcher.missed:
                text = f"{watcher.missed} lines were left out: this terminal read too slowly"
                watcher.push(_event(EventName.NOTE, Note(text=text)))
            watcher.close()
        self.over.set()

    def row(self) -> JobRow:
        """Return all of it."""
        failure = self.outcome if isinstance(self.outcome, BackupPeerError) else None
        shown = msgspec.structs.asdict(self._progress)
        for name in ("current", "seconds", "traffic_bytes"):
            del shown[name]
        if self.kind.is_counted:  # the last that was told of the way is not all of it
            shown.update({name: getattr(self.outcome, name, shown[name]) for name in ("files", "bytes")})
        bytes_per_s, left_s = (0, None) if self._ended_ms else self._measure()
        return JobRow(
            job=self.number,
            kind=self.kind.verb,
            of=self._of,
            by=self.by,
            state=self._state(),
            since=format_time(self._since_ms),
            text=self._said.text if self._said.state == _WAITING and not self._ended_ms else "",
            is_left=self.is_left,
            ended=format_time(self._ended_ms) if self._ended_ms else "",
            code=None if not self._ended_ms else int(failure.exit_code) if failure else 0,
            message=failure.message if failure else "",
            hint=failure.hint if failure else "",
            is_partial=any(getattr(self.outcome, name, None) for name in ("errors", "left_out", "problems")),
            bytes_per_s=bytes_per_s,
            left_s=left_s,
            **shown,
        )

    def _state(self) -> str:
        if self._ended_ms:
            return "ended"
        if self.brake.is_on:
            return _PAUSED if self.brake.is_settled else "pausing"
        return _WAITING if self._said.state == _WAITING else "running"

    def _say_paused(self) -> State:
        return State(state=_PAUSED, text=f"paused; `backup-peer resume {self.number}` goes on", job=self.number)

    def _tell_all(self, event: Event) -> None:
        for watcher in [*self.watchers, *([self._terminal] if self._terminal else [])]:
            watcher.push(event)

    def _note(self, event: Event) -> None:
        if event.event == EventName.STATE:
            self._said = msgspec.convert(event.data, State)
        elif event.event == EventName.PROGRESS:
            now = msgspec.convert(event.data, Progress)
            if now.phase != self._progress.phase or now.bytes < self._progress.bytes:
                self._points.clear()
            self._progress = now
            self._points.append((self._clock.monotonic_s(), now))
            while len(self._points) > 2 and self._points[1][0] < self._points[-1][0] - _WINDOW_S:
                self._points.popleft()

    def _measure(self) -> tuple[int, float | None]:
        """Return bytes per second lately, and the seconds left if they are known."""
        if not self._points or self.brake.is_on:
            return 0, None
        first, now = self._points[0][1], self._progress
        span_s, moved_bytes = self._clock.monotonic_s() - self._points[0][0], max(0, now.bytes - first.bytes)
        if span_s < _LEAST_S:
            return 0, None
        if now.bytes == now.bytes_total:  # all is read: what counts now is what hosts acknowledge
            moved_bytes = max(0, now.sent_bytes - first.sent_bytes)
        elif not moved_bytes:  # a pack is on its way
            return int(max(0, now.traffic_bytes - first.traffic_bytes) / span_s), None
        rest, moved = now.bytes_total - now.bytes, moved_bytes
        if not now.bytes_total:
            rest, moved = now.files_total - now.files, now.files - first.files
        is_known = rest > 0 and moved > 0 and not now.counting
        return int(moved_bytes / span_s), round(rest * span_s / moved, 1) if is_known else None


def _event(name: EventName, data: msgspec.Struct) -> Event:
    return Event(event=name, data=msgspec.to_builtins(data))
