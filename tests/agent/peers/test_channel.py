"""How long a request stream waits for a peer that says nothing, takes nothing, or never ends."""

import asyncio
import gc
import weakref

import pytest

from agent.loops import play
from backuppeer.agent.peers.channel import Channel
from backuppeer.errors import PeerUnreachable
from backuppeer.limits import BULK_STALL_S, MIB, REPLY_S
from backuppeer.wire.messages import Usage
from backuppeer.wire.session import Speaker


class Mute:
    """A stream whose peer neither speaks nor listens."""

    async def read(self, _max_bytes):
        await asyncio.Event().wait()

    async def write(self, _data):
        await asyncio.Event().wait()


class Endless(Mute):
    """A stream whose peer sends a byte each second and never ends."""

    async def read(self, _max_bytes):
        await asyncio.sleep(1)  # virtual
        return b"x"


def opener(stream):
    return Channel(stream, Speaker.OPENER)


async def take_raw(channel):
    async for _ in channel.receive_raw(1):
        pass


@pytest.mark.parametrize(
    ("use", "error", "ends_s"),
    [
        (lambda: opener(Mute()).receive_any(), PeerUnreachable, REPLY_S),
        (lambda: opener(Mute()).receive(Usage), PeerUnreachable, REPLY_S),
        (lambda: opener(Mute()).wait_end(), TimeoutError, REPLY_S),
        (lambda: opener(Endless()).wait_end(), TimeoutError, REPLY_S),
        (lambda: take_raw(opener(Mute())), PeerUnreachable, BULK_STALL_S),
        (lambda: opener(Mute()).send_raw(b"x"), PeerUnreachable, BULK_STALL_S),
    ],
    ids=["answer", "answer of a kind", "end", "end that never comes", "bytes", "a peer that takes nothing"],
)
def test_a_peer_is_given_up_after_its_time(use, error, ends_s):
    async def scenario():
        with pytest.raises(error):
            await use()
        assert asyncio.get_running_loop().time() == ends_s

    play(scenario())


