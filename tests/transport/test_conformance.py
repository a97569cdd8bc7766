"""What every transport must do (transport.base), run against iroh and lanes on loopback and the network in memory."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, PeerUnreachable, ProtocolViolation, Unavailable
from backuppeer.transport.addresses import format_address
from backuppeer.transport.base import Connection, PathKind, Stream, Transport
from backuppeer.transport.iroh import open_iroh
from backuppeer.transport.iroh.endpoint import IrohTransport
from backuppeer.transport.memory import Network
from transport.laned import LanedTransport

GUARD_S = 30.0
"""Nothing below waits for this; it only turns a hang into a failure."""
MIB = 1024 * 1024


@dataclass
class World:
    """Opens endpoints of one kind and closes them at the end."""

    open: Callable[[bytes], Awaitable[Transport]]
    dead_address: str

    async def pair(self) -> tuple[Connection, Connection]:
        acceptor = await self.open(os.urandom(32))
        dialler = await self.open(os.urandom(32))
        near, far = await asyncio.gather(
            dialler.dial(acceptor.transport_id, acceptor.addresses()),
            acceptor.accept(),
        )
        return near, far

    async def streams(self) -> tuple[Connection, Connection, Stream, Stream]:
        near, far = await self.pair()
        stream = await near.open_stream()
        await stream.write(b"o")
        peer = await far.accept_stream()
        assert await peer.read_exact(1) == b"o"
        return near, far, stream, peer


@asynccontextmanager
async def open_world(kind: str):
    async with AsyncExitStack() as stack:
        network = Network(seed=1)
        pairs: asyncio.Queue[Connection] = asyncio.Queue()

        async def open_one(secret: bytes) -> Transport:
            if kind == "iroh":
                transport: Transport = await open_iroh(secret, bind=["127.0.0.1:0"])
            else:
                transport = network.join(secret)
            stack.push_async_callback(transport.close)
            return LanedTransport(transport, pairs) if kind == "lanes" else transport

        yield World(open_one, "127.0.0.1:9")


Scenario = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture(params=["memory", "iroh", "lanes"])
def run(request):
    def run_scenario(scenario: Scenario) -> None:
        async def guarded() -> None:
            async with asyncio.timeout(GUARD_S), open_world(request.param) as world:
                await scenario(world)

        asyncio.run(guarded())

    return run_scenario


def sockets(transport: Transport) -> list[str]:
    """Return where a path may lead.

    iroh tells the other side of all its sockets, the one that is pinned to loopback included, and uses whichever
    answers first: on a busy machine that may be another one than was dialled.
    """
    if isinstance(transport, IrohTransport):
        return [format_address(ip, port) for ip, port in transport._sockets]
    return transport.addresses()


async def read_all(stream: Stream) -> bytes:
    data = bytearray()
    while piece := await stream.read(MIB):
        data += piece
    return bytes(data)


async def write_for_ever(stream: Stream) -> None:
    while True:
        await stream.write(bytes(64 * 1024))


async def write_until_blocked(stream: Stream, piece: bytes) -> tuple[int, asyncio.Task[None]]:
    """Write until a write does not return within many turns of the loop; return the bytes taken and that write."""
    taken = 0
    while True:
        task = asyncio.ensure_future(stream.write(piece))
        done, _ = await asyncio.wait([task], timeout=0.5)
        if not done:
            return taken, task
        await task
        taken += len(piece)


def test_the_transport_id_is_the_public_key_of_the_secret(run):
    async def scenario(world: World) -> None:
        secret = os.urandom(32)
        transport = await world.open(secret)
        assert transport.transport_id == SigningKey.from_seed(secret).public

    run(scenario)


def test_each_side_knows_the_other_and_who_dialled(run):
    async def scenario(world: World) -> None:
        acceptor, dialler = await world.open(os.urandom(32)), await world.open(os.urandom(32))
        near, far = await asyncio.gather(dialler.dial(acceptor.transport_id, acceptor.addresses()), acceptor.accept())
        assert (near.remote, near.is_dialler) == (acceptor.transport_id, True)
        assert (far.remote, far.is_dialler) == (dialler.transport_id, False)
        assert near.close_info is None
        assert near.path().kind is PathKind.DIRECT
        assert near.path().address in sockets(acceptor)

    run(scenario)


def test_bytes_written_come_out_in_order_and_the_end_is_seen(run):
    async def scenario(world: World) -> None:
        near, far, stream, peer = await world.streams()
        data = os.urandom(3 * MIB + 17)
        writing = asyncio.ensure_future(stream.write(data))
        assert await peer.read_exact(5) == data[:5]
        rest = asyncio.ensure_future(read_all(peer))
        await writing
        await stream.finish()
        assert data[:5] + await rest == data
        assert near.sent_bytes == far.received_bytes == len(data) + 1

    run(scenario)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda d: memoryview(bytearray(d))[:]])
def test_any_buffer_can_be_written_and_changed_afterwards(run, wrap):
    async def scenario(world: World) -> None:
        _, _, stream, peer = await world.streams()
        data = os.urandom(70_000)
        buffer = wrap(data)
        await stream.write(buffer)
        if isinstance(buffer, bytearray):
            buffer[:] = bytes(len(buffer))
        assert await peer.read_exact(len(data)) == data

    run(scenario)


def test_eight_streams_at_once_keep_their_bytes_apart(run):
    async def scenario(world: World) -> None:
        near, far = await world.pair()
        block = os.urandom(MIB)

        async def send(number: int) -> None:
            stream = await near.open_stream()
            await stream.write(bytes([number]))
            for turn in range(10):
                await stream.write(bytes([number, turn]) + block)
            await stream.finish()
            assert await stream.read(64) == expected(number)

        def expected(number: int) -> bytes:
            digest = hashlib.sha256()
            for turn in range(10):
                digest.update(bytes([number, turn]) + block)
            return digest.digest()

        async def receive() -> None:
            stream = await far.accept_stream()
            await stream.read_exact(1)
            digest = hashlib.sha256()
            while piece := await stream.read(MIB):
                digest.update(piece)
            await stream.write(digest.digest())
            await stream.finish()

        await asyncio.gather(*(send(n) for n in range(8)), *(receive() for _ in range(8)))

    run(scenario)


def test_a_reader_that_does_not_read_stops_the_writer(run):
    async def scenario(world: World) -> None:
        _, _, stream, peer = await world.streams()
        taken, blocked = await write_until_blocked(stream, bytes(64 * 1024))
        assert taken <= 16 * MIB  # of a lane: what the system buffers on both sides, more when it is slow to look
        await peer.read_exact(taken)
        await blocked

    run(scenario)


def test_one_direction_ends_while_the_other_goes_on(run):
    async def scenario(world: World) -> None:
        _, _, stream, peer = await world.streams()
        await stream.finish()
        assert await peer.read(10) == b""
        assert await peer.read(10) == b""
        await peer.write(b"still here")
        assert await stream.read_exact(10) == b"still here"
        await peer.finish()
        assert await stream.read(10) == b""

    run(scenario)


def test_an_early_end_is_a_protocol_violation_for_an_exact_read(run):
    async def scenario(world: World) -> None:
        _, _, stream, peer = await world.streams()
        await stream.write(b"abc")
        await stream.finish()
        with pytest.raises(ProtocolViolation, match="7 bytes early"):
            await peer.read_exact(10)

    run(scenario)


def test_an_aborted_stream_fails_for_reader_and_writer_of_the_peer(run):
    async def scenario(world: World) -> None:
        near, far, stream, peer = await world.streams()
        reading = asyncio.ensure_future(peer.read(10))
        await asyncio.sleep(0)
        await stream.abort(7)
        await stream.abort(7)
        with pytest.raises(PeerUnreachable):
            await reading
        with pytest.raises(PeerUnreachable):
            await write_for_ever(peer)
        # The connection lives on.
        again = await near.open_stream()
        await again.write(b"x")
        assert await (await far.accept_stream()).read_exact(1) == b"x"

    run(scenario)


def test_abort_ends_a_write_that_is_blocked(run):
    async def scenario(world: World) -> None:
        _, _, stream, _ = await world.streams()
        _, blocked = await write_until_blocked(stream, bytes(256 * 1024))
        await stream.abort(3)
        with pytest.raises(PeerUnreachable):
            await blocked
        with pytest.raises(PeerUnreachable):
            await stream.write(b"more")

    run(scenario)


def test_a_cancelled_write_resets_the_stream(run):
    async def scenario(world: World) -> None:
        _, _, stream, peer = await world.streams()
        _, blocked = await write_until_blocked(stream, bytes(256 * 1024))
        blocked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await blocked
        with pytest.raises(PeerUnreachable):
            await stream.write(b"more")
        with pytest.raises(PeerUnreachable):
            await read_all(peer)

    run(scenario)


def test_a_cancelled_read_resets_the_stream(run):
    async def scenario(world: World) -> None:
        _, _, _, peer = await world.streams()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await peer.read(10)
        with pytest.raises(PeerUnreachable):
            await peer.read(10)

    run(scenario)


def test_the_peer_sees_code_and_reason_of_a_close(run):
    async def scenario(world: World) -> None:
        near, far, stream, peer = await world.streams()
        await near.close(42, "moving house")
        assert await far.wait_closed() == "moving house"
        assert far.close_info is not None
        assert (far.close_info.code, far.close_info.reason, far.close_info.by_peer) == (42, "moving house", True)
        assert await near.wait_closed() == "moving house"
        assert near.close_info is not None
        assert (near.close_info.code, near.close_info.by_peer) == (42, False)
        for attempt in (peer.read(1), peer.write(b"x"), stream.read(1), stream.write(b"x"), peer.finish()):
            with pytest.raises(PeerUnreachable):
                await attempt
        for connection in (near, far):
            with pytest.raises(PeerUnreachable):
                await connection.open_stream()
            with pytest.raises(PeerUnreachable):
                await connection.accept_stream()
        assert far.path().kind is PathKind.NONE

    run(scenario)


def test_a_close_without_reason_keeps_its_code(run):
    async def scenario(world: World) -> None:
        near, far = await world.pair()
        await near.close(1, "")
        assert await far.wait_closed() == ""
        assert far.close_info is not None
        assert (far.close_info.code, far.close_info.reason) == (1, "")

    run(scenario)


@pytest.mark.parametrize("side", [0, 1])
def test_a_close_ends_a_blocked_write_with_an_error(run, side):
    async def scenario(world: World) -> None:
        near, far, stream, _ = await world.streams()
        _, blocked = await write_until_blocked(stream, bytes(256 * 1024))
        await (near, far)[side].close(4, "enough")
        with pytest.raises(Unavailable):
            await blocked

    run(scenario)


def test_waiting_calls_end_when_the_connection_is_gone(run):
    async def scenario(world: World) -> None:
        near, far, stream, _ = await world.streams()
        waiting = [
            asyncio.ensure_future(stream.read(1)),
            asyncio.ensure_future(near.accept_stream()),
        ]
        await asyncio.sleep(0)
        await far.close(0, "")
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, PeerUnreachable) for result in results)

    run(scenario)


def test_a_peer_that_is_not_there_is_unreachable(run, monkeypatch):
    monkeypatch.setattr("backuppeer.transport.iroh.endpoint.DIAL_S", 0.5)

    async def scenario(world: World) -> None:
        transport = await world.open(os.urandom(32))
        nobody = SigningKey.generate().public
        with pytest.raises(PeerUnreachable):
            await transport.dial(nobody, [world.dead_address])
        with pytest.raises(PeerUnreachable):
            await transport.dial(nobody, [])
        with pytest.raises(PeerUnreachable):
            await transport.dial(nobody, ["no address"])
        with pytest.raises(PeerUnreachable):
            await transport.dial(transport.transport_id, transport.addresses())

    run(scenario)


def test_another_key_at_the_address_is_an_authentication_fault(run):
    async def scenario(world: World) -> None:
        stranger, dialler = await world.open(os.urandom(32)), await world.open(os.urandom(32))
        with pytest.raises(AuthenticationFault):
            await dialler.dial(SigningKey.generate().public, stranger.addresses())

    run(scenario)


def test_a_stale_address_does_not_hide_the_right_one_now_or_later(run):
    async def scenario(world: World) -> None:
        stranger, peer, dialler = [await world.open(os.urandom(32)) for _ in range(3)]
        with pytest.raises(AuthenticationFault):
            await dialler.dial(peer.transport_id, stranger.addresses())
        for addresses in (peer.addresses(), stranger.addresses() + peer.addresses()):
            near, far = await asyncio.gather(dialler.dial(peer.transport_id, addresses), peer.accept())
            assert near.remote == peer.transport_id
            stream = await near.open_stream()
            await stream.write(b"hello")
            assert await (await far.accept_stream()).read_exact(5) == b"hello"

    run(scenario)


def test_a_closed_transport_ends_its_connections_and_whoever_waits(run):
    async def scenario(world: World) -> None:
        acceptor, dialler = await world.open(os.urandom(32)), await world.open(os.urandom(32))
        near, _far = await asyncio.gather(dialler.dial(acceptor.transport_id, acceptor.addresses()), acceptor.accept())
        waiting = asyncio.ensure_future(acceptor.accept())
        await asyncio.sleep(0)
        await acceptor.close()
        await acceptor.close()
        with pytest.raises(PeerUnreachable):
            await waiting
        with pytest.raises(PeerUnreachable):
            await acceptor.accept()
        await near.wait_closed()
        with pytest.raises(PeerUnreachable):
            await acceptor.dial(dialler.transport_id, dialler.addresses())

    run(scenario)
