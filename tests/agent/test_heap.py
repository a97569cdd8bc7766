import asyncio
import gc
import weakref

import pytest

from backuppeer.agent.heap import returning_memory


class Buffer:
    """Points at itself, as jobs and their callbacks do."""

    def __init__(self):
        self.me = self


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_job_leaves_in_circles_is_gone_when_it_has_ended_or_failed(fails):
    left = []

    async def work():
        left.append(weakref.ref(Buffer()))
        if fails:
            raise OSError("full")

    async def job():
        async with returning_memory():
            await work()

    gc.disable()
    try:
        results = asyncio.run(gather(job()))
        assert isinstance(results[0], OSError) is fails
        assert left[0]() is None
    finally:
        gc.enable()


async def gather(*jobs):
    return await asyncio.gather(*jobs, return_exceptions=True)
