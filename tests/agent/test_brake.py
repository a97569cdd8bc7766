"""A job's brake: what it holds, what it lets end, what it breaks off."""

import asyncio
import threading

import pytest

from agent.loops import play
from backuppeer.agent.brake import Brake, Halt, HeldError, brake_of_job, use_brake
from backuppeer.limits import PAUSE_GRACE_S


def test_what_is_under_way_may_end_and_nothing_new_begins_until_the_release():
    async def scenario():
        brake, told = Brake(), []

        async def send(name, seconds):
            await asyncio.sleep(seconds)
            told.append(name)

        first = asyncio.create_task(brake.run(lambda: send("first", PAUSE_GRACE_S - 1)))
        await asyncio.sleep(0)
        brake.pull()
        second = asyncio.create_task(brake.run(lambda: send("second", 0)))
        assert not brake.is_settled
        await brake.settled()
        assert brake.is_settled
        await asyncio.sleep(1000)
        assert told == ["first"]
        brake.release()
        await asyncio.gather(first, second)
        assert told == ["first", "second"]

    play(scenario())


def test_what_takes_longer_than_the_grace_is_broken_off_and_begun_anew():
    async def scenario():
        brake, begun, ended = Brake(), [], []

        async def send():
            begun.append(asyncio.get_running_loop().time())
            await asyncio.sleep(PAUSE_GRACE_S + 1)
            ended.append(asyncio.get_running_loop().time())

        task = asyncio.create_task(brake.run(send))
        await asyncio.sleep(0)
        brake.pull()
        await brake.settled()
        assert asyncio.get_running_loop().time() == PAUSE_GRACE_S
        await asyncio.sleep(90)
        brake.release()
        await task
        assert (begun, ended) == ([0, PAUSE_GRACE_S + 90], [2 * PAUSE_GRACE_S + 91])

    play(scenario())


def test_a_release_in_time_breaks_nothing_off():
    async def scenario():
        brake = Brake()
        task = asyncio.create_task(brake.guard(lambda: asyncio.sleep(PAUSE_GRACE_S + 1, "sent")))
        await asyncio.sleep(0)
        brake.pull()
        brake.release()
        assert await task == "sent"
        assert asyncio.get_running_loop().time() == PAUSE_GRACE_S + 1

    play(scenario())


def test_who_can_not_begin_anew_is_told_that_it_was_broken_off():
    async def scenario():
        brake = Brake()
        task = asyncio.create_task(brake.guard(lambda: asyncio.sleep(1000)))
        await asyncio.sleep(0)
        brake.pull()
        with pytest.raises(HeldError):
            await task
        with pytest.raises(HeldError):
            await brake.guard(lambda: asyncio.sleep(0))

    play(scenario())


def test_a_job_that_is_cancelled_while_it_is_held_ends():
    async def scenario():
        brake = Brake()
        under_way = asyncio.create_task(brake.run(lambda: asyncio.sleep(1000)))
        await asyncio.sleep(0)
        brake.pull()
        waiting = asyncio.create_task(brake.run(lambda: asyncio.sleep(0)))
        await asyncio.sleep(0)
        for task in (under_way, waiting):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    play(scenario())


def test_an_engine_stays_at_its_look_while_the_brake_is_on_and_the_loop_never_does():
    async def scenario():
        brake = Brake()
        use_brake(brake)
        halt, looked = Halt(), threading.Event()
        assert brake_of_job() is brake
        brake.pull()
        assert not halt.is_set(), "in the loop nothing waits"

        def look():
            looked.set()
            return halt.is_set()

        engine = asyncio.create_task(asyncio.to_thread(look))
        await asyncio.to_thread(looked.wait)
        assert not engine.done()
        brake.release()
        assert await engine is False
        halt.set()
        brake.pull()
        assert await asyncio.to_thread(halt.is_set), "what is to end is not held"
        brake.release()

    asyncio.run(scenario())
