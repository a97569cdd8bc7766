"""How long a request stream waits for a peer that says nothing, takes nothing, or never ends."""

import asyncio

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


class Taking(Mute):
    """A stream that takes and gives whatever is wanted; notes how much that was at a time."""

    def __init__(self):
        self.taken, self.asked = [], []

    async def write(self, data):
        self.taken.append(len(data))

    async def read(self, max_bytes):
        self.asked.append(max_bytes)
        return bytes(max_bytes)


class Lane(Taking):
    """The same, filling buffers, as lanes do."""

    async def read_into(self, view):
        self.asked.append(len(view))
        return len(view)


@pytest.mark.parametrize(("stream", "piece"), [(Taking(), MIB // 4), (Lane(), MIB)], ids=["quic", "lane"])
def test_bulk_goes_in_pieces_that_suit_what_carries_it(stream, piece):
    async def scenario():
        await opener(stream).send_raw(bytes(2 * MIB + 5))
        await opener(stream).receive_into(memoryview(bytearray(2 * MIB + 5)))

    play(scenario())
    assert stream.taken == stream.asked == [piece] * (2 * MIB // piece) + [5]
