import asyncio
import os

import pytest

from backuppeer.errors import PeerUnreachable
from backuppeer.limits import CLOSE_REASON_BYTES, UNPROVEN_CONNECTIONS
from backuppeer.transport.base import LOST_CODE
from backuppeer.transport.memory import Network, Weather


async def join_streams(network):
    acceptor, dialler = network.join(os.urandom(32)), network.join(os.urandom(32))
    near = await dialler.dial(acceptor.transport_id, acceptor.addresses())
    far = await acceptor.accept()
    stream = await near.open_stream()
    await stream.write(b"o")
    peer = await far.accept_stream()
    await peer.read_exact(1)
    return near, far, stream, peer


async def count_until_lost(peer):
    count = 0
    while True:
        try:
            count += len(await peer.read(1000))
        except PeerUnreachable:
            return count


async def write_until_lost(stream):
    while True:
        await stream.write(os.urandom(1000))


@pytest.mark.parametrize("cut", [1, 2, 999, 70_000])
def test_a_cut_loses_the_connection_at_exactly_that_byte(cut):
    async def scenario():
        network = Network(weather=Weather(cut_after_bytes=cut + 1))
        near, far, stream, _peer = await join_streams(network)
        with pytest.raises(PeerUnreachable):
            await write_until_lost(stream)
        assert near.close_info is not None
        assert far.close_info is not None
        assert near.close_info.code == far.close_info.code == LOST_CODE
        assert far._link._passed_bytes <= cut + 1

    asyncio.run(scenario())


def test_the_same_seed_loses_the_connection_at_the_same_place():
    async def sent_before_loss(seed):
        network = Network(seed, weather=Weather(loss=0.0))
        near, _, stream, peer = await join_streams(network)
        network.weather.loss = 0.05
        reading = asyncio.ensure_future(count_until_lost(peer))
        with pytest.raises(PeerUnreachable):
            await write_until_lost(stream)
        await reading
        return near.sent_bytes

    results = [asyncio.run(sent_before_loss(seed)) for seed in (1, 1, 2, 3, 4)]
    assert results[0] == results[1]
    assert len(set(results)) > 1


def test_delay_keeps_the_order_of_bytes():
    async def scenario():
        _, _, stream, peer = await join_streams(Network(7, weather=Weather(delay_s=0.002)))
        data = os.urandom(500_000)

        async def send():
            for start in range(0, len(data), 7000):
                await stream.write(data[start : start + 7000])
            await stream.finish()

        received = bytearray()
        sending = asyncio.ensure_future(send())
        while piece := await peer.read(100_000):
            received += piece
        await sending
        assert bytes(received) == data

    asyncio.run(scenario())


def test_a_frozen_network_passes_nothing_and_tells_nobody():
    async def scenario():
        network = Network()
        near, far, stream, peer = await join_streams(network)
        network.freeze()
        await stream.write(b"later")
        reading = asyncio.ensure_future(peer.read(10))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not reading.done()
        assert near.close_info is far.close_info is None
        network.thaw()
        assert await reading == b"later"

    asyncio.run(scenario())


def test_connections_of_one_endpoint_can_be_lost_and_it_can_be_offline():
    async def scenario():
        network = Network()
        one, two, three = [network.join(os.urandom(32)) for _ in range(3)]
        first = await one.dial(two.transport_id, two.addresses())
        second = await three.dial(two.transport_id, two.addresses())
        network.lose_connections(one)
        assert first.close_info is not None
        assert second.close_info is None
        two.is_offline = True
        with pytest.raises(PeerUnreachable):
            await one.dial(two.transport_id, two.addresses())

    asyncio.run(scenario())


def test_the_reason_of_a_close_is_cut():
    async def scenario():
        near, far, _stream, _peer = await join_streams(Network())
        await near.close(5, "x" * (CLOSE_REASON_BYTES + 1))
        assert await far.wait_closed() == "x" * CLOSE_REASON_BYTES

    asyncio.run(scenario())


def test_connections_that_nobody_takes_are_limited():
    async def scenario():
        network = Network()
        acceptor, dialler = network.join(os.urandom(32)), network.join(os.urandom(32))
        for _ in range(UNPROVEN_CONNECTIONS):
            await dialler.dial(acceptor.transport_id, acceptor.addresses())
        with pytest.raises(PeerUnreachable, match="refused"):
            await dialler.dial(acceptor.transport_id, acceptor.addresses())

    asyncio.run(scenario())
