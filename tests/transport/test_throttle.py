"""A stream with brakes moves what it was given, and pays for all of it; without a cap it is the stream itself."""

import asyncio

import pytest

from backuppeer.errors import ProtocolViolation
from backuppeer.transport.throttle import UNBRAKED, BrakedStream, Brakes


class Echo:
    """A stream that keeps what is written, and gives it back."""

    def __init__(self, data=b""):
        self.data, self.writes, self.calls = data, [], []

    async def read(self, max_bytes):
        data, self.data = self.data[:max_bytes], self.data[max_bytes:]
        return data

    async def write(self, data):
        self.writes.append(bytes(data))

    async def finish(self):
        self.calls.append("finish")

    async def abort(self, code):
        self.calls.append(code)


class Toll:
    def __init__(self, most):
        self.size, self.paid, self.carried = most, [], 0

    def most(self):
        return self.size

    def owe(self, size_bytes):
        self.paid.append(size_bytes)
        return UNBRAKED.up.owe(0)

    def carry(self, size_bytes):
        self.carried += size_bytes


def test_all_that_is_moved_is_paid_for():
    async def scenario():
        toll = Toll(100)
        echo = Echo(bytes(950))
        stream = BrakedStream(echo, Brakes(toll, toll))
        assert len(await stream.read_exact(950)) == 950
        await stream.finish()
        assert sum(toll.paid) + toll.carried == 950
        toll.paid.clear()
        await stream.write(bytes(range(250)))
        assert b"".join(echo.writes) == bytes(range(250))
        assert toll.paid == [100, 100, 50]
        await stream.abort(3)
        assert echo.calls == ["finish", 3]

    asyncio.run(scenario())


def test_a_cap_that_is_lifted_meanwhile_lets_the_rest_through_in_one():
    async def scenario():
        toll = Toll(100)
        echo = Echo()
        toll.owe = lambda _: setattr(toll, "size", 0) or UNBRAKED.up.owe(0)
        await BrakedStream(echo, Brakes(toll, toll)).write(bytes(1000))
        assert [len(piece) for piece in echo.writes] == [100, 900]

    asyncio.run(scenario())


def test_without_a_cap_the_bytes_are_passed_on_as_they_came():
    async def scenario():
        data, echo = bytes(1000), Echo(b"abc")
        stream = BrakedStream(echo, UNBRAKED)
        await stream.write(data)
        assert echo.writes == [data]
        assert await stream.read(1000) == b"abc"
        with pytest.raises(ProtocolViolation, match="early"):
            await stream.read_exact(1)

    asyncio.run(scenario())
