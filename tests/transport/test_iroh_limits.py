"""The times and sizes an endpoint allows, in virtual time and with what stands for iroh's objects."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.loops import play
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import TransportId
from backuppeer.limits import (
    CLOSE_REASON_BYTES,
    DIAL_S,
    ENDPOINT_CLOSE_S,
    HANDSHAKE_S,
    PEER_ADDRESSES,
    STRANGER_BYTES,
    STRANGER_LOOK_S,
)
from backuppeer.transport.iroh.connection import IrohConnection, parse_close
from backuppeer.transport.iroh.endpoint import IrohTransport, _well_formed, close_endpoint

PEER = TransportId(b"p" * 32)


async def never(*_args):
    await asyncio.Event().wait()


class Quic:
    """Stands for iroh's connection: `brought` bytes came, nobody reads them."""

    def __init__(self, brought=0):
        self.brought, self.looks, self.closed_with = brought, 0, None

    def remote_id(self):
        return SimpleNamespace(to_bytes=lambda: PEER)

    def close_reason(self):
        return None

    def close(self, code, reason):
        self.closed_with = (code, reason)

    def stats(self):
        self.looks += 1
        return SimpleNamespace(udp_rx_bytes=self.brought)


@pytest.fixture
def transport():
    """An endpoint without sockets, on which nothing ever answers."""
    made = object.__new__(IrohTransport)
    made._endpoint, made._id = object(), TransportId(b"o" * 32)
    made._connect = never
    return made


def test_a_dial_that_nobody_answers_ends_after_its_time(transport):
    async def scenario():
        with pytest.raises(PeerUnreachable, match="within 10 s"):
            await transport.dial(PEER, ["192.0.2.1:5"])
        assert asyncio.get_running_loop().time() == DIAL_S

    play(scenario())


def test_a_stranger_that_does_not_finish_the_handshake_of_quic_is_dropped_after_its_time(transport):
    async def scenario():
        await transport._shake_hands(SimpleNamespace(accept=never))
        assert asyncio.get_running_loop().time() == HANDSHAKE_S

    play(scenario())


def test_a_stranger_that_brings_what_it_may_is_watched_until_the_handshake_must_be_over():
    async def scenario():
        quic = Quic(STRANGER_BYTES)
        await IrohConnection(quic, is_dialler=False).guard()
        assert quic.closed_with is None
        assert asyncio.get_running_loop().time() == pytest.approx(HANDSHAKE_S, abs=2 * STRANGER_LOOK_S)
        assert quic.looks == pytest.approx(HANDSHAKE_S / STRANGER_LOOK_S, abs=2)

    play(scenario())


def test_a_stranger_that_brings_a_byte_more_is_cut_at_the_first_look():
    async def scenario():
        quic = Quic(STRANGER_BYTES + 1)
        await IrohConnection(quic, is_dialler=False).guard()
        assert quic.closed_with == (1, b"")
        assert quic.looks == 1

    play(scenario())


def test_an_endpoint_that_does_not_close_is_left_after_its_time():
    async def scenario():
        await close_endpoint(SimpleNamespace(close=never))
        assert asyncio.get_running_loop().time() == ENDPOINT_CLOSE_S

    play(scenario())


def test_only_the_first_addresses_of_a_peer_are_dialled():
    many = [f"192.0.2.{n}:5" for n in range(1, PEER_ADDRESSES + 3)]
    assert _well_formed(many) == many[:PEER_ADDRESSES]


def test_the_reason_of_a_close_is_cut_on_both_ways():
    async def scenario():
        quic = Quic()
        await IrohConnection(quic, is_dialler=True).close(5, "x" * (CLOSE_REASON_BYTES + 1))
        assert quic.closed_with == (5, b"x" * CLOSE_REASON_BYTES)

    play(scenario())
    told = parse_close(f"closed by peer: {'x' * (CLOSE_REASON_BYTES + 1)} (code 5)")
    assert told.reason == "x" * CLOSE_REASON_BYTES
