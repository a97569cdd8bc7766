"""The memory of a finished job, given back to the system.

Knows: the interpreter's collector, the C library's allocator. Must not know: what ran.

An agent lives for months and its jobs use a few hundred MB. Their objects point at each other in circles (job,
reporter, callbacks), so buffers of 16 MiB would wait for a collection that may not come for long: few objects are made
between jobs. And what is freed stays with the allocator: eight backups and six restores took an agent to 640 MB, with
this they leave 107 (measured).
"""

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.limits import COLLECT_AFTER_OBJECTS


@asynccontextmanager
async def returning_memory() -> AsyncIterator[None]:
    """Run a job inside this; what it leaves behind is collected and returned when it has ended, however it ended."""
    try:
        yield
    finally:
        await asyncio.shield(asyncio.to_thread(release_memory))


def relax_collector() -> None:
    """Look for garbage in circles less often: set once when an agent starts, never by a library.

    A restore of 175,000 files makes millions that are freed without it; by default it took 2 of 12 s (measured).
    """
    gc.set_threshold(COLLECT_AFTER_OBJECTS)


def release_memory() -> None:
    """Collect garbage in circles and let the allocator return free pages (glibc; others do it by themselves)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
