"""Caps on what is sent and received: kept to, shared by sessions, changed while bytes move (ADR 88)."""

import asyncio
import gc
import threading
import time
import weakref

import pytest

from agent.loops import SetClock, VirtualClock, play
from agent.parties import Party, running
from backuppeer.agent.home.bandwidth import Caps
from backuppeer.agent.peers.rates import Rates, choose_caps
from backuppeer.clock import SystemClock
from backuppeer.ids import AgreementId, PeerId, StoredId
from backuppeer.limits import BANDWIDTH_LOOK_S, MIB
from backuppeer.transport.memory import Network
from backuppeer.wire.messages import GetRange, Proceed, PutPack, Range, Stored

ASK = GetRange(agreement=AgreementId(b"a" * 16), stored=StoredId(b"s" * 32), first_leaf=0, leaves=1)
PUT = PutPack(agreement=AgreementId(b"a" * 16), stored=StoredId(b"s" * 32), size=MIB)
MB = 1_000_000
PEER = PeerId(b"p" * 32)


class Meter:
    """Counts what a session brings, in virtual time."""

    def __init__(self) -> None:
        self.bytes = 0

    async def read(self, session, *, size: int = 96 * MIB) -> None:
        async with session.request(ASK, bulk=True) as channel:
            await channel.receive(Range)
            async for piece in channel.receive_raw(size):
                self.bytes += len(piece)


async def give(_, channel, size: int = 96 * MIB) -> None:
    await channel.receive(GetRange)
    await channel.send(Range(size=MIB, pack_bytes=MIB))
    await channel.send_raw(bytes(size))


def say(**caps):
    return lambda: Caps(**caps)


async def move(*work, seconds: float) -> None:
    """Let transfers go on for a while."""
    tasks = [asyncio.create_task(each) for each in work]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(("of_host", "caps"), [(False, {"down": MB}), (True, {"up": MB}), (True, {"host_up": MB})])
def test_a_cap_holds_on_either_side(of_host, caps):
    async def scenario():
        network = Network()
        owner, host = Party(network, 1), Party(network, 2, serve=give)
        (host if of_host else owner).sessions.rates.read = say(**caps)
        async with running(owner, host):
            meter = Meter()
            session, _ = await owner.meet(host)
            await move(meter.read(session), seconds=20)
            # What the network has taken and the reader has not is counted by the sender alone.
            assert 18 * MB <= meter.bytes <= 22 * MB

    play(scenario())


def test_what_a_host_gives_has_a_cap_apart_from_what_is_its_own():
    async def scenario():
        network = Network()
        both, peer = Party(network, 1, serve=give), Party(network, 2, serve=give)
        both.sessions.rates.read = say(up=4 * MB, down=2 * MB, host_up=MB)
        async with running(both, peer):
            ours, theirs = await both.meet(peer)
            own, hosted = Meter(), Meter()
            await move(own.read(ours), hosted.read(theirs), seconds=10)
            assert own.bytes == pytest.approx(20 * MB, rel=0.1)
            assert hosted.bytes == pytest.approx(10 * MB, rel=0.1)

    play(scenario())


def test_sessions_have_equal_shares_whatever_they_have_under_way():
    async def scenario():
        network = Network()
        owner, one, two = Party(network, 1), Party(network, 2, serve=give), Party(network, 3, serve=give)
        owner.sessions.rates.read = say(down=4 * MB)
        async with running(owner, one, two):
            (first, _), (second, _) = await owner.meet(one), await owner.meet(two)
            many, few = Meter(), Meter()
            await move(*(many.read(first) for _ in range(4)), few.read(second), seconds=20)
            assert many.bytes + few.bytes == pytest.approx(80 * MB, rel=0.05)
            assert many.bytes == pytest.approx(few.bytes, rel=0.15)

    play(scenario())


