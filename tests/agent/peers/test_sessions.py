import asyncio
from itertools import islice

import pytest

from agent.loops import play
from agent.parties import ASK, USAGE, Party, ask, by_id, running, two_parties
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, PeerUnreachable, ProtocolViolation
from backuppeer.limits import DEAD_AFTER_S, DIAL_S, REQUEST_STREAMS, SESSIONS_PER_PEER
from backuppeer.transport.memory import Network
from backuppeer.wire.codec import encode
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.handshake import STREAM_OPENER
from backuppeer.wire.messages import GetUsage, Pong, Usage
from backuppeer.wire.session import Handshake, TransportEnds

THIEVES_TOO = SigningKey.from_seed(b"t" * 32)
"""An identity that somebody else has, too."""


def test_two_peers_meet_exchange_hello_and_ask_each_other():
    async def scenario():
        async with two_parties() as (one, two):
            near, far = await one.meet(two)
            assert (near.peer, far.peer) == (two.peer, one.peer)
            assert (near.hello.program, far.hello.program) == ("party 2", "party 1")
            assert await ask(near) == USAGE
            assert await ask(far) == USAGE
            assert one.prepared == two.prepared == 1
            assert one.met == [near]
            assert two.met == [far]
            assert one.faults == two.faults == []

    play(scenario())


def test_a_second_dial_gives_the_same_session():
    async def scenario():
        async with two_parties() as (one, two):
            sessions = await asyncio.gather(*(one.dial(two) for _ in range(5)))
            assert len(set(map(id, sessions))) == 1
            assert len(two.met) == 1

    play(scenario())


def test_a_stranger_is_turned_away_with_the_code_that_tells_nothing():
    async def scenario():
        network = Network()
        stranger, host = Party(network, 1), Party(network, 2)
        host.answers = False
        async with running(stranger, host):
            with pytest.raises(PeerUnreachable):
                await stranger.dial(host)
            assert host.met == stranger.met == []
            assert host.sessions.all() == stranger.sessions.all() == []

    play(scenario())


def test_a_stranger_sees_no_byte_of_the_identity_it_probes():
    async def scenario():
        network = Network()
        host = Party(network, 2)
        host.answers = False
        probe = network.join(b"p" * 32)
        async with running(host):
            heard = await probe_with_own_proof(probe, host)
            assert heard.info.code == CloseCode.REJECTED
            assert heard.info.reason == ""
            assert host.peer not in heard.data
            assert host.identity.public[:8] not in heard.data

    class Heard:
        def __init__(self):
            self.data, self.info = bytearray(), None

    async def probe_with_own_proof(probe, host):
        heard = Heard()
        connection = await probe.dial(host.transport.transport_id, host.transport.addresses())
        ends = TransportEnds(dialler=probe.transport_id, acceptor=connection.remote)
        own = SigningKey.from_seed(b"s" * 32)
        handshake = Handshake.dial(own, host.peer, ends=ends, learned=host.transport.transport_id)
        stream = await connection.open_stream()
        await stream.write(handshake.start())
        try:
            while data := await stream.read(handshake.wanted_bytes()):
                heard.data += data
                if reply := handshake.receive(data):
                    await stream.write(reply)
        except PeerUnreachable:
            pass
        await connection.wait_closed()
        heard.info = connection.close_info
        return heard

    play(scenario())


def test_somebody_else_at_the_address_of_a_peer_is_refused():
    async def scenario():
        network = Network()
        one, two, other = Party(network, 1), Party(network, 2), Party(network, 3)
        async with running(one, two, other):
            with pytest.raises((AuthenticationFault, PeerUnreachable)):
                await one.dial(two, through=other.transport)
            assert one.sessions.all() == other.sessions.all() == []

    play(scenario())


async def pump(source, target):
    try:
        while data := await source.read(65536):
            await target.write(data)
    except PeerUnreachable:
        return


async def relay(middle, victim, count):
    """Pass every byte of the first stream between whoever dials `middle` and `victim`, unchanged."""
    near = await middle.accept()
    far = await middle.dial(victim.transport.transport_id, victim.transport.addresses())
    inner, outer = await near.accept_stream(), await far.open_stream()
    both = [asyncio.create_task(pump(inner, outer)), asyncio.create_task(pump(outer, inner))]
    await far.wait_closed()
    await near.close(far.close_info.code, "")
    await asyncio.gather(*both)
    count.append(near.received_bytes)


