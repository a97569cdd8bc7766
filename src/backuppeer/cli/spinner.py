"""Something that moves while nothing else does: a turning sign and words on the live line.

Knows: the screen's live line, one thread. Must not know: what is waited for. Where no line can be redrawn (a pipe,
--json, TERM=dumb) it says the words once, as a plain line, or nothing with --json.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from backuppeer.cli.render import add_home, escape_line
from backuppeer.cli.screen import Screen
from backuppeer.cli.units import format_duration
from backuppeer.limits import HERALD_S

_SIGNS: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TURN_S: Final = 0.1
_LEAST: Final = 12
"""Columns that what goes on gets, before how to end it."""
SIGN_COLUMNS: Final = 3
"""Columns of the live line that are not for words: the sign, a space, and the last one, where terminals wrap."""


class Spinner:
    """A context manager; `show` changes the words, `rest` takes the line away until the next `show`."""

    def __init__(self, screen: Screen, *, now: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._now = now
        self._text, self._tail = "", ""
        self._since: float | None = None
        """When the waiting began that the words are about; None = no time is shown."""
        self._due: float | None = None
        """When something is tried again."""
        self._again = 0.0
        """When a plain line is said again though it did not change."""
        self._turn = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.on_turn: Callable[[], None] | None = None
        """Called at each turn while it rests, from its thread."""

    def __enter__(self) -> Self:
        if self._screen.is_live:
            self._thread = threading.Thread(target=self._run, daemon=True, name="spinner")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._screen.end_live()

    def show(self, text: str, *, tail: str = "", timed: bool = False, retry_s: float = 0.0) -> None:
        """Say what is going on now; as a plain line again after HERALD_S.

        tail: what must be seen also where the line is too short for all words, for example how to end the waiting.
        timed: tell how long it has lasted, counted from the first of `show`s in a row that are timed.
        retry_s: instead tell when something is tried again.
        """
        with self._lock:
            now_s = self._now()
            changed, self._text, self._tail = self._text != text, text, tail
            self._since = (now_s if self._since is None else self._since) if timed else None
            self._due = now_s + retry_s if retry_s else None
            if self._screen.is_live:
                self._draw()
            elif (changed or now_s >= self._again) and not (self._screen.json or self._screen.is_quiet):
                self._again = now_s + HERALD_S
                self._screen.aside(escape_line(f"{text}{self._tell_retry()} {tail}".rstrip()))

    def rest(self) -> None:
        """Take the line away, so that something else can be written."""
        with self._lock:
            self._text, self._since, self._due = "", None, None
            self._screen.end_live()

    def _draw(self) -> None:
        if self._text:
            lasted = self._tell_retry()
            if not lasted and self._since is not None:
                lasted = self._tell_time(self._now() - self._since)
            tail = escape_line(f"{lasted} {self._tail}".rstrip())
            text, room = add_home(escape_line(self._text), self._screen.home), self._screen.columns - SIGN_COLUMNS
            if room - len(tail) < min(len(text), _LEAST):
                tail = lasted
            room -= len(tail)
            shown = text if len(text) <= room else text[: max(0, room - 1)] + "…"
            self._screen.live(f"{_SIGNS[self._turn % len(_SIGNS)]} {shown}{tail}")

    def _tell_retry(self) -> str:
        if self._due is None:
            return ""
        left_s = round(self._due - self._now())
        return f"; retrying in {format_duration(left_s)}" if left_s >= 1 else "; retrying now"

    def _tell_time(self, seconds: float) -> str:
        return f" · {format_duration(seconds)}" if seconds >= 1 else ""

    def _run(self) -> None:
        while not self._ended.wait(_TURN_S):
            with self._lock:
                self._turn += 1
                self._draw()
                is_resting = not self._text
            if is_resting and self.on_turn is not None:
                self.on_turn()
