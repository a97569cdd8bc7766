"""Scenarios in virtual time: when nothing is ready, the clock jumps to the next timer, so no test ever waits."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
START_MS = 1_795_000_000_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """Not for scenarios with threads: a thread's result arrives in real time, of which this loop knows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        if not self._ready:
            due = (timer.when() for timer in self._scheduled if not timer.cancelled())
            self._now_s = max(self._now_s, min(due, default=self._now_s))
        super()._run_once()


class VirtualClock:
    """The loop's time as a Clock."""

    def now_ms(self) -> int:
        return START_MS + int(self.monotonic_s() * 1000)

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


class SetClock:
    """Wall and monotonic time that a test sets by hand."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


class LookedAtClock:
    """Time that passes whenever somebody looks, and at no other time: patience that no busy machine can wear out."""

    def __init__(self) -> None:
        self.looks = 0

    def now_ms(self) -> int:
        return START_MS + int(self.monotonic_s() * 1000)

    def monotonic_s(self) -> float:
        self.looks += 1
        return self.looks / 100


def play(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario without threads in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scenario)
