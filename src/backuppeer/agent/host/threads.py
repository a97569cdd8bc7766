"""Disk work in a thread that is waited for even when nobody wants its result any more.

Knows: threads can't be stopped. Must not know: what the work is. A request is cancelled whenever its session ends. A
bare `to_thread` would then return at once, while the thread still works with what the request gives back: a descriptor
whose number may belong to another file by then, a reservation that nobody learns of.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from backuppeer.giving_way import give_way

P = ParamSpec("P")
T = TypeVar("T")


async def run_whole(work: Callable[[], T]) -> T:
    """Return what `work` does in a thread; when cancelled, wait until it has ended, then pass the news on.

    It comes after others at the disk: whoever sits at a host's machine goes before.
    """
    task = asyncio.create_task(asyncio.to_thread(give_way, work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            # Looked at, or the loop would complain of an error that nobody wants any more.
            task.exception()
        raise


async def in_thread(work: Callable[P, T], *given: P.args, **options: P.kwargs) -> T:
    """Return what `work` does with what is given, as `run_whole`: a store is closed only when nobody works in it."""
    return await run_whole(partial(work, *given, **options))
