"""Two sessions of one pair: one of them goes, and nothing that was asked upon it is lost."""

import asyncio
import random

import pytest

from agent.loops import play
from agent.parties import ASK, USAGE, Party, answer_usage, ask, by_id, running
from backuppeer.agent.peers.leaving import say_goodbye
from backuppeer.agent.peers.session import Session
from backuppeer.errors import PeerUnreachable
from backuppeer.limits import DIAL_S, LEAVING_MOST_S
from backuppeer.transport.memory import Network
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.messages import Usage


@pytest.fixture(params=[False, True])
def _of_before(request, monkeypatch):
    """With peers that close at once when they hear Goodbye, as before ADR 41."""

    async def close_at_once(session):
        pass

    if request.param:
        monkeypatch.setattr("backuppeer.agent.peers.sessions.finish", close_at_once)


async def answer_slowly(peer, channel):
    await asyncio.sleep(3.0)
    await answer_usage(peer, channel)


@pytest.mark.usefixtures("_of_before")
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("seed", range(8))
def test_those_who_dial_each_other_at_once_and_ask_at_once_get_their_answers(seed, delay):
    async def dial_and_ask(one, other, pause_s):
        await asyncio.sleep(pause_s)
        return await ask(await one.dial(other))

    async def scenario():
        dice = random.Random(seed)
        network = Network(seed)
        network.weather.delay_s = delay
        small, large = by_id(network, serve=answer_slowly)
        async with running(small, large):
            pauses = [dice.choice([0.0, delay * dice.random() * 3]) for _ in range(2)]
            asking = [dial_and_ask(small, large, pauses[0]), dial_and_ask(large, small, pauses[1])]
            assert await asyncio.gather(*asking) == [USAGE, USAGE]
            await asyncio.sleep(10.0)  # virtual: whatever is still being said has been said
            assert await ask(small.sessions.get(large.peer)) == USAGE
            assert await ask(large.sessions.get(small.peer)) == USAGE
            assert len(alive(small)) == len(alive(large)) == 1
            assert small.faults == large.faults == []

    play(scenario())


def kill(party, accepting):
    """End what a party does, as `kill -9`: its connections stay open at its peers, who hear nothing any more."""

    async def say_nothing(code, reason):
        pass

    for session in party.sessions.all():
        session.connection.close = say_nothing
    for living in [accepting, *party.sessions._tasks]:
        living.cancel()
    party.transport.is_offline = True


def alive(party):
    return [near for near in party.network._connections if near.close_info is None and party.transport in near.owners]


@pytest.mark.parametrize("gone_is_smaller", [True, False])
def test_who_was_killed_just_after_it_was_dialled_is_served_when_it_dials(gone_is_smaller):
    async def scenario():
        network = Network()
        small, large = by_id(network)
        gone, stays = (small, large) if gone_is_smaller else (large, small)
        async with running(stays):
            task = asyncio.create_task(gone.sessions.run())
            await stays.meet(gone)
            kill(gone, task)
            back = Party(network, 9, identity=gone.identity)
            async with running(back):
                for _ in range(40):  # virtual: until long after the dead session was given up
                    assert await ask(await back.dial(stays)) == USAGE
                    await asyncio.sleep(1.0)
                assert await ask(stays.sessions.get(back.peer)) == USAGE
                assert len(alive(back)) == 1

    play(scenario())


def test_a_host_of_before_that_drops_the_second_session_is_dialled_again_until_it_takes_one(monkeypatch):
    say = Session.say

    async def say_and_listen_late(session, message):
        await say(session, message)
        if session.connection.is_dialler:  # on a busy machine, whose peer closes meanwhile: its Hello is lost
            await asyncio.sleep(0.05)

    async def drop(session):
        await session.connection.close(CloseCode.DUPLICATE, "")

    async def scenario():
        network = Network()
        small, large = by_id(network)
        small.sessions._leaving.see_off = drop
        async with running(small):
            task = asyncio.create_task(large.sessions.run())
            await small.meet(large)
            kill(large, task)
            back = Party(network, 9, identity=large.identity)
            async with running(back):
                monkeypatch.setattr(Session, "say", say_and_listen_late)
                begun = asyncio.get_running_loop().time()
                assert await ask(await back.dial(small)) == USAGE
                assert DIAL_S <= asyncio.get_running_loop().time() - begun <= DIAL_S + 5

    play(scenario())


def test_an_answer_that_is_waited_for_comes_though_the_peer_says_goodbye_to_the_double_at_once():
    async def answer_in_a_second(peer, channel):
        await asyncio.sleep(1.0)
        await answer_usage(peer, channel)

    async def scenario():
        network = Network()
        one, two = Party(network, 1), Party(network, 2, serve=answer_in_a_second)
        async with running(one, two):
            near, far = await one.meet(two)
            asking = asyncio.create_task(ask(near))
            await asyncio.sleep(0.5)
            two.sessions._spawn(say_goodbye(far, CloseCode.DUPLICATE))
            assert await asking == USAGE
            assert one.sessions.get(two.peer) is None, "nobody begins anything upon it"
            await near.ended.wait()

    play(scenario())


async def ask_for_ever(session):
    async with session.request(ASK) as channel:
        await channel.receive(Usage, timeout_s=None)


def test_a_session_that_goes_is_closed_at_last_whatever_is_under_way():
    async def answer_never(peer, channel):
        await asyncio.Event().wait()

    async def scenario():
        network = Network()
        one, two = Party(network, 1), Party(network, 2, serve=answer_never)
        async with running(one, two):
            near, far = await one.meet(two)
            asking = asyncio.create_task(ask_for_ever(near))
            begun = asyncio.get_running_loop().time()
            await two.sessions._leaving.see_off(far)
            assert asyncio.get_running_loop().time() - begun == pytest.approx(LEAVING_MOST_S)
            with pytest.raises(PeerUnreachable):
                await asking

    play(scenario())


def test_several_sessions_of_one_peer_may_go_at_once_and_disconnect_takes_them_all():
    async def scenario():
        network = Network()
        one, two = Party(network, 1, serve=answer_slowly), Party(network, 2, serve=answer_slowly)
        async with running(one, two):
            sessions = []
            for _ in range(3):
                sessions.append((await one.meet(two))[1])
                one.sessions._open.clear()
                two.sessions._open.clear()
            going = [asyncio.create_task(two.sessions._leaving.see_off(session)) for session in sessions[:2]]
            await asyncio.sleep(1.0)  # virtual
            assert sessions[0].is_open
            assert sessions[1].is_open
            await two.sessions.close(one.peer)
            await sessions[0].ended.wait()
            await sessions[1].ended.wait()
            assert sessions[2].is_open
            await asyncio.gather(*going)

    play(scenario())
