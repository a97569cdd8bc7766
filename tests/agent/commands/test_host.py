"""What those who watch an offer are told."""

import asyncio
from types import SimpleNamespace

import pytest

from backuppeer.agent.commands.host import HostCommands


@pytest.fixture
def agent():
    sweeping = SimpleNamespace(alarms=SimpleNamespace())
    host = SimpleNamespace(requests=SimpleNamespace(), hosting=SimpleNamespace(), sweeping=sweeping)
    return SimpleNamespace(parts=None, host=host)


def test_watchers_are_told_once_that_no_server_shows_the_offer_and_once_that_one_does_again(agent):
    async def story():
        commands, watcher = HostCommands(agent), asyncio.Queue()
        commands._watchers.add(watcher)
        for is_shown in (True, False, False, True, True):
            agent.host.hosting.on_servers(is_shown)
        assert [watcher.get_nowait().data["state"] for _ in range(watcher.qsize())] == ["unlisted", "listed"]

    asyncio.run(story())
