"""The crooked server as a process of its own, for whoever wants to look at a terminal beside it."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backuppeer.clock import SystemClock
from backuppeer.errors import NoSignaling
from backuppeer.signaling.pool import Pool
from signaling.crooked import Crime
from signaling.kit import Host

pytestmark = pytest.mark.slow
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def crook(request):
    words = ["-m", "signaling.crooked", request.param, "", "server", "--listen", "127.0.0.1:0", "--stamp-bits", "0"]
    process = subprocess.Popen(
        [sys.executable, *words, "--json"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    yield f"ws://127.0.0.1:{re.search(rb'127.0.0.1:([0-9]+)', process.stdout.readline())[1].decode()}"
    process.terminate()
    process.wait(10)
    process.stdout.close()


async def look_at(url):
    clock = SystemClock()
    async with Pool([url], clock=clock) as pool:
        await pool.publish(Host().signed(clock.now_ms(), now_ms=clock.now_ms()))
        return await pool.browse()


@pytest.mark.parametrize("crook", [Crime.FORGES], indirect=True)
def test_a_process_that_forges_is_told_from_an_honest_one(crook):
    result = asyncio.run(look_at(crook))
    assert (len(result.listings), result.tallies[crook].forged) == (0, 1)


@pytest.mark.parametrize("crook", [Crime.MALFORMED], indirect=True)
def test_a_process_that_talks_nonsense_is_no_server(crook):
    with pytest.raises(NoSignaling, match="malformed"):
        asyncio.run(look_at(crook))
