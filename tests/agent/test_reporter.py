import asyncio
import weakref
from functools import partial

import pytest

from agent.loops import play
from backuppeer.agent.reporter import Reporter, beating, reporting
from backuppeer.control.events import Event

NOTE = Event(event="note", data={"text": "a note"})


def test_a_job_that_does_not_move_says_so_and_heartbeats_are_no_movement():
    async def scenario():
        told = []

        async def emit(event):
            told.append(event.data["traffic_bytes"])

        traffic = 1_000_000
        reporter = Reporter(emit)
        reporter.traffic_bytes = lambda: traffic
        reporter.update = unlimited(reporter)
        async with beating(reporter):
            await asyncio.sleep(2.5)  # virtual
            traffic += 100
            await asyncio.sleep(1)
            traffic += 5000
            await asyncio.sleep(1)
        await asyncio.sleep(5)
        assert told == [1_000_000, 1_000_000, 1_000_000, 1_005_100]

    play(scenario())


def unlimited(reporter):
    """The reporter's clock is the real one, the loop's is not."""
    update = reporter.update

    def tell():
        reporter._next_s = 0.0
        update()

    return tell


def test_everything_told_has_arrived_in_order_before_the_job_returns_however_slow_the_watcher():
    async def scenario():
        told, ready = [], asyncio.Semaphore(0)

        async def emit(event):
            await ready.acquire()
            told.append(event)

        async def watch():
            for _ in range(3000):
                ready.release()
                await asyncio.sleep(0)

        def work(reporter):
            for number in range(1000):
                reporter.error_file(b"%d" % number, "gone")
                reporter.update(files=number)

        watcher = asyncio.create_task(watch())
        async with reporting(emit) as reporter:
            await asyncio.to_thread(work, reporter)
        await watcher
        assert [event.data["path"] for event in told if event.event == "error-file"] == [str(n) for n in range(1000)]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [asyncio.CancelledError, ValueError])
def test_a_job_that_ends_early_tells_what_it_can_and_leaves_no_task(error):
    async def scenario():
        told = []

        async def emit(event):
            await asyncio.sleep(0)
            told.append(event)

        async def job():
            async with reporting(emit) as reporter:
                reporter.note("last words")
                await asyncio.sleep(0)
                raise error

        with pytest.raises(error):
            await job()
        await asyncio.sleep(0)
        assert len(told) == (error is ValueError)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_a_job_cancelled_before_anything_was_delivered_ends_though_its_thread_still_tells():
    async def scenario():
        async def emit(event):
            await asyncio.Event().wait()  # nobody reads

        async def job():
            async with reporting(emit) as reporter:
                reporter._enqueue(NOTE)  # its delivery has not begun when the job is cancelled
                reporters.append(reporter)
                raise asyncio.CancelledError

        reporters = []
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(job(), 10)
        reporters[0].note("a thread that has not heard of it")
        await asyncio.sleep(0)
        await asyncio.wait_for(reporters[0].drain(), 10)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_a_reporter_that_is_done_holds_on_to_nothing_of_its_job():
    class Buffers:
        pass

    async def scenario():
        async def emit(event):
            pass

        buffers = Buffers()
        gone = weakref.ref(buffers)
        async with reporting(emit) as reporter:
            reporter.sent_bytes = partial(id, buffers)
        del buffers
        assert gone() is None
        assert reporter.sent_bytes() == 0

    asyncio.run(scenario())


def test_what_the_last_line_of_a_job_says_is_delivered_too():
    heard = []

    async def emit(event):
        heard.append(event.data["text"])

    async def scenario():
        async with reporting(emit) as reporter:
            reporter.note("at the very end")
        assert heard == ["at the very end"]

    asyncio.run(scenario())
