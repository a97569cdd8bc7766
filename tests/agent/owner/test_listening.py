"""A host that says nothing is listened to as long as a person wants to wait; one that moves is not cut off."""

import asyncio
import math

import pytest

from agent.hosted import hosted
from agent.houses import partner
from agent.loops import play
from agent.owner.test_transfer import Run, draft_of, noise
from backuppeer.agent.host.serving import Serving
from backuppeer.agent.owner import listening
from backuppeer.agent.owner.listening import meet_within, while_heard
from backuppeer.errors import PeerUnreachable
from backuppeer.limits import MEET_LEAST_S, SILENT_LEAST_S
from backuppeer.wire.messages import GetRange


async def never():
    await asyncio.Event().wait()


def time_of(step):
    """Return when a step gave up on its host, in virtual time, and in what words."""

    async def timed():
        with pytest.raises(PeerUnreachable) as caught:
            await step
        return asyncio.get_running_loop().time(), caught.value.message

    return play(timed())


@pytest.mark.parametrize(("limit_s", "ends_s"), [(10.0, 10.0), (0.0, SILENT_LEAST_S)])
def test_who_is_silent_for_so_long_is_given_up(limit_s, ends_s):
    ended_s, told = time_of(while_heard(limit_s, never(), lambda: 7, "alice"))
    assert ended_s == ends_s
    assert told == f"alice is silent: nothing came from it for {ends_s:.0f} s"


def test_who_moves_is_listened_to_however_slow_and_what_it_gives_is_given():
    async def scenario():
        heard = iter(range(100))

        async def slow():
            await asyncio.sleep(200)
            return "all"

        return await while_heard(10.0, slow(), lambda: next(heard), "alice")

    assert play(scenario()) == "all"


def test_without_an_end_and_with_an_error_it_is_as_if_nobody_listened():
    async def fail():
        raise PeerUnreachable("gone")

    async def give():
        return 1

    assert play(while_heard(math.inf, give(), lambda: 0, "alice")) == 1
    assert time_of(while_heard(5.0, fail(), lambda: 0, "alice")) == (0, "gone")


def test_a_request_that_is_given_up_has_ended_and_touches_no_buffer_any_more():
    async def scenario():
        ended = []

        async def read():
            try:
                await never()
            finally:
                ended.append(True)

        with pytest.raises(PeerUnreachable):
            await while_heard(3.0, read(), lambda: 0, "alice")
        return ended

    assert play(scenario()) == [True]


@pytest.mark.parametrize(("limit_s", "ends_s"), [(10.0, 10.0), (-3.0, MEET_LEAST_S)])
def test_a_meeting_that_takes_longer_is_given_up(limit_s, ends_s):
    assert time_of(meet_within(limit_s, never(), "alice")) == (ends_s, "alice did not answer in time")


@pytest.mark.timeout(30)
def test_a_frozen_host_in_an_open_session_is_waited_for_no_longer_than_was_said(house, owner, monkeypatch):
    monkeypatch.setattr(listening, "SILENT_LEAST_S", 0.2)
    agreement, is_thawed = owner.agree_with(house), asyncio.Event()
    honest = Serving(house.premises, house.requests.consider_proposal, house.standing.blame)

    async def freeze(peer, channel):
        message = await channel.receive_any()
        if isinstance(message, GetRange):
            await is_thawed.wait()
        await honest._answer(peer, channel, message)
        await channel.finish()
        await channel.wait_end()

    async def scenario():
        async with hosted(house, owner, serve=freeze) as link:
            run = Run(owner, [partner(house, agreement, link.session)])
            draft = draft_of(owner, noise(1, 300_000))
            await run.store(draft)
            run.fetch._wait_s = 0.2
            with pytest.raises(PeerUnreachable, match="is silent: nothing came from it"):
                await run.read(draft)
            is_thawed.set()
            run.fetch._gone.clear()
            run.fetch._wait_s = 60.0
            assert len(await run.read(draft)) == 1

    asyncio.run(scenario())
