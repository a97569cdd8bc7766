"""Work of many in few threads: what is little is done beside whatever else there is to do."""

import asyncio
import threading
from contextlib import asynccontextmanager, suppress

import pytest

from backuppeer.crypto.stamp import message_context, solves
from backuppeer.signaling.stamping import estimate_s, make_stamp, make_work
from backuppeer.signaling.workers import Workers
from signaling.kit import TurnedClock, run

INBOX = b"i" * 32
ENDLESS = 60
"""Bits of a puzzle that nobody solves."""


@asynccontextmanager
async def beside(works):
    """Have work go on without end; called off afterwards."""
    tasks = [asyncio.create_task(work) for work in works]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def test_an_easy_knock_is_worked_for_beside_any_number_of_dear_ones():
    async def story():
        async with beside(make_work(bytes([number]) * 32, INBOX, "a", bits=ENDLESS) for number in range(12)):
            async with asyncio.timeout(20):
                assert await estimate_s(ENDLESS) > 0
                work = await make_work(bytes(32), INBOX, "a", bits=10)
        assert solves(work, message_context(bytes(32), INBOX, "a"), 10)

    run(story())


def test_an_easy_stamp_is_made_beside_any_number_of_dear_ones():
    async def story():
        clock = TurnedClock()
        async with beside(make_stamp(bytes([number]) * 32, "a", ENDLESS, clock=clock) for number in range(12)):
            async with asyncio.timeout(20):
                await make_stamp(bytes(32), "a", 10, clock=clock)

    run(story())


@asynccontextmanager
async def held(workers):
    """Hold the one thread of `workers` until the block ends."""
    go, is_held = threading.Event(), threading.Event()

    def hold():
        is_held.set()
        go.wait()

    holding = asyncio.create_task(workers.do(workers.enter(0), hold))
    await asyncio.to_thread(is_held.wait)
    yield
    go.set()
    await holding


def test_the_easiest_goes_first_and_of_equals_what_began_first():
    async def story():
        workers, done = Workers(1, "test"), []
        dear, first, second, easy = (workers.enter(bits) for bits in (9, 5, 5, 1))
        ranks = {"dear": dear, "second": second, "easy": easy, "first": first, "first again": first}
        async with held(workers):
            tasks = [
                asyncio.create_task(workers.do(rank, lambda name=name: done.append(name)))
                for name, rank in ranks.items()
            ]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert done == ["easy", "first", "first again", "second", "dear"]

    run(story())


def test_what_was_called_off_is_not_done_and_what_fails_is_told():
    async def story():
        workers, done = Workers(1, "test"), []
        async with held(workers):
            task = asyncio.create_task(workers.do(workers.enter(1), lambda: done.append("called off")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(ZeroDivisionError):
            await workers.do(workers.enter(1), lambda: 1 // 0)
        assert await workers.do(workers.enter(9), lambda: 7) == 7
        assert done == []

    run(story())
