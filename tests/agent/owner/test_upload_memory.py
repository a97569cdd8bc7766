"""The memory of an upload is bounded for all hosts together."""

import asyncio
import threading

import pytest

from agent.loops import VirtualClock
from backuppeer.agent.owner.upload import Upload
from backuppeer.limits import PACKS_IN_FLIGHT


@pytest.mark.parametrize(("hosts", "buffers"), [(1, PACKS_IN_FLIGHT), (2, 4), (5, 10)])
def test_buffers_are_shared_by_hosts_and_two_for_each_at_the_least(hosts, buffers):
    async def scenario():
        parts = {"on_copy": print, "say": print, "clock": VirtualClock(), "stop": threading.Event(), "exposing": None}
        return Upload(None, [None] * hosts, **parts)._buffers.qsize()

    assert asyncio.run(scenario()) == buffers
