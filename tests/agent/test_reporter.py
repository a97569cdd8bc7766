import asyncio

from agent.loops import play
from backuppeer.agent.reporter import Reporter, beating


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
