import asyncio

import pytest

from agent.loops import play
from agent.parties import ASK, USAGE, Party, ask, running, two_parties
from backuppeer.errors import PeerUnreachable
from backuppeer.limits import DEAD_AFTER_S, HANDSHAKE_S, IDLE_CLOSE_S, UNPROVEN_CONNECTIONS
from backuppeer.transport.memory import Network
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.messages import GetUsage, Pong, Usage


def test_a_frozen_peer_ends_the_session_after_the_silence_allowed():
    async def scenario():
        async with two_parties() as (one, two):
            session = await one.dial(two)
            one.network.freeze()
            begun = asyncio.get_running_loop().time()
            await session.ended.wait()
            took = asyncio.get_running_loop().time() - begun
            assert DEAD_AFTER_S <= took <= DEAD_AFTER_S + 1
            assert not session.is_open
            assert session.state == "closed"
            assert one.sessions.get(two.peer) is None
            assert one.faults == [], "silence is weather, not a fault"
            with pytest.raises(PeerUnreachable):
                await ask(session)
            one.network.thaw()

    play(scenario())


def test_a_request_that_a_frozen_peer_leaves_open_ends_with_words_that_a_person_understands():
    async def scenario():
        async with two_parties() as (one, two):
            session = await one.dial(two)
            one.network.freeze()
            for _ in range(2):  # while it is open, and afterwards
                with pytest.raises(PeerUnreachable, match="it stopped answering"):
                    await ask(session)
            one.network.thaw()

    play(scenario())


def test_a_session_that_is_alive_but_unused_is_kept_until_idle_then_closed_on_both_sides():
    async def scenario():
        async with two_parties() as (one, two):
            near, far = await one.meet(two)
            await asyncio.sleep(IDLE_CLOSE_S - 1)  # virtual
            assert near.is_open
            assert far.is_open
            await near.ended.wait()
            await far.ended.wait()
            assert one.sessions.all() == two.sessions.all() == []
            assert one.faults == two.faults == []

    play(scenario())


def test_a_request_in_flight_keeps_an_idle_session_open():
    async def scenario():
        go = asyncio.Event()

        async def serve_late(_, channel):
            await channel.receive(GetUsage)
            await go.wait()
            await channel.send(USAGE)
            await channel.finish()
            await channel.wait_end()

        async with two_parties(serve=serve_late) as (one, two):
            session = await one.dial(two)
            async with session.request(ASK) as channel:
                assert session.state == "transferring"
                await asyncio.sleep(2 * IDLE_CLOSE_S)  # virtual
                assert session.is_open
                go.set()
                assert await channel.receive(Usage) == USAGE
            assert session.state == "idle"

    play(scenario())


def test_a_connection_that_says_nothing_is_closed_after_the_handshake_time():
    async def scenario():
        network = Network()
        host, silent = Party(network, 1), network.join(b"q" * 32)
        async with running(host):
            connection = await silent.dial(host.transport.transport_id, host.transport.addresses())
            await connection.wait_closed()
            assert connection.close_info.code == CloseCode.REJECTED
            assert asyncio.get_running_loop().time() == pytest.approx(HANDSHAKE_S)

    play(scenario())


def test_only_so_many_connections_may_be_silent_at_once_however_they_come():
    async def scenario():
        network = Network()
        host = Party(network, 1)
        async with running(host):

            async def knock(count):
                found = []
                for _ in range(count):
                    silent = network.join(len(connections).to_bytes(32, "big"))
                    found.append(await silent.dial(host.transport.transport_id, host.transport.addresses()))
                    connections.append(found[-1])
                await asyncio.sleep(0.1)  # virtual
                return [c.close_info.code for c in found if c.close_info is not None]

            connections = []
            assert await knock(UNPROVEN_CONNECTIONS - 1) == []
            # Those that come in one go must not pass the door together.
            assert await knock(5) == [CloseCode.REJECTED] * 4
            await asyncio.sleep(HANDSHAKE_S)  # virtual
            assert all(c.close_info is not None for c in connections)
            assert await knock(UNPROVEN_CONNECTIONS) == [], "places are free again"

    play(scenario())


def test_who_reads_nothing_of_what_is_said_to_it_is_given_up():
    async def scenario():
        async with two_parties() as (one, two):
            near, far = await one.meet(two)
            near.hear = asyncio.Event().wait  # after the message that it waits for now
            one.network.weather.window_bytes = 1000
            pongs = [far.say(Pong(number=2**63 - 1)) for _ in range(100)]
            with pytest.raises(PeerUnreachable, match="reads nothing"):
                await asyncio.gather(*pongs)
            await far.ended.wait()

    play(scenario())
