import asyncio
import gc
import os
import resource
import sys
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from iroh import iroh_ffi

from backuppeer.errors import LocalError, PeerUnreachable
from backuppeer.ids import TransportId
from backuppeer.limits import UNPROVEN_CONNECTIONS
from backuppeer.transport.base import LOST_CODE
from backuppeer.transport.iroh import open_iroh
from backuppeer.transport.iroh.connection import parse_close
from backuppeer.transport.iroh.endpoint import _plan_binds
from backuppeer.transport.iroh.patch import install_fast_write, is_slow_write

MIB = 1024 * 1024


@asynccontextmanager
async def open_streams():
    acceptor = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
    dialler = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
    try:
        near, far = await asyncio.gather(dialler.dial(acceptor.transport_id, acceptor.addresses()), acceptor.accept())
        stream = await near.open_stream()
        await stream.write(b"o")
        peer = await far.accept_stream()
        await peer.read_exact(1)
        yield stream, peer
    finally:
        await dialler.close()
        await acceptor.close()


async def drain(stream, size):
    while size:
        size -= len(await stream.read(size))


class _Builder:
    """As uniffi 0.31 generates it."""

    def write(self, value):
        with self._reserve(len(value)):
            for i, byte in enumerate(value):
                self.rbuf.data[self.rbuf.len + i] = byte

    def write_otherwise(self, value):
        with self._reserve(len(value)):
            self.rbuf.copy(value)


def test_the_slow_body_is_recognised_and_no_other():
    assert is_slow_write(_Builder.write)
    assert not is_slow_write(_Builder.write_otherwise)
    assert not is_slow_write(None)
    assert not is_slow_write(len)


def test_the_installed_binding_is_fast_and_patched_once():
    install_fast_write()
    assert not is_slow_write(vars(iroh_ffi._UniffiRustBufferBuilder)["write"])
    assert install_fast_write() is False


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda d: memoryview(bytearray(d))])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100_000])
def test_the_fast_copy_appends_exactly_the_bytes(wrap, size):
    install_fast_write()
    data = os.urandom(size)
    builder = iroh_ffi._UniffiRustBufferBuilder()
    builder.write_i32(7)
    builder.write(wrap(data))
    builder.write_i32(8)
    rbuf = builder.finalize()
    try:
        assert bytes(rbuf.data[: rbuf.len]) == b"\0\0\0\x07" + data + b"\0\0\0\x08"
    finally:
        rbuf.free()


class _Steps:
    """Counts Python calls, lines and opcodes."""

    def __init__(self):
        self.counts = Counter()

    def profile(self, _frame, event, _arg):
        self.counts[event] += 1

    def trace(self, frame, event, _arg):
        frame.f_trace_opcodes = True
        self.counts[event] += 1
        return self.trace


def count_steps(action, installer):
    steps = _Steps()
    before = sys.getprofile(), sys.gettrace()
    sys.setprofile(steps.profile)
    if installer is sys.settrace:
        sys.setprofile(before[0])
        sys.settrace(steps.trace)
    try:
        action()
    finally:
        sys.setprofile(before[0])
        sys.settrace(before[1])
    return steps.counts


def lower_argument(data):
    """Do what one write call does with its argument, up to the foreign call."""
    rbuf = iroh_ffi._UniffiFfiConverterBytes.lower(data)
    rbuf.free()


@pytest.mark.parametrize("wrap", [bytes, lambda d: memoryview(d)[:], lambda d: memoryview(bytearray(d))])
def test_handing_over_a_megabyte_takes_a_small_number_of_steps(wrap):
    install_fast_write()
    data = wrap(bytes(MIB))
    calls = count_steps(lambda: lower_argument(data), sys.setprofile)
    assert 0 < calls["call"] + calls["c_call"] < 300
    steps = count_steps(lambda: lower_argument(data), sys.settrace)
    assert 0 < steps["opcode"] < 3000


def test_the_step_count_sees_the_slow_body(monkeypatch):
    monkeypatch.setattr(iroh_ffi._UniffiRustBufferBuilder, "write", _Builder.write)
    steps = count_steps(lambda: lower_argument(bytes(4096)), sys.settrace)
    assert steps["opcode"] > 3000


def test_a_whole_megabyte_write_through_a_stream_takes_a_small_number_of_calls():
    async def scenario():
        async with open_streams() as (stream, peer):
            reading = asyncio.ensure_future(drain(peer, MIB))
            steps = _Steps()
            sys.setprofile(steps.profile)
            try:
                await stream.write(bytes(MIB))
            finally:
                sys.setprofile(None)
            await reading
            assert 0 < steps.counts["call"] < 5000

    asyncio.run(scenario())


@pytest.mark.slow
def test_writing_and_reading_does_not_leak_memory():
    async def scenario():
        async with open_streams() as (stream, peer):
            data = os.urandom(MIB)

            async def move(count):
                reading = asyncio.ensure_future(drain(peer, count * MIB))
                for _ in range(count):
                    await stream.write(data)
                await reading
                gc.collect()

            await move(24)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await move(96)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown < 32 * 1024

    asyncio.run(scenario())


def test_a_port_can_be_bound_again_after_a_restart():
    async def scenario():
        secret = os.urandom(32)
        first = await open_iroh(secret, bind=["127.0.0.1:0"])
        bound, addresses = first.bound(), first.addresses()
        assert not first.is_rebound
        await first.close()
        second = await open_iroh(secret, bind=bound)
        assert second.addresses() == addresses
        assert not second.is_rebound
        await second.close()

    asyncio.run(scenario())