def test_a_man_in_the_middle_that_relays_every_byte_is_refused():
    async def scenario():
        network = Network()
        one, two = Party(network, 1), Party(network, 2)
        middle = network.join(b"m" * 32)
        passed = []
        async with running(one, two):
            relaying = asyncio.create_task(relay(middle, two, passed))
            with pytest.raises((AuthenticationFault, PeerUnreachable)):
                await one.dial(two, through=middle)
            await relaying
            assert passed[0] > len(STREAM_OPENER) + 100, "the proof itself was relayed, or the test shows nothing"
            assert one.met == two.met == []

    play(scenario())


@pytest.mark.parametrize("delay", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(12))
def test_two_that_dial_each_other_at_once_end_with_one_session_and_it_works(seed, delay):
    async def scenario():
        network = Network(seed)
        network.weather.delay_s = delay
        small, large = by_id(network)
        async with running(small, large):
            near, far = await asyncio.gather(small.dial(large), large.dial(small))
            for session in (near, far):
                if not session.is_open:
                    await session.ended.wait()
            await asyncio.sleep(5.0)  # virtual: whatever is still being said has been said
            kept, other = small.sessions.get(large.peer), large.sessions.get(small.peer)
            assert kept.connection.is_dialler, "the connection that the smaller id dialled stays"
            assert not other.connection.is_dialler
            assert await ask(kept) == USAGE
            assert await ask(other) == USAGE
            assert small.faults == large.faults == []

    play(scenario())


@pytest.mark.parametrize("dialler_is_smaller", [True, False])
def test_a_peer_that_lost_its_connection_unnoticed_by_us_gets_a_new_one(dialler_is_smaller):
    async def scenario():
        network = Network()
        small, large = by_id(network)
        lost, kept = (small, large) if dialler_is_smaller else (large, small)
        async with running(lost, kept):
            await lost.dial(kept)
            stale = await kept.sessions.wait_for(lost.peer, 5.0)
            # The process is gone and came back: same keys, no memory of the connection.
            lost.sessions._open.clear()
            fresh = await lost.dial(kept)
            assert await ask(fresh) == USAGE
            await stale.ended.wait()
            assert kept.sessions.get(lost.peer) is not stale
            assert await ask(kept.sessions.get(lost.peer)) == USAGE

    play(scenario())


def test_a_peer_that_dials_long_after_the_session_began_has_lost_it_whoever_dialled_then():
    async def scenario():
        network = Network()
        small, large = by_id(network)
        async with running(small, large):
            await small.dial(large)
            stale = await large.sessions.wait_for(small.peer, 5.0)
            held = small.sessions.get(large.peer)
            await asyncio.sleep(60.0)  # virtual
            large.sessions._open.clear()
            fresh = await large.dial(small)
            await held.ended.wait()
            await stale.ended.wait()
            assert await ask(fresh) == USAGE
            assert await ask(small.sessions.get(large.peer)) == USAGE

    play(scenario())


def test_a_protocol_violation_on_a_request_stream_closes_the_session_and_is_reported():
    async def scenario():
        async with two_parties() as (one, two):
            near, far = await one.meet(two)
            stream = await near.connection.open_stream()
            await stream.write(b"\xff" * 64)
            await far.ended.wait()
            await near.ended.wait()
            ((culprit, error),) = two.faults
            assert culprit == one.peer
            assert isinstance(error, ProtocolViolation)
            assert near.connection.close_info.code == CloseCode.VIOLATION
            assert two.sessions.all() == []

    play(scenario())


def test_a_violation_on_the_control_stream_closes_the_session_and_is_reported():
    async def scenario():
        async with two_parties() as (one, two):
            near, far = await one.meet(two)
            await near._stream.write(b"\xff" * 64)
            await far.ended.wait()
            assert [peer for peer, _ in two.faults] == [one.peer]

    play(scenario())


