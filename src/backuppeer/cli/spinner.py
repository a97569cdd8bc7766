"""Something that moves while nothing else does: a turning sign and words on the live line.

Knows: the screen's live line, one thread. Must not know: what is waited for. Where no line can be redrawn (a pipe,
--json, TERM=dumb) it says the words once, as a plain line, or nothing with --json.
"""

import threading
from types import TracebackType
from typing import Final, Self

from backuppeer.cli.render import escape_line
from backuppeer.cli.screen import Screen

_SIGNS: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TURN_S: Final = 0.1


class Spinner:
    """A context manager; `show` changes the words, `rest` takes the line away until the next `show`."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._text = ""
        self._turn = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

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

    def show(self, text: str) -> None:
        """Say what is going on now."""
        with self._lock:
            changed, self._text = self._text != text, text
            if self._screen.is_live:
                self._draw()
            elif changed and not self._screen.json:
                self._screen.aside(escape_line(text))

    def rest(self) -> None:
        """Take the line away, so that something else can be written."""
        with self._lock:
            self._text = ""
            self._screen.end_live()

    def _draw(self) -> None:
        if self._text:
            room = self._screen.columns - 3
            text = escape_line(self._text)
            self._screen.live(
                f"{_SIGNS[self._turn % len(_SIGNS)]} {text if len(text) <= room else text[: room - 1] + '…'}"
            )

    def _run(self) -> None:
        while not self._ended.wait(_TURN_S):
            with self._lock:
                self._turn += 1
                self._draw()
