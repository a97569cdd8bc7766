"""Work that runs in threads, taken step by step: as fast as who takes it, and ended when nobody does any more.

Knows: threads, the event loop. Must not know: what a step is. A generator is advanced in a thread, one step ahead;
nothing of it ever waits for a reader, so a reader who goes away leaves no thread behind.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Final, TypeVar

import msgspec

from backuppeer.agent.brake import in_job_thread
from backuppeer.control.events import Event, EventName
from backuppeer.control.inspection import Rows

T = TypeVar("T")
BATCH_ROWS: Final = 256
_BATCH_CHARS: Final = 256 * 1024
"""Text of the rows of one event: six times as much, when all of it must be escaped, still fits a line."""


def _nothing() -> None:
    """Let go of nothing."""


async def pull(
    steps: Generator[T, None, None], stop: threading.Event, let_go: Callable[[], None] = _nothing
) -> AsyncGenerator[T, None]:
    """Yield what a generator does (never None), each step in a thread; `stop` is set when it ends, however.

    `let_go`: called then; ends what the thread may be waiting for.
    """
    ahead = asyncio.create_task(in_job_thread(partial(next, steps, None)))
    try:
        while (step := await asyncio.shield(ahead)) is not None:
            ahead = asyncio.create_task(in_job_thread(partial(next, steps, None)))
            yield step
    finally:
        stop.set()
        let_go()
        # No generator can be closed while a thread is in it.
        await asyncio.gather(ahead, return_exceptions=True)
        await asyncio.to_thread(steps.close)


async def run_aside(work: Callable[[], T], stop: threading.Event, let_go: Callable[[], None] = _nothing) -> T:
    """Return what `work` does in a thread; when cancelled, set `stop` and wait until it has seen that.

    `let_go`: called then; ends what the thread may be waiting for.
    """
    task = asyncio.create_task(in_job_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        let_go()
        await asyncio.gather(task, return_exceptions=True)
        raise


def for_each(items: Iterable[T], work: Callable[[T], None], stop: threading.Event, *, at_once: int) -> None:
    """Call `work` with each item, `at_once` at a time in threads of their own; no further one once `stop` is set.

    Items are taken in the calling thread, and no more of them than there are places. What `work` raises ends it all.
    """
    with ThreadPoolExecutor(at_once) as pool:
        running: set[Future[None]] = set()
        for item in items:
            if len(running) >= at_once:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
            if stop.is_set():
                break
            running.add(pool.submit(work, item))
        for future in running:
            future.result()


def batch_rows(rows: Iterable[T], measure: Callable[[T], int]) -> Generator[list[T], None, None]:
    """Yield rows in lists that fit an event; `measure` returns the characters of a row's longest texts."""
    batch: list[T] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += measure(row)
        if len(batch) >= BATCH_ROWS or size >= _BATCH_CHARS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def make_rows_event(rows: Iterable[msgspec.Struct]) -> Event:
    """Return the event that hands rows on."""
    return Event(event=EventName.ROWS, data=msgspec.to_builtins(Rows(rows=list(rows))))