def test_lost_connections_end_sessions_without_blame_and_a_new_dial_works():
    async def scenario():
        async with two_parties() as (one, two):
            first, far = await one.meet(two)
            one.network.lose_connections()
            await first.ended.wait()
            await far.ended.wait()
            second = await one.dial(two)
            assert second is not first
            assert await ask(second) == USAGE
            assert one.faults == two.faults == []

    play(scenario())


def test_no_more_requests_than_allowed_are_served_at_once():
    async def scenario():
        running_now, most, go = [0], [0], asyncio.Event()

        async def serve(_, channel):
            await channel.receive(GetUsage)
            running_now[0] += 1
            most[0] = max(most[0], running_now[0])
            await go.wait()
            running_now[0] -= 1
            await channel.send(USAGE)
            await channel.finish()
            await channel.wait_end()

        async with two_parties(serve=serve) as (one, two):
            session = await one.dial(two)
            asking = [asyncio.create_task(ask(session)) for _ in range(3 * REQUEST_STREAMS)]
            await asyncio.sleep(1.0)  # virtual
            assert most[0] == REQUEST_STREAMS
            go.set()
            assert await asyncio.gather(*asking) == [USAGE] * len(asking)
            assert most[0] == REQUEST_STREAMS

    play(scenario())


def test_goodbye_closes_on_both_sides():
    async def scenario():
        async with two_parties() as (one, two):
            _, far = await one.meet(two)
            assert await one.sessions.close(two.peer)
            await far.ended.wait()
            assert one.sessions.all() == two.sessions.all() == []
            assert not await one.sessions.close(two.peer)

    play(scenario())


def test_waiting_for_a_peer_that_never_comes_ends():
    async def scenario():
        network = Network()
        one, two = Party(network, 1), Party(network, 2)
        async with running(one):
            assert await one.sessions.wait_for(two.peer, 3.0) is None

    play(scenario())


def test_an_answer_out_of_place_is_a_violation_of_the_server():
    async def scenario():
        async def serve(_, channel):
            await channel.receive(GetUsage)
            await channel._stream.write(encode(Pong()))

        async with two_parties(serve=serve) as (one, two):
            session = await one.dial(two)
            with pytest.raises(ProtocolViolation):
                await ask(session)

    play(scenario())


def test_a_peer_that_dials_again_and_again_and_ends_nothing_has_a_bounded_number_of_sessions(monkeypatch):
    async def scenario():
        network = Network()
        host = Party(network, 2)
        thieves = [deaf_thief(network, 10 + number, monkeypatch) for number in range(30)]
        most = watch_crowd(host, monkeypatch)
        async with running(host, *thieves):
            await asyncio.gather(*(thief.dial(host) for thief in thieves), return_exceptions=True)
            assert len(host.met) == len(thieves), "each came in, in place of one that was ending"
            assert most[0] == SESSIONS_PER_PEER
            assert len(host.sessions.all()) == 1
            await asyncio.sleep(1.0)  # virtual: what was closed has ended
            assert sum(not session.ended.is_set() for session in host.met) == SESSIONS_PER_PEER, "not only uncounted"
            await asyncio.sleep(2 * DIAL_S)  # virtual: those that had to go have gone, and the last was deaf
            assert host.sessions._crowd.count(thieves[0].peer) == 0
            assert host.faults == []

    play(scenario())


def test_a_thief_of_an_identity_that_dials_on_and_on_does_not_keep_the_owner_out(monkeypatch):
    async def scenario():
        network = Network()
        host = Party(network, 2)
        thieves = [deaf_thief(network, 10 + number, monkeypatch) for number in range(40)]
        most = watch_crowd(host, monkeypatch)
        async with running(host, *thieves):
            waiting = iter(thieves)
            for number in range(8):
                for thief in islice(waiting, 5):
                    await thief.dial(host)
                    await asyncio.sleep(0.25)  # virtual: four a second
                owner = Party(network, 60 + number, identity=THIEVES_TOO)
                async with running(owner):
                    assert await ask(await owner.dial(host)) == USAGE
            assert most[0] == SESSIONS_PER_PEER, "it was full all the while, or the test shows nothing"
            assert host.faults == []

    play(scenario())


