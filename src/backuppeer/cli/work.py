"""Runs a work route and hands its events to a view; the same loop under every verb that works.

Knows: events, JSON lines. Must not know: what a verb shows. Progress is a live line on a terminal, and a plain line
every few seconds elsewhere. While a peer is waited for a turning sign stands in its place, so that nobody takes waiting
for working.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, TypeVar

from backuppeer.cli.progress import Pace, describe_progress
from backuppeer.cli.render import escape_line, escape_name
from backuppeer.cli.screen import RED, Screen
from backuppeer.cli.spinner import SIGN_COLUMNS, Spinner
from backuppeer.control.api import JobRequest, Request
from backuppeer.control.client import Client
from backuppeer.control.codec import convert_json
from backuppeer.control.events import ErrorFile, Event, EventName, Fault, Note, Progress, State
from backuppeer.control.feeder import Take
from backuppeer.control.inspection import Rows
from backuppeer.control.jobs import JobRow
from backuppeer.errors import BackupPeerError, LocalError
from backuppeer.limits import AGENT_PING_S, AWAY_NAMED

T = TypeVar("T")

PLAIN_LINE_S: Final = 5.0
"""How often work says where it stands when nobody can see a live line."""
REDRAW_S: Final = 0.1
TICK_S: Final = 1.0
"""After how long without a report the line is redrawn."""
_WIDE: Final = 200
"""Columns of a line of progress that is left standing."""
_WAITING: Final = "waiting"
_PAUSED: Final = "paused"
_STILL: Final = {_WAITING, _PAUSED}
"""States that last until another one is told."""
_AWAITED: Final = {"searching", "connecting", "catching-up", *_STILL}
"""States in which nothing moves that a line of progress could show."""


class View:
    """Shows the events that all verbs share; a verb's own events go to `on_event`."""

    def __init__(
        self,
        screen: Screen,
        on_event: Callable[[Event], None] | None = None,
        *,
        spinner: Spinner | None = None,
        turning: bool = False,
        quiet: bool = False,
        leaving: str = "Ctrl-C ends",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.screen = screen
        self._on_event = on_event
        self.noted: set[str] = set()
        """What was told on the way, so that the end need not say it again."""
        self._spinner = spinner
        """Shows states; None where the verb shows them itself."""
        self._turning = turning
        """Whether progress has a turning sign too: for work whose counts may stand still for seconds."""
        self._quiet = quiet
        """With --json: no lines, as the verb prints one value at the end."""
        self._leaving = leaving
        """What Ctrl-C does while a host is waited for, or the job is paused."""
        self.owns = True
        """Whether the job is this terminal's: then Ctrl-C ends it, also while it is paused."""
        self._paused_job = 0
        self._state = ""
        self._now = now
        self._pace = Pace()
        self._next_line = 0.0
        self._started = False
        self._last: tuple[Progress, float] | None = None
        self._drawing = threading.Lock()
        self._hushed = False
        self._away = 0
        if spinner is not None:
            spinner.on_turn = self.tick

    def show(self, event: Event) -> None:
        """Show one event: as a JSON line, or in words."""
        if not self._quiet and event.event != EventName.ROWS:
            self.screen.event(event.event, event.data)
        in_words = self._quiet or not self.screen.json
        if event.event == EventName.NOTE and in_words:
            text = read_event(event, Note).text
            self.noted.add(text)
            self.screen.note(text)
        elif event.event == EventName.FAULT:
            self.screen.has_fault = True
            if in_words:
                caught = read_event(event, Fault)
                self.screen.alarm(f"{caught.name}: {caught.message}", caught.hint)
        elif event.event == EventName.ERROR_FILE and in_words:
            self._show_error(read_event(event, ErrorFile))
        elif self._hushed:
            pass
        elif event.event == EventName.PROGRESS:
            self._show_progress(read_event(event, Progress))
        elif event.event == EventName.STATE:
            self._show_state(read_event(event, State))
        if self._on_event is not None:
            self._on_event(event)

    def _show_error(self, said: ErrorFile) -> None:
        self._away += said.away
        if not said.away or self._away <= AWAY_NAMED:
            mark = self.screen.paint("✗", RED)
            self.screen.aside(f"  {mark} {escape_name(said.path)}: {escape_line(said.message)}", hang=4)

    def end(self) -> None:
        """Take the live line away, and count what was not named."""
        self.screen.end_live()
        if self._away > AWAY_NAMED and (self._quiet or not self.screen.json):
            self.screen.aside(
                f"  … and {self._away - AWAY_NAMED:,} more whose hosts can't be reached (--json names all)"
            )

    def leave(self, client: Client) -> None:
        """Have the agent end a job that is paused: it would outlive this terminal, whose person wants it to end."""
        if self._paused_job and self.owns:
            with contextlib.suppress(BackupPeerError):
                client.call("jobs/cancel", JobRequest(job=self._paused_job), JobRow, timeout_s=AGENT_PING_S)

    def hush(self) -> None:
        """Draw nothing any more: what comes now is on the same terminal, and a redrawn line would wipe it."""
        self._hushed, self._last = True, None
        if self._spinner is not None:
            self._spinner.rest()

    def _show_state(self, said: State) -> None:
        was, self._state = self._state, said.state
        self._paused_job = said.job if said.state == _PAUSED else 0
        self._last = None  # what was awaited is no news of the work
        if was in _STILL:
            with self._drawing:
                self._pace = Pace()  # nor is the waiting part of its pace
        if self._spinner is None or self.screen.is_quiet:
            return
        self._log_step(said.state, said.text)
        if said.state in _AWAITED:
            is_waiting = said.state in _STILL
            tail = f"({self._leaving})" if is_waiting else ""
            text = said.text
            if said.state == _PAUSED and self.screen.is_live:
                # Left standing, whole: what is to be typed later. The line that turns has no room for it.
                self.screen.aside(escape_line(text))
                text = _PAUSED
            self._spinner.show(text, tail=tail, timed=is_waiting, retry_s=said.retry_s)
        else:
            if not self._turning:
                self._spinner.rest()
            if was in _STILL and not (self.screen.json or self.screen.is_verbose):
                self.screen.aside(escape_line(said.text))

    def _log_step(self, state: str, text: str) -> None:
        """With --verbose: leave a line for each step, but where the spinner leaves one anyway."""
        is_left = state not in _AWAITED or self.screen.is_live
        if self.screen.is_verbose and is_left and text and not self.screen.json:
            self.screen.aside(f"{time.strftime('%H:%M:%S')} {escape_line(text)}", hang=9)

    def _show_progress(self, progress: Progress) -> None:
        now = self._now()
        if self._last is not None and self._last[0].phase != progress.phase:
            self._log_step("done", describe_progress(self._last[0], self._pace, _WIDE))
        with self._drawing:
            self._pace.add(progress)
            self._last = (progress, now)
        if self._spinner is not None and self._state in _AWAITED:
            if self._state in _STILL:
                return
            self._spinner.rest()
            self._state = ""
        if self.screen.json or self.screen.is_quiet or (self._started and now < self._next_line):
            return
        live = self.screen.is_live
        self._next_line = now + (REDRAW_S if live else TICK_S if self.screen.is_verbose else PLAIN_LINE_S)
        if live and self._turning:
            self._next_line = now  # a turning sign draws itself, and what counts seldom must not lose its last count
        if live:
            self._draw(progress)
        elif self._started:
            self.screen.aside(describe_progress(progress, self._pace, _WIDE))
        self._started = True

    def _draw(self, progress: Progress, silent_s: float = 0.0) -> None:
        columns = self.screen.columns
        if self._turning and self._spinner is not None:
            self._spinner.show(describe_progress(progress, self._pace, columns - SIGN_COLUMNS))
        else:
            with self._drawing:
                self.screen.live(describe_progress(progress, self._pace, columns - 1, silent_s))

    def tick(self) -> None:
        """Redraw the live line when no report came for a while, from the spinner's thread: its rate must fall."""
        now, last = self._now(), self._last
        if last is not None and now - last[1] >= TICK_S and self._state not in _AWAITED and not self._turning:
            self._draw(last[0], now - last[1])


def run_work(client: Client, route: str, request: Request, kind: type[T], *, view: View) -> T:
    """Run a work route to its end, showing its events, and return its result; Ctrl-C closes the stream and so cancels.

    Raises:
        BackupPeerError: the route's `error` event.

    """
    return _follow(client.work(route, request), route, kind, view, client)


def run_feed(client: Client, route: str, request: Request, kind: type[T], *, view: View, take: Take) -> T:
    """Run a feed route, which is fed with what `take` gives; else as `run_work`."""
    return _follow(client.feed(route, request, take), route, kind, view, client)


def _follow(told: Generator[Event, None, None], route: str, kind: type[T], view: View, client: Client) -> T:
    with contextlib.closing(told) as events:
        try:
            for event in events:
                if event.event == EventName.DONE:
                    return _convert(event.data, kind)
                view.show(event)
        except KeyboardInterrupt:
            view.leave(client)
            raise
        finally:
            view.end()
    raise _without_result(route)


def _without_result(route: str) -> LocalError:
    return LocalError(f"{route} ended without a result", hint="the agent may have ended: run the same command again")


def run_bulk(
    client: Client, route: str, request: Request, kind: type[T], *, view: View, write: Callable[[memoryview], None]
) -> T:
    """Run a bulk route to its end, handing its bytes to `write` in order; else as `run_work`."""
    with contextlib.closing(client.bulk(route, request)) as told:
        try:
            for part in told:
                if isinstance(part, memoryview):
                    write(part)
                elif part.event == EventName.DONE:
                    return _convert(part.data, kind)
                else:
                    view.show(part)
        finally:
            view.end()
    raise _without_result(route)


def read_rows(event: Event, kind: type[T]) -> list[T]:
    """Return the rows of a `rows` event as structs.

    Raises:
        LocalError: the agent sent something else.

    """
    return [_convert(row, kind) for row in read_event(event, Rows).rows]


def read_event(event: Event, kind: type[T]) -> T:
    """Return the data of an event as the struct that belongs to its name.

    Raises:
        LocalError: the agent sent something else.

    """
    return _convert(event.data, kind)


def _convert(data: Mapping[str, Any], kind: type[T]) -> T:
    try:
        return convert_json(data, kind)
    except ValueError as exc:
        raise LocalError(
            f"the agent sent an event this version can't read: {exc}",
            hint="is it another version's? `backup-peer agent stop`, then the same command again",
        ) from exc
