"""Several hosts that say nothing: one patience for all of them, not one for each."""

import asyncio
import dataclasses
import math
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from agent.hosted import hosted
from agent.houses import HostHouse, partner
from agent.loops import play as virtually
from agent.owner.test_transfer import Run, draft_of, noise
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.owner import listening, sounding
from backuppeer.agent.owner.pacing import SilentError
from backuppeer.agent.owner.spans import RecentSpans
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
    monkeypatch.setattr(sounding, "SOUND_AFTER_S", 0.01)

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


def test_a_host_that_says_nothing_is_left_at_once_for_one_that_answers_however_long_the_person_would_wait(
    play, owner, monkeypatch
):
    async def story(run, draft):
        run.fetch._wait_s = math.inf
        *silent, answers = [copy.agreement for copy in owner.repository.ledger.copies_of(draft.logical)]
        for agreement in silent:
            run.mutes[agreement].is_mute = True
        async with asyncio.timeout(60):
            assert await run.read(draft) == {noise(1, 300_000)}
        assert run.blamed == [], "silence beside an answer is nobody's fault"
        assert run.fetch.delivered_bytes(answers) > 0
        run.fetch._recent = RecentSpans(0)
        monkeypatch.setattr(sounding, "SOUND_AFTER_S", 600.0)
        asked = [mute.asked for mute in run.mutes.values()]
        assert await run.read(draft) == {noise(1, 300_000)}
        assert [mute.asked for mute in run.mutes.values()] == asked, "nor is it asked first again for a while"

    play(story)


def test_a_host_that_is_dialled_in_vain_holds_nothing_up_and_is_dialled_on_beside(play, owner):
    async def story(run, draft):
        run.fetch._wait_s = math.inf
        first = owner.repository.ledger.copies_of(draft.logical)[0].agreement
        session, come = await run.fetch._partners[first].session(), asyncio.Event()
        dialled, met = asyncio.Event(), asyncio.Event()

        class Slow:
            async def session(self, _):
                dialled.set()
                await come.wait()
                met.set()
                return session

        run.fetch._partners[first] = dataclasses.replace(run.fetch._partners[first], reach=Slow())
        async with asyncio.timeout(60):
            assert await run.read(draft) == {noise(1, 300_000)}
            assert dialled.is_set()
            assert run.fetch.delivered_bytes(first) == 0
            come.set()
            await met.wait()
        assert run.blamed == []

    play(story)


def test_who_was_waited_for_before_is_not_waited_for_again(play, owner):
    async def story(run, draft):
        run.fetch._wait_s = math.inf
        *away, last = [copy.agreement for copy in owner.repository.ledger.copies_of(draft.logical)]
        dialled = []

        class Nobody:
            async def session(self, peer):
                dialled.append(peer)
                await asyncio.Event().wait()

        for agreement in away:
            run.fetch._partners[agreement] = dataclasses.replace(run.fetch._partners[agreement], reach=Nobody())
        del run.fetch._partners[last]
        run.fetch.give_up({*away, last})
        async with asyncio.timeout(60):
            with pytest.raises(PeerUnreachable, match="in vain"):
                await run.read(draft)
        assert dialled == run.blamed == []

    play(story)


class Waiting:
    """A request of which the test says when bytes come, and others of which it says when they answer."""

    def __init__(self):
        self.heard, self.asked, self.answers = 0, 0, asyncio.Event()
        self.result = asyncio.get_running_loop().create_future()

    async def step(self):
        return await self.result

    async def has_answer(self, step):
        self.asked += 1
        answering = asyncio.create_task(self.answers.wait())
        await asyncio.wait([answering, step], return_when=asyncio.FIRST_COMPLETED)
        answering.cancel()
        return self.answers.is_set()

    def run(self):
        return asyncio.create_task(sounding.while_alone(self.step(), lambda: self.heard, self.has_answer, "alice"))


def later(seconds, step):
    asyncio.get_running_loop().call_later(seconds, step)


def test_as_long_as_bytes_come_nobody_else_is_asked():
    async def story():
        waiting = Waiting()
        for second in range(1, 100):
            later(0.5 * second, lambda: setattr(waiting, "heard", waiting.heard + 1))
        later(50, lambda: waiting.result.set_result("all"))
        assert await waiting.run() == "all"
        assert waiting.asked <= 1

    virtually(story())


def test_a_host_that_falls_silent_in_the_middle_is_left_when_another_answers():
    async def story():
        waiting = Waiting()
        later(0.5, lambda: setattr(waiting, "heard", 5))
        later(10, waiting.answers.set)
        with pytest.raises(SilentError, match="alice"):
            await waiting.run()
        assert asyncio.get_running_loop().time() == 10
        assert waiting.result.cancelled(), "what it would fill is used by the next"

    virtually(story())


def test_who_is_heard_while_others_are_asked_is_not_left():
    async def story():
        waiting = Waiting()
        later(1.5, lambda: setattr(waiting, "heard", 5))
        later(1.6, waiting.answers.set)
        later(1.7, lambda: waiting.result.set_result("all"))
        assert await waiting.run() == "all"

    virtually(story())


def test_where_no_other_answers_a_silent_one_is_waited_for():
    async def story():
        waiting = Waiting()
        waiting.has_answer = no_answer
        later(500, lambda: waiting.result.set_result("all"))
        assert await waiting.run() == "all"

    virtually(story())


async def no_answer(_):
    return False