class Steady(Mute):
    """A stream whose peer sends a quarter of a MiB in a quarter of the time that a MiB may take."""

    async def read(self, max_bytes):
        await asyncio.sleep(BULK_STALL_S / 4)  # virtual
        return bytes(min(max_bytes, MIB // 4))


def test_bytes_that_keep_coming_are_waited_for():
    async def scenario():
        count = 0
        async for piece in opener(Steady()).receive_raw(3 * MIB):
            count += len(piece)
        assert count == 3 * MIB
        assert asyncio.get_running_loop().time() >= 3 * BULK_STALL_S

    play(scenario())


@pytest.mark.parametrize("mib", [0, 3])
def test_a_peer_that_drips_is_given_up_when_a_minute_per_mib_is_over(mib):
    async def scenario():
        with pytest.raises(PeerUnreachable, match="too little"):
            async for _ in opener(Endless()).receive_raw(mib * MIB + 1000):
                pass
        assert asyncio.get_running_loop().time() == BULK_STALL_S * (mib + 1)

    play(scenario())


class Dripping(Mute):
    """A stream whose peer takes a quarter of a MiB in almost the time after which it would be given up."""

    async def write(self, data):
        await asyncio.sleep((BULK_STALL_S - 1) * len(data) / (MIB // 4))  # virtual


@pytest.mark.parametrize("mib", [1, 16])
def test_a_peer_that_takes_bytes_at_a_drip_is_given_up_when_a_minute_per_mib_is_over(mib):
    async def scenario():
        taken = []
        with pytest.raises(PeerUnreachable, match=f"took [0-9]+ of {mib * MIB} bytes, then too little"):
            await opener(Dripping()).send_raw(bytes(mib * MIB), on_piece=taken.append)
        assert asyncio.get_running_loop().time() == BULK_STALL_S * (mib + 1)
        assert sum(taken) == (mib + 1) * MIB // 4

    play(scenario())


class Bulky(Mute):
    """A stream that moves bulk by itself, `rate` bytes in each second of virtual time, until `stops_at`."""

    def __init__(self, rate, stops_at=1 << 60):
        self.rate, self.stops_at = rate, stops_at
        self.moved_bytes = 0

    async def _move(self, size):
        wanted = self.moved_bytes + size
        while self.moved_bytes < wanted:
            await asyncio.sleep(1)
            self.moved_bytes = min(wanted, self.stops_at, self.moved_bytes + self.rate)

    async def write(self, data):
        await self._move(len(data))

    async def fill(self, view):
        await self._move(len(view))

    async def receive_bulk(self, size_bytes, take):
        await self._move(size_bytes)

    async def send_bulk(self, size_bytes, give):
        await self._move(size_bytes)


BULK_WAYS = {
    "send_raw": lambda channel, size: channel.send_raw(bytes(size)),
    "send_given": lambda channel, size: channel.send_given(size, None),
    "receive_into": lambda channel, size: channel.receive_into(memoryview(bytearray(size))),
    "receive_through": lambda channel, size: channel.receive_through(size, None),
}


@pytest.mark.parametrize("way", BULK_WAYS)
def test_bulk_that_moves_in_a_thread_is_waited_for_as_long_as_it_moves(way):
    async def scenario():
        await BULK_WAYS[way](opener(Bulky(rate=MIB // 16)), 16 * MIB)
        assert asyncio.get_running_loop().time() == 256

    play(scenario())


@pytest.mark.parametrize("way", BULK_WAYS)
def test_bulk_that_stops_moving_in_a_thread_is_given_up(way):
    async def scenario():
        with pytest.raises(PeerUnreachable, match=f"{MIB} of {16 * MIB} bytes, then too little"):
            await BULK_WAYS[way](opener(Bulky(rate=MIB // 4, stops_at=MIB)), 16 * MIB)
        assert 4 + BULK_STALL_S <= asyncio.get_running_loop().time() <= 6 + BULK_STALL_S

    play(scenario())


@pytest.mark.parametrize("way", BULK_WAYS)
def test_bulk_that_drips_in_a_thread_is_given_up_when_a_minute_per_mib_is_over(way):
    async def scenario():
        with pytest.raises(PeerUnreachable, match="then too little"):
            await BULK_WAYS[way](opener(Bulky(rate=1)), 2 * MIB)
        assert asyncio.get_running_loop().time() == BULK_STALL_S * 3

    play(scenario())


def test_pieces_taken_by_a_thread_are_told_while_it_is_at_work():
    async def scenario():
        taken, channel = [], opener(Bulky(rate=MIB))
        sending = asyncio.ensure_future(channel.send_raw(bytes(8 * MIB), on_piece=taken.append))
        await asyncio.sleep(4.5)
        assert 2 * MIB <= sum(taken) <= 4 * MIB
        await sending
        assert sum(taken) == 8 * MIB

    play(scenario())


class Tape(Mute):
    """A stream without a thread of its own that gives what it was given."""

    def __init__(self):
        self.tape, self.at = bytearray(), 0

    async def write(self, data):
        self.tape += data

    async def read(self, max_bytes):
        piece = bytes(self.tape[self.at : self.at + min(max_bytes, 100_000)])
        self.at += len(piece)
        return piece


@pytest.mark.parametrize("size", [0, 1, MIB, 2 * MIB + 5])
def test_bulk_over_a_stream_without_a_thread_of_its_own_is_given_and_taken_too(size):
    async def scenario():
        data, taken, tape = (bytes(range(251)) * (size // 251 + 1))[:size], [], Tape()

        def give(offset, view):
            view[:] = data[offset : offset + len(view)]

        await opener(tape).send_given(size, give)
        await opener(tape).receive_through(size, lambda piece: taken.append(bytes(piece)))
        assert b"".join(taken) == data
        assert all(len(piece) <= MIB for piece in taken)

    play(scenario())


def test_bulk_that_was_received_is_let_go_of_without_a_collection():
    """A ring of references would keep megabytes until the collector comes by, which is seldom."""

    class Pages(bytearray):
        pass

    async def scenario():
        async def receive():
            pages = Pages(MIB)
            await opener(Bulky(rate=MIB // 4)).receive_into(memoryview(pages))
            return pages

        pages = await asyncio.ensure_future(receive())
        seen = weakref.ref(pages)
        del pages
        await asyncio.sleep(0)
        assert seen() is None

    gc.disable()
    try:
        play(scenario())
    finally:
        gc.enable()


class Taking(Mute):
    """A stream that takes and gives whatever is wanted; notes how much that was at a time."""

    def __init__(self):
        self.taken, self.asked = [], []

    async def write(self, data):
        self.taken.append(len(data))

    async def read(self, max_bytes):
        self.asked.append(max_bytes)
        return bytes(max_bytes)


class Trickle(Mute):
    """A stream to which a datagram comes each fifth of a millisecond; counts how often it is read."""

    DATAGRAM = 1200

    def __init__(self, size):
        self.left, self.reads, self.since_s = size, 0, asyncio.get_running_loop().time()

    async def read(self, max_bytes):
        self.reads += 1
        clock = asyncio.get_running_loop().time
        if not (come := round((clock() - self.since_s) * 5000) * self.DATAGRAM):
            await asyncio.sleep(0.0002)  # virtual
            come = self.DATAGRAM
        given = min(come, max_bytes, self.left)
        self.since_s, self.left = clock(), self.left - given
        return bytes(given)


def test_a_long_transfer_gathers_what_comes_and_reads_seldom():
    async def scenario():
        stream = Trickle(2 * MIB)
        await opener(stream).receive_into(memoryview(bytearray(2 * MIB)))
        datagrams = 2 * MIB / Trickle.DATAGRAM
        assert stream.left == 0
        # Its last quarter of a MiB is read as it comes: who waits for its end has nothing else to do.
        assert stream.reads < datagrams / 4

    play(scenario())


def test_bulk_goes_over_quic_in_quarters_of_a_mib():
    async def scenario():
        await opener(stream).send_raw(bytes(2 * MIB + 5))
        await opener(stream).receive_into(memoryview(bytearray(2 * MIB + 5)))

    stream = Taking()
    play(scenario())
    assert stream.taken == stream.asked == [MIB // 4] * 8 + [5]