@pytest.mark.parametrize("asks_too", [False, True])
def test_what_the_owner_has_under_way_is_not_broken_off_by_a_thief_who_dials_on_and_on(monkeypatch, asks_too):
    async def answer_slowly(peer, channel):
        await channel.receive(GetUsage)
        await asyncio.sleep(60.0)  # virtual: a pack over a slow line
        await channel.send(USAGE)
        await channel.finish()
        await channel.wait_end()

    async def read(session):
        async with session.request(ASK) as channel:
            return await channel.receive(Usage, timeout_s=None)

    async def scenario():
        network = Network()
        host, owner = Party(network, 2, serve=answer_slowly), Party(network, 1, identity=THIEVES_TOO)
        numbers = range(10, 40)
        thieves = [
            # One that has something under way must answer, or it is found dead.
            Party(network, number, identity=THIEVES_TOO) if asks_too else deaf_thief(network, number, monkeypatch)
            for number in numbers
        ]
        async with running(host, owner, *thieves):
            reading = [asyncio.create_task(read(await owner.dial(host)))]
            for thief in thieves:
                await asyncio.sleep(1.5)  # virtual
                session = await thief.dial(host)
                if asks_too:
                    reading.append(asyncio.create_task(read(session)))
            assert await reading[0] == USAGE
            assert host.sessions._crowd.count(owner.peer) <= SESSIONS_PER_PEER
            await asyncio.gather(*reading[1:], return_exceptions=True)
            assert host.faults == []

    play(scenario())


def test_a_peer_that_was_killed_in_the_middle_is_found_dead_at_once_when_it_dials_again(monkeypatch):
    async def answer_never(peer, channel):
        await channel.receive(GetUsage)
        await asyncio.Event().wait()

    async def scenario():
        network = Network()
        host, owner = Party(network, 2, serve=answer_never), Party(network, 1)
        async with running(host, owner):
            near, far = await owner.meet(host)
            asking = asyncio.create_task(ask(near))
            await asyncio.sleep(1.0)  # virtual
            # Killed: nobody answers upon the old connection any more, and nothing says so.
            monkeypatch.setattr(near, "say", never)
            owner.sessions._open.clear()
            await asyncio.sleep(DIAL_S)
            began_s = asyncio.get_running_loop().time()
            await owner.dial(host)
            await far.ended.wait()
            assert asyncio.get_running_loop().time() - began_s < DEAD_AFTER_S / 2
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    play(scenario())


async def never(_):
    await asyncio.Event().wait()


def deaf_thief(network, number, monkeypatch):
    """Return a party of one identity, deaf to every goodbye: its connection is never closed by it."""

    thief = Party(network, number, identity=THIEVES_TOO)
    monkeypatch.setattr(thief.sessions, "_control_loop", never)
    return thief


def watch_crowd(host, monkeypatch):
    """Return a list whose one number is the most sessions that a peer had at once."""
    crowd, most = host.sessions._crowd, [0]
    enter = crowd.enter

    def entering(newcomer, current):
        ending = enter(newcomer, current)
        most[0] = max(most[0], crowd.count(newcomer.peer))
        return ending

    monkeypatch.setattr(crowd, "enter", entering)
    return most


def test_a_host_is_met_under_the_name_of_before_and_its_own_at_once_each_with_what_is_said_there():
    async def scenario():
        network = Network()
        owner, other, host, before = (Party(network, index) for index in (1, 2, 3, 4))
        before.may_answer = lambda peer: peer == owner.peer
        host.sessions.former = (before.sessions,)
        where = host.transport
        async with running(owner, other, host):
            old, new = [
                await owner.sessions.dial(name, where.transport_id, where.addresses())
                for name in (before.peer, host.peer)
            ]
            assert (old.hello.program, new.hello.program) == ("party 4", "party 3")
            assert (await ask(old), await ask(new)) == (USAGE, USAGE)
            assert (old.is_open, new.is_open) == (True, True), "neither takes the place of the other"
            assert ([one.peer for one in before.met], [one.peer for one in host.met]) == ([owner.peer], [owner.peer])
            with pytest.raises(PeerUnreachable):
                await other.sessions.dial(before.peer, where.transport_id, where.addresses())
        assert before.sessions.all() == [], "closed with those of the home"
        await before.transport.close()

    play(scenario())