def test_a_changed_cap_holds_while_bytes_move():
    async def scenario():
        network = Network()
        owner, host = Party(network, 1), Party(network, 2, serve=give)
        owner.sessions.rates.read = say(down=MB)
        async with running(owner, host):
            session, _ = await owner.meet(host)
            meter = Meter()
            reading = asyncio.create_task(meter.read(session))
            await asyncio.sleep(10)
            owner.sessions.rates.read, before = say(down=3 * MB), meter.bytes
            await asyncio.sleep(10)
            assert meter.bytes - before >= 25 * MB
            owner.sessions.rates.read, before = say(down=MB // 2), meter.bytes
            await asyncio.sleep(10)
            assert meter.bytes - before <= 5 * MB + 3 * MB * (BANDWIDTH_LOOK_S + 1)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    play(scenario())


def test_with_a_low_cap_few_packs_go_at_once_and_each_arrives():
    async def take(_, channel) -> None:
        message = await channel.receive(PutPack)
        await channel.send(Proceed())
        async for _piece in channel.receive_raw(message.size):
            pass
        await channel.send(Stored())

    async def put(session) -> None:
        async with session.request(PUT, bulk=True) as channel:
            await channel.receive(Proceed)
            await channel.send_raw(bytes(MIB))
            await channel.receive(Stored)

    async def scenario():
        network = Network()
        owner, host = Party(network, 1), Party(network, 2, serve=take)
        owner.sessions.rates.read = say(up=100_000)
        async with running(owner, host):
            session, _ = await owner.meet(host)
            puts = [asyncio.create_task(put(session)) for _ in range(7)]
            given_up = asyncio.create_task(put(session))
            await asyncio.sleep(1)
            assert session.in_flight == 8
            given_up.cancel()
            await asyncio.gather(*puts)
            assert asyncio.get_running_loop().time() >= 7 * MIB / 100_000 - 1

    play(scenario())


def test_a_cap_that_is_lifted_lets_everybody_in():
    async def scenario():
        rates = Rates(VirtualClock())
        rates.read = say(up=100_000)
        entered, leave = [], asyncio.Event()

        async def work(number):
            async with rates.turn():
                entered.append(number)
                if number:
                    await leave.wait()
                else:
                    await asyncio.sleep(5)

        tasks = [asyncio.create_task(work(number)) for number in range(6)]
        await asyncio.sleep(1)
        assert entered == [0, 1]
        rates.read = say()
        await asyncio.sleep(6)
        assert entered == [0, 1, 2, 3, 4, 5]
        leave.set()
        await asyncio.gather(*tasks)

    play(scenario())


def test_what_was_not_used_is_made_up_for_a_moment_at_most():
    clock = SetClock()
    rates = Rates(clock)
    rates.read = say(up=MB)
    up = rates.share(PEER)[0].up
    assert up.most() == 125_000
    clock.ms += 3_600_000
    assert up.owe(250_000).rest_s() == 0
    assert up.owe(500_000).rest_s() == pytest.approx(0.5)


def test_a_stream_that_ends_leaves_the_line_to_the_others():
    clock = SetClock()
    rates = Rates(clock)
    rates.read = say(up=MB)
    up = rates.share(PEER)[0].up
    rates.look()
    first, second, third = (up.owe(size) for size in (350_000, 10**9, 100_000))
    assert first.rest_s() == pytest.approx(0.1)
    assert third.rest_s() == pytest.approx(0.1), "it looks again when the first is paid"
    second.drop()
    clock.ms += 101
    assert first.rest_s() == 0
    assert third.rest_s() == pytest.approx(0.1, abs=0.002)
    rates.read = say()
    rates.look(at_once=True)
    assert third.rest_s() == 0, "no cap, no line"


def test_a_peer_with_many_sessions_has_one_share_and_another_waits_for_one_piece_of_it():
    rates = Rates(SetClock())
    rates.read = say(up=MB)
    rates.look()
    crowd = [rates.share(PEER) for _ in range(8)]
    pieces = [as_host.up.owe(350_000) for _, as_host in crowd]
    assert [piece.rest_s() for piece in pieces] == [pytest.approx(0.1)] * 8
    assert rates.share(PeerId(b"q" * 32))[1].up.owe(100_000).rest_s() == pytest.approx(0.2)


def test_each_session_has_the_share_of_its_peer():
    async def scenario():
        network = Network()
        owner, host = Party(network, 1), Party(network, 2)
        async with running(owner, host):
            _, theirs = await owner.meet(host)
            assert (theirs.lanes.as_owner, theirs.lanes.as_host) == host.sessions.rates.share(theirs.peer)

    play(scenario())


def test_a_share_goes_with_the_last_session_of_its_peer():
    rates = Rates(SetClock())
    first, again = rates.share(PEER), rates.share(PEER)
    assert first[0] is again[0]
    assert first[1] is again[1]
    kept = [weakref.ref(brakes) for brakes in first]
    del first, again
    gc.collect()
    assert [ref() for ref in kept] == [None, None]


def test_without_caps_nothing_is_counted_and_no_clock_looked_at():
    owner, host = Rates(None).share(PEER)
    assert (owner.up.most(), owner.down.most(), host.up.most(), host.down.most()) == (0, 0, 0, 0)


def test_a_cap_says_for_whom_it_holds():
    rates = Rates(SystemClock())
    rates.read = say(up=MB, down=2 * MB, host_down=0, until_ms=5)
    caps = rates.list_caps()
    assert [(cap.role, cap.direction, cap.bytes_per_s, cap.until_ms) for cap in caps] == [
        ("all", "up", MB, 5),
        ("own", "down", 2 * MB, 5),
    ]
    assert [cap.role for cap in choose_caps(caps, as_owner=False, as_host=True)] == ["all"]
    assert choose_caps(caps, as_owner=False, as_host=False) == []


def test_threads_that_share_a_cap_keep_to_it_together():
    rates = Rates(SystemClock())
    rates.read = say(up=8 * MB)

    def send(peer: PeerId) -> None:
        up = rates.share(peer)[0].up
        for _ in range(8):
            up.most()
            piece = up.owe(100_000)
            while (rest_s := piece.rest_s()) > 0:
                threading.Event().wait(rest_s)

    begun_s = time.monotonic()
    threads = [threading.Thread(target=send, args=(PeerId(bytes([number]) * 32),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun_s >= 40 * 100_000 / (8 * MB) - 0.25 - 0.01
