"""What a person is told of sessions, dials and searches, and how one is ended: real sessions, in virtual time."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from agent.loops import VirtualClock, play
from agent.parties import USAGE, Party, ask, running
from backuppeer.agent.commands.sessions import SessionCommands
from backuppeer.agent.peers.attempts import Attempts
from backuppeer.agent.peers.parting import HERE, THERE
from backuppeer.agent.peers.partners import Reach
from backuppeer.agent.peers.whereabouts import NatKind
from backuppeer.control.api import Nothing
from backuppeer.control.sessions import DisconnectRequest
from backuppeer.errors import NotFoundError, PeerUnreachable
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import PARTED_S
from backuppeer.transport.memory import Network
from backuppeer.wire.messages import GetUsage


async def answer_slowly(_, channel):
    await channel.receive(GetUsage)
    await asyncio.sleep(5)
    await channel.send(USAGE)
    await channel.finish()
    await channel.wait_end()


@asynccontextmanager
async def scene(house):
    """Two parties in session, and the commands of the first; the second is called alice."""
    network = Network()
    one, two = Party(network, 1), Party(network, 2, serve=answer_slowly)
    house.state.call(two.peer, "alice", 1)
    async with running(one, two):
        near, far = await one.meet(two)
        reach = Reach(house.state, one.sessions, loopback=True, clock=VirtualClock())
        reach.watch(one.transport)
        relays = SimpleNamespace(nat=NatKind.UNKNOWN)
        parts = SimpleNamespace(state=house.state, sessions=one.sessions, reach=reach, relays=relays)
        yield SimpleNamespace(
            commands=SessionCommands(SimpleNamespace(parts=parts)), one=one, two=two, near=near, far=far, reach=reach
        )


async def rows(here):
    return await here.commands.list_all(Nothing(), None)


def test_a_session_tells_its_state_its_path_its_quality_and_what_is_under_way(house):
    async def scenario():
        async with scene(house) as here:
            (row,) = await rows(here)
            assert (row.alias, row.state, row.path, row.quality, row.work) == (
                "alice",
                "connected",
                "direct",
                "good",
                [],
            )
            assert row.loss is None
            asking = asyncio.create_task(ask(here.near))
            await asyncio.sleep(1)
            (row,) = await rows(here)
            assert (row.state, row.work) == ("transferring", ["asking 1 question"])
            assert here.far.work == ["answering 1 question"]
            await asking
            (row,) = await rows(here)
            assert (row.state, row.work) == ("idle", [])
            assert row.now_bytes_per_s > 0
            assert row.quality_reason.startswith("direct, ")

    play(scenario())


def test_who_is_dialled_and_who_is_looked_for_are_told_and_not_twice(house):
    async def scenario():
        async with scene(house) as here:
            third = Party(here.one.network, 3)
            here.one.network.freeze()
            dialling = asyncio.create_task(here.one.dial(third))
            await asyncio.sleep(1)
            assert (await rows(here))[1].state == "verifying", "something may be there, and has proven nothing"
            await here.near.ended.wait()
            assert here.near.course.is_lost
            here.reach.keeping.lost(here.near)
            await asyncio.sleep(0)
            told = {row.peer_id: row for row in await rows(here)}
            gone = told[format_peer_id(here.two.peer)]
            assert (gone.state, gone.path, gone.reason) == ("reconnecting", "none", "it stopped answering")
            assert gone.next_try.endswith("Z")
            here.one.network.thaw()
            dialling.cancel()
            await asyncio.gather(dialling, return_exceptions=True)
            assert here.reach.keeping.stop(here.two.peer)
            assert await rows(here) == []
            await third.transport.close()

    play(scenario())


def test_a_dial_is_connecting_until_something_answers_and_the_first_of_several_is_shown():
    attempts, peer = Attempts(), PeerId(b"p" * 32)
    with attempts.begin(peer, 5) as first:
        assert (first.state, first.since_ms) == ("connecting", 5)
        with attempts.begin(peer, 6):
            assert attempts.all() == {peer: first}
    assert attempts.all() == {}


def test_a_dial_to_which_something_answers_is_verifying(house):
    async def scenario():
        async with scene(house) as here:
            third = Party(here.one.network, 3)
            states = []

            async def look():
                while True:
                    states.extend(a.state for a in here.one.sessions.attempts.all().values())
                    await asyncio.sleep(0)

            looking = asyncio.create_task(look())
            async with running(third):
                await here.one.dial(third)
                looking.cancel()
            assert set(states) == {"verifying"}
            assert here.one.sessions.attempts.all() == {}

    play(scenario())


def test_a_person_ends_a_session_and_work_under_way_leaves_the_peer_alone(house):
    async def scenario():
        async with scene(house) as here:
            asking = asyncio.create_task(ask(here.near))
            await asyncio.sleep(1)
            ended = await here.commands.disconnect(DisconnectRequest(peer="alice"), None)
            assert (ended.closed, ended.cut, ended.rest_s) == (True, 0, PARTED_S)
            assert await asking == USAGE
            with pytest.raises(PeerUnreachable, match=HERE):
                await here.reach.session(here.two.peer)
            with pytest.raises(NotFoundError) as told:
                await here.commands.disconnect(DisconnectRequest(peer="alice"), None)
            assert "`backup-peer sessions`" in told.value.hint

    play(scenario())


def test_at_once_says_how_much_was_broken_off(house):
    async def scenario():
        async with scene(house) as here:
            asking = asyncio.create_task(ask(here.near))
            await asyncio.sleep(1)
            ended = await here.commands.disconnect(DisconnectRequest(peer="alice", now=True), None)
            assert (ended.closed, ended.cut) == (True, 1)
            with pytest.raises(PeerUnreachable, match=HERE):
                await asking

    play(scenario())


def test_a_peer_whose_person_ended_it_is_left_alone_and_a_session_that_it_begins_is_used(house):
    async def scenario():
        async with scene(house) as here:
            await here.two.sessions.part(here.one.peer, at_once=False)
            with pytest.raises(PeerUnreachable, match=THERE):
                await here.reach.session(here.two.peer)
            await here.two.dial(here.one)
            session = await here.one.sessions.wait_for(here.two.peer, 5.0)
            assert await here.reach.session(here.two.peer) is session

    play(scenario())


def test_a_search_is_ended_as_a_session_is(house):
    async def scenario():
        async with scene(house) as here:
            here.one.network.freeze()
            await here.near.ended.wait()
            here.reach.keeping.lost(here.near)
            ended = await here.commands.disconnect(DisconnectRequest(peer="alice"), None)
            assert (ended.closed, ended.cut) == (False, 0)
            assert here.reach.keeping.gaps == {}
            here.one.network.thaw()

    play(scenario())
