"""A few threads for the work of many: the easiest first, then what began first.

Knows: threads, how much each work asks for. Must not know: puzzles, servers.

Who has little to do never waits for who has much; and of many that ask for as much those who came first are done in
time, where all would be late if they took turns. Work comes in parts, so that a thread is free again soon.
"""

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import PriorityQueue
from typing import Any, TypeVar

T = TypeVar("T")
Rank = tuple[int, int]
"""(bits, number): the least goes first."""


@dataclass(order=True, slots=True)
class _Part:
    rank: Rank
    number: int
    future: Future[Any] = field(compare=False)
    do: Callable[[], Any] = field(compare=False)


class Workers:
    """Threads of one kind of work. Thread-safe, and for any loop."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)
        self._waiting: PriorityQueue[_Part] = PriorityQueue()
        self._numbers = itertools.count()

    def enter(self, bits: int) -> Rank:
        """Return the rank of a work that begins now. bits: each more is twice the work; 0 goes before all."""
        return bits, next(self._numbers)

    async def do(self, rank: Rank, part: Callable[[], T]) -> T:
        """Return what a part of a work gives, done in a thread; called off, it is not begun."""
        future: Future[T] = Future()
        self._waiting.put(_Part(rank, next(self._numbers), future, part))
        # One look for each part that waits; which part it finds is by rank.
        self._threads.submit(self._do_next)
        return await asyncio.wrap_future(future)

    def _do_next(self) -> None:
        part = self._waiting.get_nowait()
        if not part.future.set_running_or_notify_cancel():
            return
        try:
            part.future.set_result(part.do())
        except BaseException as exc:
            part.future.set_exception(exc)
            raise
