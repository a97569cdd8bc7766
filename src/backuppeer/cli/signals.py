"""Signals that come just before a command begins to wait: they must end the wait all the same.

Knows: signals, the main thread. Must not know: what is waited for, what a signal means.

Python notes a signal, and its main thread looks at the notes between two instructions. A signal that comes behind the
last look and before the system call comes too late for the one and too early to interrupt the other: it is handled
only when the wait has ended by itself, which may take a host's patience, or for ever. (Measured with Python 3.11: of
signals that came as `SimpleQueue.get` began, 1 in 1,000 with an idle process, 1 in 15 beside two busy threads.) What
can't come too early is a byte in a pipe, which the system's handler writes as well: a thread reads it, and interrupts
the main thread until that has looked. (Where asyncio handles signals, in `server` and `agent run`, its own pipe is in
this one's place.) To wait a second at a time instead would wake a mount for weeks.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from backuppeer.limits import SIGNAL_NUDGE_S

_NUDGE: Final = signal.SIGURG
"""Ignored unless somebody asks for it, so that one that comes when we have left harms nobody."""
_END: Final = 0
"""No signal's number."""


@contextmanager
def heeding_signals() -> Iterator[None]:
    """Let no signal that Python handles wait for the end of a system call while the block runs.

    Does nothing outside of the main thread, which alone handles signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    nudge = _Nudge()
    try:
        yield
    finally:
        nudge.end()


class _Nudge:
    """The pipe and the thread at its end."""

    def __init__(self) -> None:
        self._main = threading.get_ident()
        self._looks = 0
        self._ended = threading.Event()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)  # a handler must not hang: a full pipe wakes the reader, too
        self._handler_before = signal.signal(_NUDGE, self._look)
        self._writer_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        # A daemon: what ends a program without an orderly end shall not wait for it.
        self._thread = threading.Thread(target=self._run, name="signals", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Take all of it away."""
        signal.set_wakeup_fd(self._writer_before)
        self._ended.set()
        os.set_blocking(self._writer, True)
        os.write(self._writer, bytes([_END]))
        self._thread.join()
        signal.signal(_NUDGE, self._handler_before or signal.SIG_DFL)
        os.close(self._reader)
        os.close(self._writer)

    def _look(self, number: int, frame: FrameType | None) -> None:
        """Note that the main thread looks; it handles those with smaller numbers before, Ctrl-C's among them."""
        del number, frame
        self._looks += 1

    def _run(self) -> None:
        while numbers := os.read(self._reader, 64):
            if _END in numbers:
                return
            if set(numbers) - {_NUDGE}:
                self._interrupt()

    def _interrupt(self) -> None:
        """Interrupt what the main thread waits in: again, as this may come too early as well."""
        seen = self._looks
        while self._looks == seen and not self._ended.is_set():
            signal.pthread_kill(self._main, _NUDGE)
            self._ended.wait(SIGNAL_NUDGE_S)