def test_a_taken_port_is_replaced_and_it_says_so():
    async def scenario():
        first = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
        second = await open_iroh(os.urandom(32), bind=first.bound())
        assert second.is_rebound
        assert second.addresses() != first.addresses()
        await first.close()
        await second.close()

    asyncio.run(scenario())


def test_only_the_addresses_asked_for_are_bound_and_told():
    async def scenario():
        transport = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
        assert [address.rpartition(":")[0] for address in transport.addresses()] == ["127.0.0.1"]
        others = [s for s in transport._endpoint.bound_sockets() if s not in transport.bound()]
        assert all(other.startswith("[::1]:") for other in others)
        await transport.close()

    asyncio.run(scenario())


def test_a_wildcard_is_told_as_the_addresses_of_the_interfaces():
    async def scenario():
        transport = await open_iroh(os.urandom(32), bind=["0.0.0.0:0", "[::]:0"])
        assert transport.bound()[0].startswith("0.0.0.0:")
        assert all(not a.startswith(("0.0.0.0:", "[::]:")) for a in transport.addresses())
        await transport.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("bind", [[], ["localhost:0"], ["127.0.0.1:0", "127.0.0.2:0"], ["127.0.0.1:70000"]])
def test_a_malformed_bind_is_refused(bind):
    with pytest.raises(LocalError):
        _plan_binds(bind)


def test_binds_are_tried_as_asked_then_on_any_port_then_without_ipv6():
    assert _plan_binds(["0.0.0.0:4433", "[::]:4434"]) == [
        ["0.0.0.0:4433", "[::]:4434"],
        ["0.0.0.0:0", "[::]:0"],
        ["0.0.0.0:4433"],
        ["0.0.0.0:0"],
    ]


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        ("closed by peer: bye (code 5)", (5, "bye", True)),
        ("closed by peer: 7", (7, "", True)),
        ("closed by peer: 7 (code 3)", (3, "7", True)),
        ("closed by peer: fake (code 1) (code 2)", (2, "fake (code 1)", True)),
        ("closed by peer: a\n\x1b[2Jb (code 2)", (2, "a??[2Jb", True)),
        ("timed out", (LOST_CODE, "connection lost", False)),
        ("closed by peer: words only", (LOST_CODE, "connection lost", False)),
    ],
)
def test_the_words_of_a_close_are_read(cause, expected):
    info = parse_close(cause)
    assert (info.code, info.reason, info.by_peer) == expected


def test_connections_that_nobody_takes_are_limited():
    async def scenario():
        acceptor = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
        dialler = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
        held = []

        async def dial_many():
            for _ in range(2 * UNPROVEN_CONNECTIONS):
                held.append(await dialler.dial(acceptor.transport_id, acceptor.addresses()))  # noqa: PERF401

        try:
            with pytest.raises(PeerUnreachable):
                await dial_many()
            assert UNPROVEN_CONNECTIONS <= len(held) < 2 * UNPROVEN_CONNECTIONS
        finally:
            await dialler.close()
            await acceptor.close()

    asyncio.run(scenario())


def test_two_readers_or_writers_of_one_stream_are_our_bug():
    async def scenario():
        async with open_streams() as (stream, peer):
            first = asyncio.ensure_future(peer.read(1))
            await asyncio.sleep(0)
            with pytest.raises(LocalError):
                await peer.read(1)
            await stream.write(b"x")
            assert await first == b"x"

    asyncio.run(scenario())


def test_a_stranger_that_floods_before_it_is_served_is_cut_off():
    async def scenario():
        acceptor = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
        dialler = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
        near, far = await asyncio.gather(dialler.dial(acceptor.transport_id, acceptor.addresses()), acceptor.accept())

        async def flood():
            stream = await near.open_stream()
            await stream.write(bytes(MIB))

        floods = [asyncio.ensure_future(flood()) for _ in range(20)]
        await near.wait_closed()
        assert near.close_info is not None
        # What tells the flooder is one datagram, which a busy machine may drop; then the silence does.
        assert (near.close_info.code, near.close_info.by_peer) in {(1, True), (LOST_CODE, False)}
        with pytest.raises(PeerUnreachable):
            await far.accept_stream()
        await asyncio.gather(*floods, return_exceptions=True)
        await dialler.close()
        await acceptor.close()

    asyncio.run(scenario())


_CHILD = """
import asyncio, os, sys
from backuppeer.transport.iroh import open_iroh

async def main():
    transport = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
    print(transport.transport_id.hex(), *transport.addresses(), flush=True)
    connection = await transport.accept()
    stream = await connection.accept_stream()
    await stream.read_exact(1)
    await stream.write(b"y")
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_peer_that_was_killed_is_noticed_and_every_call_ends():
    async def scenario():
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", _CHILD, stdout=asyncio.subprocess.PIPE)
        assert child.stdout is not None
        peer, *addresses = (await child.stdout.readline()).decode().split()
        transport = await open_iroh(os.urandom(32), bind=["127.0.0.1:0"])
        try:
            connection = await transport.dial(TransportId(bytes.fromhex(peer)), addresses)
            stream = await connection.open_stream()
            await stream.write(b"x")
            assert await stream.read_exact(1) == b"y"
            child.kill()
            await child.wait()
            waiting = [
                asyncio.ensure_future(stream.read(1)),
                asyncio.ensure_future(stream.write(bytes(8 * MIB))),
                asyncio.ensure_future(connection.accept_stream()),
            ]
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(result, PeerUnreachable) for result in results)
            assert connection.close_info is not None
            assert connection.close_info.code == LOST_CODE
        finally:
            await transport.close()

    asyncio.run(scenario())
