"""The brake of a job: while it is on the job reads nothing, asks for nothing and sends nothing.

Knows: threads, the event loop, how long what is under way may take to end. Must not know: jobs, what they do. An engine
looks at a `Halt` between two steps, and stays there; what goes over the network goes through `run` or `guard`. What is
under way when the brake is pulled gets PAUSE_GRACE_S to end by itself and is broken off then: on a slow line three
packs take minutes, and whoever pauses wants the line.

What a brake holds in a thread holds that thread: long steps of jobs run in a pool of their own (`in_job_thread`), for
the one that all else shares has no more than six on a small machine.

A job's parts find its brake in their context (`brake_of_job`), as they are made; work of no job has one that nobody
pulls.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any, Final, TypeVar

from backuppeer.limits import JOBS_AT_ONCE, PAUSE_GRACE_S

T = TypeVar("T")


class HeldError(Exception):
    """What was under way was broken off by the brake: to be begun anew when it is off."""


class Brake:
    """One job's. `pull`, `release`, `settled`, `run` and `guard` belong to the event loop, `hold` to threads."""

    def __init__(self) -> None:
        self.job = 0
        """Number of the job; 0: it is of none."""
        self._free, self._released, self._still = threading.Event(), asyncio.Event(), asyncio.Event()
        for each in (self._free, self._released, self._still):
            each.set()
        self._under_way: set[asyncio.Future[Any]] = set()
        self._broken_off: set[asyncio.Future[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_on(self) -> bool:
        """Whether it is pulled."""
        return not self._free.is_set()

    @property
    def is_settled(self) -> bool:
        """Whether it is pulled and nothing is under way any more."""
        return self.is_on and not self._under_way

    def pull(self) -> None:
        """Let nothing new begin; break off in a while what is under way."""
        if self.is_on:
            return
        self._free.clear()
        self._released.clear()
        if self._under_way:
            self._still.clear()
        self._timer = asyncio.get_running_loop().call_later(PAUSE_GRACE_S, self._break_off)

    def release(self) -> None:
        """Let all go on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._free.set()
        self._released.set()
        self._still.set()

    def hold(self) -> None:
        """In a thread: return when the brake is off."""
        self._free.wait()

    async def held(self) -> None:
        """Return when the brake is off."""
        await self._released.wait()

    async def settled(self) -> None:
        """Return when nothing is under way any more, or the brake is off again."""
        await self._still.wait()

    async def run(self, step: Callable[[], Awaitable[T]]) -> T:
        """Return what `step` gives: begun when the brake is off, and begun anew when it was broken off."""
        while True:
            await self.held()
            try:
                return await self.guard(step)
            except HeldError:
                continue

    async def guard(self, step: Callable[[], Awaitable[T]]) -> T:
        """Return what `step` gives, begun now.

        Raises:
            HeldError: the brake is on, or was pulled and the step took too long.

        """
        if self.is_on:
            raise HeldError
        work = asyncio.ensure_future(step())
        self._under_way.add(work)
        try:
            return await work
        except asyncio.CancelledError:
            mine = asyncio.current_task()
            if work not in self._broken_off or (mine is not None and mine.cancelling()):
                raise
            raise HeldError from None
        finally:
            self._under_way.discard(work)
            self._broken_off.discard(work)
            if not self._under_way:
                self._still.set()

    def _break_off(self) -> None:
        self._timer = None
        for work in list(self._under_way):
            self._broken_off.add(work)
            work.cancel()


_of_job: Final[ContextVar[Brake | None]] = ContextVar("brake", default=None)


def brake_of_job() -> Brake:
    """Return the brake of the job that this is called for; else one that nobody pulls."""
    return _of_job.get() or Brake()


def use_brake(brake: Brake) -> None:
    """Let what the calling task does from now on, and all that it begins, have this brake."""
    _of_job.set(brake)


_THREADS: Final = ThreadPoolExecutor(2 * JOBS_AT_ONCE, thread_name_prefix="job")
"""For each job what it does, and what counts beside it how much there is to do."""


async def in_job_thread(step: Callable[[], T]) -> T:
    """Return what `step` gives in a thread of a job; the caller's context goes along, as with `asyncio.to_thread`."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, copy_context().run, step)


class Halt(threading.Event):
    """Set when a job is to end. An engine's look at it takes as long as the job's brake is on, but in the event loop.

    Whoever sets it sees to it that the brake is off, or nobody would notice.
    """

    def __init__(self, brake: Brake | None = None) -> None:
        super().__init__()
        self._brake = brake or brake_of_job()

    def is_set(self) -> bool:
        """Whether the job is to end."""
        if self._brake.is_on and not super().is_set() and not _is_in_loop():
            self._brake.hold()
        return super().is_set()


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
