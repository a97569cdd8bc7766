import asyncio
import gc
import subprocess
import sys
import weakref

import pytest

from backuppeer.agent.heap import returning_memory
from backuppeer.limits import COLLECT_AFTER_OBJECTS


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


@pytest.mark.slow
def test_an_agent_looks_for_garbage_less_often(tmp_path):
    script = (
        "import gc, sys; from backuppeer.cli import serve\n"
        "def run(agent):\n agent.close(); print(gc.get_threshold()[0])\n"
        "serve.asyncio.run = run; serve.main(['--home', sys.argv[1]])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "home")]
    (tmp_path / "home").mkdir()
    done = subprocess.run(command, capture_output=True, check=False)
    assert int(done.stdout) == COLLECT_AFTER_OBJECTS, done.stderr
    assert gc.get_threshold()[0] < COLLECT_AFTER_OBJECTS, "and nobody else is told to"
