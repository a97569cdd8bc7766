"""Streams that keep to a cap: what is moved is paid for, and who has no credit rests (DESIGN 2, "bandwidth cap").

Knows: streams of bytes, when to rest. Must not know: how high a cap is, who shares it. Lanes pay by themselves, in
their threads; what has no cap is passed on as it came.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from backuppeer.transport.base import Buffer, Stream, read_whole


class Debt(Protocol):
    """Bytes that were moved, or are about to be, and are to be paid for with time."""

    def rest_s(self) -> float:
        """Return for how many seconds to rest before this is asked again; 0 = it is paid."""
        ...

    def drop(self) -> None:
        """Pay no more: the stream has ended. Idempotent."""
        ...


class Brake(Protocol):
    """One direction of what shares a cap; called from the loop and from threads."""

    def most(self) -> int:
        """Return how many bytes to pay for at once; 0 = there is no cap now."""
        ...

    def owe(self, size_bytes: int) -> Debt:
        """Count bytes."""
        ...

    def carry(self, size_bytes: int) -> None:
        """Count bytes that are too few to rest for: whoever comes next pays for them."""
        ...


class Free:
    """No cap, and so no debts."""

    def most(self) -> int:
        """Return 0."""
        return 0

    def owe(self, size_bytes: int) -> Debt:
        """Return a debt that is paid."""
        del size_bytes
        return self

    def carry(self, size_bytes: int) -> None:
        """Do nothing."""

    def rest_s(self) -> float:
        """Return 0."""
        return 0.0

    def drop(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Brakes:
    """Both directions, as this side sees them."""

    up: Brake
    down: Brake


UNBRAKED: Final = Brakes(Free(), Free())


class BrakedStream:
    """A stream that sends and takes no faster than its brakes let it."""

    __slots__ = ("_brakes", "_owed", "_stream")

    def __init__(self, stream: Stream, brakes: Brakes) -> None:
        self._stream, self._brakes = stream, brakes
        self._owed = 0

    async def read(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes, b"" at the end; whoever does not read on slows the sender down."""
        most = self._brakes.down.most()
        if not most:
            return await self._stream.read(max_bytes)
        if self._owed >= most:
            self._owed, owed = 0, self._owed
            await _pay(self._brakes.down.owe(owed))
        data = await self._stream.read(min(max_bytes, most))
        self._owed += len(data)
        return data

    async def read_exact(self, size_bytes: int) -> bytes:
        """Return exactly `size_bytes` bytes."""
        return await read_whole(self.read, size_bytes)

    async def write(self, data: Buffer) -> None:
        """Hand over all of `data`, in pieces as long as there is a cap."""
        view, start = memoryview(data).cast("B"), 0
        while start < len(view):
            most = self._brakes.up.most()
            if not most:
                await self._stream.write(view[start:] if start else data)
                return
            piece = view[start : start + most]
            await _pay(self._brakes.up.owe(len(piece)))
            await self._stream.write(piece)
            start += len(piece)

    async def finish(self) -> None:
        """Say that nothing more will be written."""
        self._settle()
        await self._stream.finish()

    async def abort(self, code: int) -> None:
        """Throw both directions away."""
        self._settle()
        await self._stream.abort(code)

    def _settle(self) -> None:
        self._owed, owed = 0, self._owed
        if owed:
            self._brakes.down.carry(owed)


async def _pay(debt: Debt) -> None:
    try:
        while (rest_s := debt.rest_s()) > 0:  # noqa: ASYNC110 - what is waited for is time
            await asyncio.sleep(rest_s)
    finally:
        debt.drop()
