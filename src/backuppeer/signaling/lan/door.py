"""Door: answers one question of whoever comes from the same network, on each of its connections (ADR 81).

Knows: TCP, the frames, how many may come. Must not know: what answers mean. The same size goes back whatever is asked;
to what it can't open or does not know it says nothing, and closes.
"""

import asyncio
import os
from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Protocol

import structlog

from backuppeer.clock import Clock
from backuppeer.crypto.recognition import make_nonce
from backuppeer.errors import BackupPeerError, Unavailable
from backuppeer.limits import (
    LAN_DOOR_ADDRESSES,
    LAN_DOOR_CONNECTIONS,
    LAN_DOOR_PER_ADDRESS,
    LAN_DOOR_PER_MINUTE,
    LAN_REQUEST_S,
)
from backuppeer.signaling.lan.frames import (
    ANSWER_BYTES,
    GREETING,
    QUESTION_BYTES,
    Kind,
    Question,
    Sought,
    pack_text,
    unpack_question,
    unpack_sought,
)
from backuppeer.signaling.lan.interfaces import Interface

_log = structlog.get_logger()


class Answers(Protocol):
    """What stands behind a door."""

    def show(self) -> bytes:
        """Return the signed listing for strangers; empty: none."""
        ...

    async def reply(self, sealed: bytes) -> bytes:
        """Return the sealed reply to a sealed knock, KNOCK_BYTES both.

        Raises:
            BackupPeerError: it is not answered.

        """
        ...

    async def recognise(self, sought: Sought, challenge: bytes) -> bytes | None:
        """Return ANSWER_BYTES sealed for a partner that looks for us; None: it is none."""
        ...


class Door:
    """The open door of one interface."""

    def __init__(self, interface: Interface, answers: Answers, clock: Clock) -> None:
        self._interface, self._answers, self._clock = interface, answers, clock
        self._servers: list[asyncio.Server] = []
        self._inside: Counter[str] = Counter()
        self._asked: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self.port = 0

    async def open(self) -> None:
        """Listen at each address of the interface, on one port.

        Raises:
            Unavailable: at none of them it can.

        """
        failure: OSError | None = None
        for own in self._interface.addresses:
            try:
                server = await asyncio.start_server(self._welcome, str(own.ip), self.port, limit=QUESTION_BYTES)
            except OSError as exc:
                failure = exc
                continue
            self._servers.append(server)
            self.port = self.port or server.sockets[0].getsockname()[1]
        if not self._servers:
            raise Unavailable(f"no door can be opened at {self._interface.name}: {failure}") from failure

    def places(self) -> Sequence[str]:
        """Return the addresses at which it stands, as `ip`."""
        return [server.sockets[0].getsockname()[0] for server in self._servers if server.sockets]

    async def close(self) -> None:
        """Let nobody in any more; who is inside is answered."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = str(writer.get_extra_info("peername", ("",))[0])
        if not self._may_enter(address):
            writer.transport.abort()
            return
        self._inside[address] += 1
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # who does not ask, or does not wait for the answer
        except BackupPeerError as exc:
            _log.info("a neighbour was not answered", reason=exc.message[:200])
        finally:
            self._inside -= Counter([address])
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _may_enter(self, address: str) -> bool:
        """Tell whether there is room for one more from an address, which must be of the same network; and count it."""
        try:
            is_near = self._interface.holds(ip_address(address))
        except ValueError:
            return False
        if not is_near or self._inside.total() >= LAN_DOOR_CONNECTIONS:
            return False
        return self._inside[address] < LAN_DOOR_PER_ADDRESS and self._count(address)

    def _count(self, address: str) -> bool:
        now_s = self._clock.monotonic_s()
        count, since_s = self._asked.pop(address, (0, now_s))
        count, since_s = (0, now_s) if now_s - since_s >= 60 else (count, since_s)
        self._asked[address] = (count + 1, since_s)
        if len(self._asked) > LAN_DOOR_ADDRESSES:
            self._asked.popitem(last=False)
        return count < LAN_DOOR_PER_MINUTE

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        challenge = make_nonce()
        async with asyncio.timeout(LAN_REQUEST_S):
            writer.write(GREETING + challenge)
            await writer.drain()
            asked = unpack_question(await reader.readexactly(QUESTION_BYTES))
        answer = await self._answer(asked, challenge)
        async with asyncio.timeout(LAN_REQUEST_S):
            writer.write(answer)
            await writer.drain()

    async def _answer(self, asked: Question, challenge: bytes) -> bytes:
        if asked.kind is Kind.LISTING:
            return pack_text(self._answers.show())
        if asked.kind is Kind.KNOCK:
            return await self._answers.reply(asked.body)
        found = await self._answers.recognise(unpack_sought(asked.body), challenge)
        # As many random bytes as a sealed answer has: who asks in vain can't tell a stranger's door from a partner's.
        return found if found is not None else os.urandom(ANSWER_BYTES)
