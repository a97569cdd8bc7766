"""How long a host is listened to that says nothing: as long as a person wants to wait, and no longer.

Knows: time, bytes that came. Must not know: what is asked for. A session whose other side was frozen, or whose line is
cut, looks like any other until it is found dead; who said to wait for three seconds must not wait for that. What moves,
however slowly, is not cut off: what came in the whole session counts, also in answers to others.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from backuppeer.errors import PeerUnreachable
from backuppeer.limits import MEET_LEAST_S, SILENT_LEAST_S

T = TypeVar("T")
_LONGER: Final = "is it online, and its machine awake? --wait 10m waits longer for it"
_LOOKS: Final = 4
"""How often within the time it is looked whether something came."""


async def meet_within(limit_s: float, step: Awaitable[T], name: str) -> T:
    """Return what a meeting with a host gives; `limit_s` may be infinite, and is not less than MEET_LEAST_S.

    Raises:
        PeerUnreachable: it took longer.

    """
    try:
        async with asyncio.timeout(None if math.isinf(limit_s) else max(MEET_LEAST_S, limit_s)):
            return await step
    except TimeoutError:
        raise PeerUnreachable(f"{name} did not answer in time", hint=_LONGER) from None


async def ask_within(limit_s: float, step: Awaitable[T], name: str) -> T:
    """Return what a host answers that a command is about; as `meet_within`, but not less than SILENT_LEAST_S.

    Raises:
        PeerUnreachable: it took longer, or went away; named, and with what to do.

    """
    try:
        return await meet_within(max(SILENT_LEAST_S, limit_s), step, name)
    except PeerUnreachable as exc:
        told = exc.message if name in exc.message else f"{name}: {exc.message}"
        raise PeerUnreachable(told, hint=exc.hint or _LONGER) from exc


async def while_heard(limit_s: float, step: Awaitable[T], heard_bytes: Callable[[], int], name: str) -> T:
    """Return what a request to a host gives, given up when nothing has come from it for so long.

    `limit_s` may be infinite, and is not less than SILENT_LEAST_S. `heard_bytes`: all that came from it so far. The
    step has ended when this returns or raises.

    Raises:
        PeerUnreachable: nothing came.

    """
    if math.isinf(limit_s):
        return await step
    limit_s = max(SILENT_LEAST_S, limit_s)
    now_s, task = asyncio.get_running_loop().time, asyncio.ensure_future(step)
    heard, since_s = heard_bytes(), now_s()
    try:
        while not (await asyncio.wait([task], timeout=limit_s / _LOOKS))[0]:
            if (so_far := heard_bytes()) != heard:
                heard, since_s = so_far, now_s()
            elif now_s() - since_s >= limit_s:
                raise PeerUnreachable(f"{name} is silent: nothing came from it for {limit_s:.0f} s", hint=_LONGER)
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
