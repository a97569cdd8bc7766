"""Work for servers that ask for it, of new keys (ADR 68) or for a message (ADR 83): in threads, within our limits.

Knows: the clock, how many threads. Must not know: sockets, listings.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from backuppeer.clock import Clock
from backuppeer.crypto.stamp import (
    BITS_MOST,
    DAY_MS,
    PUZZLES,
    TRIALS_A_LOOK,
    day_of,
    holds,
    join_stamp,
    join_work,
    message_context,
    solve_puzzle,
    stamp_context,
)
from backuppeer.limits import CLOCK_SKEW_S, STAMP_BITS_MOST, STAMP_THREADS
from backuppeer.signaling.workers import Workers

OnProving = Callable[[str, bool], None]
"""Called with (server address, whether the work goes on): when work for a server begins, and when it ends."""
_PROVERS: Final = Workers(STAMP_THREADS, "stamp")
"""Of their own: the threads of the loop serve the disk, and a stamp must not hold up a partner's packs."""
_KNOCKERS: Final = Workers(STAMP_THREADS, "knock-work")
"""Of their own again: a person waits, and does not wait for an offer's stamps as well."""
_LOOKS: Final = 32
"""After which a puzzle lets another work's have the thread: 30 ms."""
TOO_MUCH: Final = "it asks for more work of a new key than this program does"
NOT_TAKEN: Final = "it does not take the work that it asked for"


@dataclass(slots=True)
class Work:
    """What has been tried for a stamp: broken off, or asked for more, it goes on there.

    nonces: of each puzzle the one to try next. Those below solve it for no number of bits that was asked for, nor for
    more. So a server gets no more work of a key in a day than one stamp of the most bits that it asked for.
    """

    context: bytes = b""
    nonces: list[int] = field(default_factory=list)


def is_affordable(bits: int) -> bool:
    """Return whether we do the work that a server asks for: it could ask for years."""
    return 0 < bits <= STAMP_BITS_MOST


def is_made(stamp: bytes, peer: bytes, server: str, bits: int, *, clock: Clock) -> bool:
    """Return whether a stamp is all that a server asks for today: who refuses it would ask for ever."""
    return bool(stamp) and day_of(stamp) == clock.now_ms() // DAY_MS and holds(stamp, peer, server, bits)


async def make_stamp(peer: bytes, server: str, bits: int, *, clock: Clock, work: Work | None = None) -> bytes:
    """Return a stamp for today; cancelled, its threads end within a millisecond. work: what was tried before."""
    day, work = clock.now_ms() // DAY_MS, work or Work()
    context = stamp_context(peer, server, day)
    if work.context != context:
        # A list of its own: threads of the work before may still write in theirs.
        work.context, work.nonces = context, [0] * PUZZLES
    return join_stamp(day, await _solve_all(context, bits, nonces=work.nonces, workers=_PROVERS))


async def make_work(challenge: bytes, inbox: bytes, server: str, *, bits: int) -> bytes:
    """Return WORK_BYTES for one message; cancelled, its threads end within a millisecond."""
    context = message_context(challenge, inbox, server)
    return join_work(await _solve_all(context, bits, nonces=[0] * PUZZLES, workers=_KNOCKERS))


async def estimate_s(bits: int) -> float:
    """Return how long work of so many bits takes here on average, by a millisecond of it."""
    looks = 0

    def try_few() -> float:
        def is_wanted(_: int) -> bool:
            nonlocal looks
            looks += 1
            return looks == 1

        began_s = time.perf_counter()
        solve_puzzle(bytes(32), 0, BITS_MOST, is_wanted=is_wanted)
        return (time.perf_counter() - began_s) / TRIALS_A_LOOK

    trial_s = await _KNOCKERS.do(_KNOCKERS.enter(0), try_few)
    return PUZZLES * 2.0**bits * trial_s / min(STAMP_THREADS, os.cpu_count() or 1)


async def _solve_all(context: bytes, bits: int, *, nonces: list[int], workers: Workers) -> list[int]:
    """Solve all puzzles of a context, each from its nonce on; `nonces` follows what was tried."""
    is_over, rank = threading.Event(), workers.enter(bits)

    def try_some(number: int) -> int | None:
        looks = 0

        def is_wanted(start: int) -> bool:
            nonlocal looks
            nonces[number] = max(nonces[number], start)
            looks += 1
            return looks <= _LOOKS and not is_over.is_set()

        return solve_puzzle(context, number, bits, is_wanted=is_wanted, start=nonces[number])

    async def solve(number: int) -> int:
        while (found := await workers.do(rank, partial(try_some, number))) is None:
            pass
        nonces[number] = found
        return found

    try:
        return await asyncio.gather(*map(solve, range(PUZZLES)))
    finally:
        is_over.set()


def is_timely(day: int, now_ms: int) -> bool:
    """Return whether a stamp's day is today, for a clock that may be wrong by as much as is tolerated."""
    skew_ms = CLOCK_SKEW_S * 1000
    return (now_ms - skew_ms) // DAY_MS <= day <= (now_ms + skew_ms) // DAY_MS
