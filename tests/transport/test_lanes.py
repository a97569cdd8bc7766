"""Doors of lanes let in the one they were opened for, and lanes carry one stream after another."""

import asyncio
import errno
import os
import socket
import ssl
import threading
from contextlib import asynccontextmanager, contextmanager

import pytest

from backuppeer.crypto.certificate import make_certificate
from backuppeer.errors import AuthenticationFault, PeerUnreachable, ProtocolViolation, StoreUnavailable
from backuppeer.limits import (
    LANE_FRAME_BYTES,
    LANE_FRAME_LEAST_BYTES,
    LANE_HANDSHAKES,
    LANE_SILENT_S,
    LANE_SMALL_FRAMES,
)
from backuppeer.transport.lanes import LaneDoor, dial_lane, door, tls
from backuppeer.transport.throttle import Brakes, Free

HERE = "127.0.0.1"
TOKEN = bytes(range(32))
HOST, OWNER, STRANGER = make_certificate(), make_certificate(), make_certificate()


class Porch:
    """A door for OWNER at HOST, and what it said of those it turned away."""

    def __init__(self, **changes):
        self.refused = asyncio.Queue()
        parts = {"ip": HERE, "ours": HOST, "theirs": OWNER.der, "token": TOKEN, "on_refused": self.refused.put_nowait}
        self.door = LaneDoor(HERE, **(parts | changes))

    def dial(self, ours=OWNER, theirs=HOST.der, token=TOKEN):
        return dial_lane(HERE, self.door.port, ours=ours, theirs=theirs, token=token)


@contextmanager
def porch(**changes):
    made = Porch(**changes)
    with made.door:
        yield made


@asynccontextmanager
async def lanes():
    with porch() as made:
        host, owner = await asyncio.gather(made.door.accept(), made.dial())
    yield owner, host
    owner.close()
    host.close()


def play(scenario):
    async def guarded():
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(guarded())


@pytest.mark.parametrize(
    "wrong",
    [{"ours": STRANGER}, {"token": bytes(32)}, {"theirs": STRANGER.der}],
    ids=["certificate of a stranger", "token of another lane", "another host"],
)
def test_who_is_not_the_peer_is_turned_away_and_the_peer_still_let_in(wrong):
    async def scenario():
        with porch() as made:
            entering = asyncio.ensure_future(made.door.accept())
            with pytest.raises((AuthenticationFault, PeerUnreachable)):
                await made.dial(**wrong)
            assert await made.refused.get()
            assert not entering.done()
            owner, host = await asyncio.gather(made.dial(), entering)
            assert owner.is_open
            assert host.is_open
            owner.close()
            host.close()

    play(scenario)


def test_a_door_closes_behind_the_first_lane():
    async def scenario():
        with porch() as made:
            port = made.door.port
            host, owner = await asyncio.gather(made.door.accept(), made.dial())
        with pytest.raises(PeerUnreachable):
            await dial_lane(HERE, port, ours=OWNER, theirs=HOST.der, token=TOKEN)
        owner.close()
        host.close()

    play(scenario)


def test_callers_from_elsewhere_are_closed_before_any_tls():
    async def scenario():
        with porch(ip="127.0.0.2") as made:
            entering = asyncio.ensure_future(made.door.accept())
            with pytest.raises(PeerUnreachable):
                await made.dial()
            assert HERE in await made.refused.get()
            entering.cancel()

    play(scenario)


def test_silent_callers_hold_a_door_only_for_the_time_of_a_handshake(monkeypatch):
    monkeypatch.setattr(tls, "LANE_HANDSHAKE_S", 0.3)

    async def scenario():
        with porch() as made:
            silent = [socket.create_connection((HERE, made.door.port)) for _ in range(LANE_HANDSHAKES)]
            entering = asyncio.ensure_future(made.door.accept())
            for _ in silent:
                assert "Timeout" in await made.refused.get()
            monkeypatch.undo()
            owner, host = await asyncio.gather(made.dial(), entering)
            for one in (owner, host, *silent):
                one.close()

    play(scenario)


def test_a_door_that_nobody_comes_to_is_given_up(monkeypatch):
    monkeypatch.setattr(door, "LANE_OFFER_S", 0.05)

    async def scenario():
        with porch() as made, pytest.raises(PeerUnreachable):
            await made.door.accept()

    play(scenario)


