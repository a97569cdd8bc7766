"""Steps in threads: as fast as they are taken, ended when nobody takes them any more."""

import asyncio
import threading
from contextlib import aclosing

import pytest

from backuppeer.agent.jobs.pulling import BATCH_ROWS, batch_rows, pull, run_aside


class Steps:
    """Counts how far a generator was advanced, and whether it was closed."""

    def __init__(self, count, error=None):
        self.made, self.closed, self._count, self._error = 0, False, count, error

    def __call__(self):
        try:
            for number in range(1, self._count + 1):
                self.made = number
                yield number
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


def test_steps_come_in_order_and_one_ahead_at_most():
    steps, stop, seen = Steps(5), threading.Event(), []

    async def scenario():
        async with aclosing(pull(steps(), stop)) as taken:
            async for step in taken:
                assert steps.made <= step + 1
                seen.append(step)

    asyncio.run(scenario())
    assert seen == [1, 2, 3, 4, 5]
    assert (steps.closed, stop.is_set()) == (True, True)


def test_an_error_of_a_step_comes_after_the_steps_before():
    steps = Steps(2, ValueError("no"))

    async def scenario():
        async with aclosing(pull(steps(), threading.Event())) as taken:
            assert [await anext(taken), await anext(taken)] == [1, 2]
            with pytest.raises(ValueError, match="no"):
                await anext(taken)

    asyncio.run(scenario())
    assert steps.closed


def test_who_stops_taking_ends_it_after_the_step_under_way():
    steps, stop = Steps(1000), threading.Event()

    async def scenario():
        async with aclosing(pull(steps(), stop)) as taken:
            async for _ in taken:
                break

    asyncio.run(scenario())
    assert steps.made <= 2
    assert (steps.closed, stop.is_set()) == (True, True)


def test_cancelling_sets_stop_and_waits_for_the_step_under_way():
    stop, entered, ended = threading.Event(), threading.Event(), []

    def steps():
        entered.set()
        stop.wait(10)
        ended.append(True)
        yield 1

    async def take():
        async with aclosing(pull(steps(), stop)) as taken:
            async for _ in taken:
                pass

    async def scenario():
        task = asyncio.create_task(take())
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True]

    asyncio.run(scenario())


def test_work_aside_that_is_cancelled_is_told_to_stop_and_waited_for():
    stop, entered, ended = threading.Event(), threading.Event(), []

    def work():
        entered.set()
        stop.wait(10)
        ended.append(True)

    async def scenario():
        assert await run_aside(lambda: 7, threading.Event()) == 7
        task = asyncio.create_task(run_aside(work, stop))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True]

    asyncio.run(scenario())


def test_rows_go_in_batches_by_number_and_by_length():
    assert [len(batch) for batch in batch_rows(range(600), lambda _: 1)] == [
        BATCH_ROWS,
        BATCH_ROWS,
        600 - 2 * BATCH_ROWS,
    ]
    assert [len(batch) for batch in batch_rows("abc", lambda _: 200 * 1024)] == [2, 1]
    assert list(batch_rows([], lambda _: 1)) == []
