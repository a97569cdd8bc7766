"""Several hosts that say nothing: one patience for all of them, not one for each."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from agent.hosted import hosted
from agent.houses import HostHouse, partner
from agent.owner.test_transfer import Run, draft_of, noise
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.owner import fetch as fetch_module
from backuppeer.agent.owner import listening
from backuppeer.clock import SystemClock
from backuppeer.errors import InterruptedByUserError, PeerUnreachable
from backuppeer.wire.messages import GetRange


class Mute:
    """Serves a host as it is, until it is told to say nothing to who reads; `asked` counts, and tells."""

    def __init__(self) -> None:
        self.is_mute, self.asked, self.is_asked = False, 0, asyncio.Event()

    def wrap(self, monkeypatch, store):
        send_range = Serving._send_range

        async def answer(serving, place, channel, message: GetRange):
            if place is store() and self.is_mute:
                self.asked += 1
                self.is_asked.set()
                await asyncio.Event().wait()
            await send_range(serving, place, channel, message)

        monkeypatch.setattr(Serving, "_send_range", answer)


@asynccontextmanager
async def three_hosts(house, owner, tmp_path, monkeypatch):
    houses = [house, *(HostHouse(tmp_path / name, name.encode()) for name in "23")]
    mutes = [Mute() for _ in houses]
    for each, mute in zip(houses, mutes, strict=True):
        mute.wrap(monkeypatch, each.premises.open)
    agreements = [owner.agree_with(each, number=number) for number, each in enumerate(houses, 1)]
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(hosted(each, owner)) for each in houses]
        partners = [partner(h, a, link.session) for h, a, link in zip(houses, agreements, links, strict=True)]
        run = Run(owner, partners)
        run.fetch._clock = SystemClock()
        run.mutes = dict(zip(agreements, mutes, strict=True))
        yield run
    for each in houses[1:]:
        each.close()


@pytest.fixture
def play(house, owner, tmp_path, monkeypatch):
    """Run a test's story with three hosts that keep a pack; `heard_s`: how long one is listened to."""
    monkeypatch.setattr(fetch_module, "SOUND_AFTER_S", 0.01)

    def run_it(story, *, heard_s=None):
        if heard_s is not None:
            monkeypatch.setattr(listening, "SILENT_LEAST_S", heard_s)

        async def whole():
            async with three_hosts(house, owner, tmp_path, monkeypatch) as run:
                draft = draft_of(owner, noise(1, 300_000))
                await run.store(draft)
                await story(run, draft)

        asyncio.run(whole())

    return run_it


def test_hosts_that_say_nothing_are_asked_side_by_side_while_the_first_is_listened_to(play):
    async def story(run, draft):
        run.fetch._wait_s = 3600.0
        for mute in run.mutes.values():
            mute.is_mute = True
        reading = asyncio.create_task(run.read(draft))
        async with asyncio.timeout(60):
            for mute in run.mutes.values():
                await mute.is_asked.wait()
        run.fetch.cancel()
        with pytest.raises(InterruptedByUserError):
            await reading

    play(story)


def test_a_host_that_said_nothing_beside_another_is_not_listened_to_a_second_time(play):
    async def story(run, draft):
        run.fetch._wait_s = 0.2
        for mute in run.mutes.values():
            mute.is_mute = True
        with pytest.raises(PeerUnreachable):
            await run.read(draft)
        assert [mute.asked for mute in run.mutes.values()] == [1, 1, 1]

    play(story, heard_s=0.3)


def test_a_host_that_answers_beside_a_silent_one_gives_the_pack(play, owner):
    async def story(run, draft):
        run.fetch._wait_s = 0.2
        *silent, _ = [copy.agreement for copy in owner.repository.ledger.copies_of(draft.logical)]
        for agreement in silent:
            run.mutes[agreement].is_mute = True
        assert await run.read(draft) == {noise(1, 300_000)}

    play(story, heard_s=0.3)
