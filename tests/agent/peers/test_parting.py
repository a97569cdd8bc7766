"""Sessions that a person ends: work under way ends or is broken off, both sides know why, and nobody dials at once."""

import asyncio

import pytest

from agent.loops import SetClock, play
from agent.parties import ASK, USAGE, Party, ask, running, two_parties
from backuppeer.agent.peers.parting import HERE, THERE, Parting
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import PeerId
from backuppeer.limits import DEAD_AFTER_S, PARTED_S, PARTING_S
from backuppeer.transport.memory import Network
from backuppeer.wire.messages import GetUsage, Usage

PEER, OTHER = PeerId(b"p" * 32), PeerId(b"o" * 32)


def slow_party(network, index, *, took_s):
    async def answer_slowly(_, channel):
        await channel.receive(GetUsage)
        await asyncio.sleep(took_s)
        await channel.send(USAGE)
        await channel.finish()
        await channel.wait_end()

    return Party(network, index, serve=answer_slowly)


async def ask_patiently(session):
    async with session.request(ASK) as channel:
        return await channel.receive(Usage, timeout_s=None)


@pytest.mark.parametrize("who", ["asker", "server"])
def test_what_is_under_way_ends_before_the_session_does_whoever_ends_it(who):
    async def scenario():
        network = Network()
        one, two = Party(network, 1), slow_party(network, 2, took_s=DEAD_AFTER_S + 8)
        async with running(one, two):
            near, far = await one.meet(two)
            heard = []
            one.sessions.on_parted = two.sessions.on_parted = heard.append
            asking = asyncio.create_task(ask(near))
            await asyncio.sleep(1)
            mine, peer = (one, two.peer) if who == "asker" else (two, one.peer)
            ending = asyncio.create_task(mine.sessions.part(peer, at_once=False))
            await asyncio.sleep(1)
            assert {near.state, far.state} == {"parting"}
            with pytest.raises(PeerUnreachable, match="ended"):
                await ask(near)
            assert await asking == USAGE
            assert await ending == 0
            assert one.sessions.all() == two.sessions.all() == []
            assert heard == [one.peer if who == "asker" else two.peer]
            outcomes = {near.course.outcome, far.course.outcome}
            assert outcomes == {"a person ended the session", "the peer says: a person ended the session"}
            assert not near.course.is_lost
            assert not far.course.is_lost

    play(scenario())


def test_at_once_breaks_off_what_is_under_way_and_the_peer_hears_that_a_person_did():
    async def scenario():
        network = Network()
        one, two = Party(network, 1), slow_party(network, 2, took_s=30.0)
        async with running(one, two):
            near, far = await one.meet(two)
            heard = []
            one.sessions.on_parted = heard.append
            asking = asyncio.create_task(ask(near))
            await asyncio.sleep(1)
            began_s = asyncio.get_running_loop().time()
            assert await two.sessions.part(one.peer, at_once=True) == 1
            assert asyncio.get_running_loop().time() - began_s < 1
            with pytest.raises(PeerUnreachable, match=THERE):
                await asking
            await near.ended.wait()
            assert heard == [two.peer]
            assert near.course.outcome == "the peer says: a person ended the session at once"
            assert (far.failure, near.failure) == (HERE, THERE)
            assert not near.course.is_lost

    play(scenario())


def test_a_peer_that_never_ends_its_work_is_waited_for_no_longer_than_a_minute():
    async def scenario():
        network = Network()
        one, two = Party(network, 1), slow_party(network, 2, took_s=10 * PARTING_S)
        async with running(one, two):
            near, _ = await one.meet(two)
            asking = asyncio.create_task(ask_patiently(near))
            await asyncio.sleep(1)
            began_s = asyncio.get_running_loop().time()
            assert await one.sessions.part(two.peer, at_once=False) == 1
            assert PARTING_S <= asyncio.get_running_loop().time() - began_s <= PARTING_S + 3
            with pytest.raises(PeerUnreachable, match="ended here"):
                await asking

    play(scenario())


def test_an_end_goes_on_though_who_asked_for_it_went_away():
    async def scenario():
        network = Network()
        one, two = Party(network, 1), slow_party(network, 2, took_s=5.0)
        async with running(one, two):
            near, _ = await one.meet(two)
            asking = asyncio.create_task(ask(near))
            await asyncio.sleep(1)
            ending = asyncio.create_task(one.sessions.part(two.peer, at_once=False))
            await asyncio.sleep(1)
            ending.cancel()
            assert await asking == USAGE
            await near.ended.wait()
            assert one.sessions.all() == []

    play(scenario())


def test_where_there_is_no_session_there_is_nothing_to_end():
    async def scenario():
        async with two_parties() as (one, two):
            assert await one.sessions.part(two.peer, at_once=False) is None

    play(scenario())


def test_a_peer_is_left_alone_for_ten_minutes_or_until_a_person_wants_something_anew():
    clock = SetClock()
    parting = Parting(clock)
    parting.check(PEER)
    parting.hold(PEER, HERE)
    parting.hear(OTHER)
    with pytest.raises(PeerUnreachable, match="ended here") as told:
        parting.check(PEER)
    assert "same command again" in told.value.hint
    with pytest.raises(PeerUnreachable, match="its person"):
        parting.check(OTHER)
    parting.lift(PEER)
    parting.check(PEER)
    parting.lift()
    parting.check(OTHER)
    parting.hold(PEER, HERE)
    clock.ms += int(PARTED_S * 1000)
    parting.check(PEER)