def dial_plainly(port, **settings):
    """Speak TLS with the right certificate, but otherwise than we do; returns the connection after the token."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=HOST.der)
    tls.load_certificate(context, OWNER)
    for name, value in settings.items():
        setattr(context, name, value)
    connection = context.wrap_socket(socket.create_connection((HERE, port)))
    connection.sendall(TOKEN)
    return connection


def test_older_tls_is_refused():
    async def scenario():
        with porch() as made:
            entering = asyncio.ensure_future(made.door.accept())
            with pytest.raises(OSError, match=r"."):
                await asyncio.to_thread(dial_plainly, made.door.port, maximum_version=ssl.TLSVersion.TLSv1_2)
            assert await made.refused.get()
            entering.cancel()

    play(scenario)


def test_a_lane_can_not_be_resumed():
    async def scenario():
        with porch() as made:
            entering = asyncio.ensure_future(made.door.accept())
            connection = await asyncio.to_thread(dial_plainly, made.door.port)
            host = await entering
            assert await asyncio.to_thread(connection.recv, 1) == b"\x01"
            assert connection.version() == "TLSv1.3"
            assert not connection.session.has_ticket
            host.close()
            connection.close()

    play(scenario)


def test_what_is_no_certificate_opens_no_door():
    with pytest.raises(AuthenticationFault):
        LaneDoor(HERE, ip=HERE, ours=HOST, theirs=b"nonsense", token=TOKEN, on_refused=print)


def test_a_lane_carries_streams_one_after_another():
    async def scenario():
        async with lanes() as (owner, host):
            for number in range(3):
                near = owner.open_stream()
                await near.write(b"question %d" % number)
                far = await host.accept_stream()
                assert await far.read(100) == b"question %d" % number
                await far.write(os.urandom(number * 1000))
                await far.finish()
                assert len(await near.read_exact(number * 1000)) == number * 1000
                await near.finish()
                await near.drain()
                assert await far.read(1) == b""
                assert near.is_over
                assert far.is_over
            assert (owner.sent_bytes, host.sent_bytes) == (30, 3000)

    play(scenario)


def test_a_buffer_is_filled_from_a_lane_across_frames_in_one_call():
    async def scenario():
        async with lanes() as (owner, host):
            data = os.urandom(2 * LANE_FRAME_BYTES + 1000)
            near = owner.open_stream()
            await near.write(data)
            await near.finish()
            far = await host.accept_stream()
            buffer = bytearray(len(data))
            await far.fill(memoryview(buffer))
            assert buffer == data
            with pytest.raises(ProtocolViolation, match="5 bytes early"):
                await far.fill(memoryview(bytearray(5)))

    play(scenario)


@pytest.mark.parametrize("size", [1, LANE_FRAME_BYTES, LANE_FRAME_BYTES + 1, 3 * LANE_FRAME_BYTES - 1])
def test_bulk_goes_through_a_lane_in_frames_given_and_taken_in_a_thread(size):
    async def scenario():
        async with lanes() as (owner, host):
            data = os.urandom(size)
            taken, threads = [], set()

            def give(offset, view):
                threads.add(threading.get_ident())
                view[:] = data[offset : offset + len(view)]

            def take(piece):
                threads.add(threading.get_ident())
                taken.append(bytes(piece))

            near = owner.open_stream()
            sending = asyncio.ensure_future(near.send_bulk(size, give))
            far = await host.accept_stream()
            await far.receive_bulk(size, take)
            await sending
            assert b"".join(taken) == data
            assert max(map(len, taken)) <= LANE_FRAME_BYTES
            assert len(taken) == -(-size // LANE_FRAME_BYTES)
            assert threading.get_ident() not in threads
            assert far.moved_bytes == size

    play(scenario)


def test_what_a_taker_raises_comes_out_and_closes_the_lane():
    async def scenario():
        async with lanes() as (owner, host):

            def take(piece):
                raise StoreUnavailable("the disk is full")

            near = owner.open_stream()
            await near.write(bytes(1000))
            far = await host.accept_stream()
            with pytest.raises(StoreUnavailable, match="full"):
                await far.receive_bulk(1000, take)
            assert not host.is_open

    play(scenario)


def test_a_cancelled_receiver_returns_only_when_its_thread_uses_the_taker_no_more():
    async def scenario():
        async with lanes() as (owner, host):
            inside, may_end, ended = threading.Event(), threading.Event(), threading.Event()

            def take(piece):
                inside.set()
                may_end.wait(10)
                ended.set()

            near = owner.open_stream()
            await near.write(bytes(1000))
            far = await host.accept_stream()
            receiving = asyncio.ensure_future(far.receive_bulk(1000, take))
            assert await asyncio.to_thread(inside.wait, 10)
            receiving.cancel()
            await asyncio.sleep(0)
            assert not receiving.done()
            may_end.set()
            with pytest.raises(asyncio.CancelledError):
                await receiving
            assert ended.is_set()
            assert not host.is_open

    play(scenario)


def test_a_path_that_died_without_a_word_is_given_up_by_the_system():
    async def scenario():
        async with lanes() as both:
            for lane in both:
                option = lane._connection.getsockopt
                assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                if hasattr(socket, "TCP_USER_TIMEOUT"):
                    assert option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == LANE_SILENT_S * 1000

    play(scenario)


def test_bytes_after_an_answer_break_the_lane():
    async def scenario():
        async with lanes() as (owner, host):
            near = owner.open_stream()
            await near.write(b"x")
            far = await host.accept_stream()
            await far.write(b"more")
            await near.finish()
            with pytest.raises(ProtocolViolation):
                await near.drain()
            assert not owner.is_open

    play(scenario)


def test_frames_over_the_cap_break_the_lane():
    async def scenario():
        async with lanes() as (owner, host):
            near = owner.open_stream()
            await owner.run(owner.send, (LANE_FRAME_BYTES + 1).to_bytes(4, "big"))
            with pytest.raises(ProtocolViolation):
                await host.accept_stream()
            with pytest.raises(PeerUnreachable):
                await near.read(1)

    play(scenario)


def test_bulk_in_tiny_frames_breaks_the_lane():
    async def scenario():
        async with lanes() as (owner, host):
            near = owner.open_stream()
            for _ in range(LANE_SMALL_FRAMES):
                await near.write(b"x")
            await near.write(bytes(LANE_FRAME_LEAST_BYTES))
            far = await host.accept_stream()
            await far.read_exact(LANE_SMALL_FRAMES + LANE_FRAME_LEAST_BYTES)
            await near.write(b"x")
            with pytest.raises(ProtocolViolation, match="small"):
                await far.read(1)

    play(scenario)


def test_a_door_without_descriptors_rests_and_then_goes_on(monkeypatch):
    monkeypatch.setattr(door, "_PAUSE_S", 0.05)

    async def scenario():
        with porch() as made:
            real, tries = made.door._listener, []

            class Exhausted:
                def __getattr__(self, name):
                    return getattr(real, name)

                def accept(self):
                    tries.append(1)
                    if len(tries) < 3:
                        raise OSError(errno.EMFILE, "too many open files")
                    return real.accept()

            made.door._listener = Exhausted()
            host, owner = await asyncio.gather(made.door.accept(), made.dial())
            assert len(tries) == 3
            host.close()
            owner.close()

    play(scenario)


def test_of_a_flood_of_callers_only_the_first_are_told():
    async def scenario():
        with porch(ip="127.0.0.2") as made:
            entering = asyncio.ensure_future(made.door.accept())
            for _ in range(2 * door._REFUSALS_TOLD):
                with pytest.raises(PeerUnreachable):
                    await made.dial()
            assert made.refused.qsize() == door._REFUSALS_TOLD
            entering.cancel()

    play(scenario)


def test_no_thread_is_left_of_a_closed_lane():
    def names():
        return [thread for thread in threading.enumerate() if thread.name.startswith("lane")]

    async def scenario():
        async with lanes() as (owner, host):
            waiting = asyncio.ensure_future(host.accept_stream())
            await owner.open_stream().write(b"x")
            await waiting
            reading = asyncio.ensure_future(owner.open_stream().read(1))
            await asyncio.sleep(0)
        with pytest.raises(PeerUnreachable):
            await reading

    before = names()
    play(scenario)
    for thread in set(names()) - set(before):
        thread.join(10)
    assert set(names()) <= set(before)


def test_a_secret_key_is_not_shown():
    assert "PRIVATE" not in repr(make_certificate())


class Toll:
    """A brake that lets so many bytes through at once, and rests a given time for each piece."""

    def __init__(self, most, rest_s=0.0):
        self.size, self.rests, self.paid, self.dropped, self.met = most, rest_s, [], 0, threading.Event()

    def most(self):
        return self.size

    def owe(self, size_bytes):
        self.paid.append(size_bytes)
        self.met.set()
        return TollDebt(self)


class TollDebt:
    def __init__(self, toll):
        self.toll, self.left = toll, 1

    def rest_s(self):
        self.left -= 1
        return self.toll.rests if self.left >= 0 else 0.0

    def drop(self):
        self.toll.dropped += 1


def test_a_lane_pays_for_what_it_sends_and_takes_piece_by_piece():
    async def scenario():
        async with lanes() as (owner, host):
            up, down = Toll(LANE_FRAME_LEAST_BYTES), Toll(4 * LANE_FRAME_LEAST_BYTES)
            owner.brakes, host.brakes = Brakes(up, Free()), Brakes(Free(), down)
            size, stream = 16 * LANE_FRAME_LEAST_BYTES, owner.open_stream()
            sent = asyncio.create_task(stream.write(bytes(size)))
            taken = await host.accept_stream()
            assert len(await taken.read_exact(size)) == size
            await sent
            assert up.paid == [LANE_FRAME_LEAST_BYTES] * 16
            assert sum(down.paid) >= size - down.size
            assert min(down.paid) >= down.size
            assert (up.dropped, down.dropped) == (16, len(down.paid))

    play(scenario)


def test_a_lane_that_rests_is_closed_at_once():
    async def scenario():
        async with lanes() as (owner, host):
            toll = Toll(LANE_FRAME_LEAST_BYTES, rest_s=3600)
            owner.brakes = Brakes(toll, Free())
            sending = asyncio.create_task(owner.open_stream().write(bytes(LANE_FRAME_LEAST_BYTES)))
            await asyncio.to_thread(toll.met.wait, 20)
            host.close()
            owner.close()
            with pytest.raises(PeerUnreachable):
                await sending
            assert toll.dropped == 1

    play(scenario)
