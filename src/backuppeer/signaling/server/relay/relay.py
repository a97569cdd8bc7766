"""Relay: passes datagrams between peers that can't reach each other, in iroh's relay protocol (DESIGN 7; ADR 77).

Knows: transport keys of connected clients, frames. Must not know: identities, what datagrams say (they are QUIC's,
encrypted end to end), addresses. Logs name a client by a random number.

A frame is one binary WebSocket message: a type byte and a body. The server challenges, the client proves its transport
key, and only keys that are admitted are let in. A datagram frame begins with the 32-byte key of the receiver, and is
delivered with that of the sender in its place. What a slow receiver can't take is dropped, as datagrams may be.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.crypto.relay import holds_relay_proof
from backuppeer.errors import ProtocolViolation
from backuppeer.signaling.messages import CloseCode
from backuppeer.signaling.server.connection import Connection
from backuppeer.signaling.server.relay.admissions import Admissions
from backuppeer.signaling.server.relay.turns import FlowKey, Turns

LOG: Final = logging.getLogger("backuppeer.signaling.server.relay")
SUBPROTOCOLS: Final = ("iroh-relay-v2", "iroh-relay-v1")
PATH: Final = "/relay"
FRAME_BYTES: Final = 1 + limits.RELAY_PAYLOAD_BYTES
_CHALLENGE, _AUTH, _CONFIRM, _DENY, _STATUS = b"\0", 1, b"\2", b"\3", b"\x0d"
_GONE, _PING, _PONG = b"\x08", 9, 10
_DELIVERED: Final[Mapping[int, bytes]] = MappingProxyType({4: b"\6", 5: b"\7"})
"""Datagram, and several of one size at once: as sent, as delivered."""
_FRAMES_AT_ONCE: Final = 16
_SAME_KEY: Final = b"\1"
_KEY_BYTES, _CHALLENGE_BYTES, _PING_BYTES = 32, 16, 9
_AUTH_BYTES: Final = 1 + _KEY_BYTES + 1 + 64
_SIGNATURE_AT: Final = 1 + _KEY_BYTES + 1


@dataclass(slots=True)
class RelayCounters:
    """What a relay did since it began; plain numbers, read by whoever shows them."""

    clients: int = 0
    """Connected now."""
    admitted: int = 0
    denied: int = 0
    forwarded_bytes: int = 0
    forwarded_frames: int = 0
    dropped_slow: int = 0
    """Frames for receivers that did not take them."""
    dropped_budget: int = 0
    """Frames of pairs that had used up their budget, or of networks for which too much waited."""


@dataclass(slots=True, eq=False)
class _Client:
    key: bytes
    connection: Connection
    network: str
    number: int = field(default_factory=lambda: secrets.randbits(48))
    talks_to: set[bytes] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Serving:
    """Attends one connection: from its opening to its end in one go."""

    relay: "Relay"
    connection: Connection
    network: str
    has_begun: bool = False

    async def attend(self) -> None:
        if not self.has_begun:  # what comes when it has ended is nobody's
            self.has_begun = True
            await self.relay.serve(self.connection, self.network)


class Relay:
    """The relay of one server process. `run` must be running."""

    def __init__(
        self,
        admissions: Admissions,
        clock: Clock,
        *,
        bytes_per_s: float = limits.RELAY_BYTES_PER_S,
        clients: int = limits.RELAY_CLIENTS,
    ) -> None:
        self._admissions, self._most = admissions, clients
        self._clients: dict[bytes, _Client] = {}
        self._turns = Turns(self._deliver, clock, total_per_s=bytes_per_s)
        self.counters = RelayCounters()

    async def run(self, sweep_s: float) -> None:
        """Pass on what waits, and close whose admission has lapsed, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._turns.run())
            group.create_task(self._sweep(sweep_s))

    def receive(self, connection: Connection, network: str) -> None:
        """Serve a connection that has just opened."""
        connection.attend(_Serving(self, connection, network), at_once=True)

    async def serve(self, connection: Connection, network: str) -> None:
        """Serve one connection of a client, which comes from this network, until it ends."""
        try:
            async with asyncio.timeout(limits.SERVER_HANDSHAKE_S):
                client = await self._let_in(connection, network)
        except (TimeoutError, ProtocolViolation, ConnectionClosed):
            self.counters.denied += 1
            await connection.close(CloseCode.UNPROVEN, "not admitted")
            return
        # Dropping begins before a client's own answers wait: up to here is what a receiver may have unread.
        connection.transport.set_write_buffer_limits(high=limits.RELAY_SEND_BYTES + 2 * FRAME_BYTES)
        try:
            while True:
                for _ in range(_FRAMES_AT_ONCE):
                    await self._hear(client, await connection.recv())
                await asyncio.sleep(0)  # what has been read already is had without waiting: let others work between
        except ProtocolViolation as exc:
            LOG.warning("relay client %012x closed: %s", client.number, exc.message)
            await connection.close(CloseCode.MALFORMED, exc.message[:100])
        except ConnectionClosed:
            pass
        finally:
            self._let_out(client)

    async def _let_in(self, connection: Connection, network: str) -> _Client:
        """Return a client that has proven an admitted key.

        Raises:
            ProtocolViolation: it has not.

        """
        challenge = os.urandom(_CHALLENGE_BYTES)
        await connection.send(_CHALLENGE + challenge)
        answer = await connection.recv()
        if isinstance(answer, str) or len(answer) != _AUTH_BYTES or answer[0] != _AUTH:
            raise ProtocolViolation("not an answer to the challenge")
        key = answer[1 : 1 + _KEY_BYTES]
        if not holds_relay_proof(key, challenge, answer[_SIGNATURE_AT:]):
            await self._deny(connection, "the proof does not hold")
        if not self._admissions.holds(key):
            await self._deny(connection, "ask the signaling server for admission first")
        if key not in self._clients and len(self._clients) >= self._most:
            await self._deny(connection, "too many clients")
        client = _Client(key, connection, network)
        try:
            await self._register(client)
        except BaseException:
            self._let_out(client)  # it hung up, or is too slow: `serve` never hears of it
            raise
        return client

    async def _register(self, client: _Client) -> None:
        former = self._clients.get(client.key)
        self._clients[client.key] = client
        self.counters.clients = len(self._clients)
        self.counters.admitted += 1
        if former is not None:  # after a change of network the old connection is dead without knowing
            former.connection.post(_STATUS + _SAME_KEY)
            former.connection.transport.abort()
            self._turns.forget(client.key)  # on the account of the network that it comes from now
        await client.connection.send(_CONFIRM)

    async def _deny(self, connection: Connection, why: str) -> None:
        await connection.send(_DENY + bytes([len(why)]) + why.encode())
        raise ProtocolViolation(why)

    async def _hear(self, client: _Client, frame: bytes | str) -> None:
        if isinstance(frame, str) or not frame:
            raise ProtocolViolation("not a relay frame")
        kind = frame[0]
        if kind in _DELIVERED:
            await self._pass_on(client, frame)
        elif kind == _PING and len(frame) == _PING_BYTES:
            await client.connection.send(bytes([_PONG]) + frame[1:])
        elif kind != _PONG:
            raise ProtocolViolation(f"a relay frame of type {kind} that is out of place")

    async def _pass_on(self, client: _Client, frame: bytes) -> None:
        to = frame[1 : 1 + _KEY_BYTES]
        if len(frame) < 2 + _KEY_BYTES:
            raise ProtocolViolation("a datagram that is cut short")
        if self._clients.get(client.key) is not client:
            return  # another connection has taken over
        if to not in self._clients:
            client.talks_to.discard(to)
            await client.connection.send(_GONE + to)
            return
        if to not in client.talks_to and len(client.talks_to) >= limits.RELAY_PAIRS:
            client.talks_to &= self._clients.keys()
        if len(client.talks_to | {to}) > limits.RELAY_PAIRS:
            raise ProtocolViolation("datagrams for too many others")
        client.talks_to.add(to)
        delivered = _DELIVERED[frame[0]] + client.key + frame[1 + _KEY_BYTES :]
        self.counters.dropped_budget += not await self._turns.put((client.key, to), delivered, client.network)

    async def _deliver(self, flow: FlowKey, frame: bytes) -> None:
        receiver = self._clients.get(flow[1])
        if receiver is None or receiver.connection.state is not State.OPEN:
            return
        # One task serves all: it waits for nobody, also not for who is full and has read a little since.
        is_slow = receiver.connection.transport.get_write_buffer_size() > limits.RELAY_SEND_BYTES
        if is_slow or not receiver.connection.post(frame):
            self.counters.dropped_slow += 1
            return
        self.counters.forwarded_frames += 1
        self.counters.forwarded_bytes += len(frame)

    def _let_out(self, client: _Client) -> None:
        if self._clients.get(client.key) is not client:
            return
        del self._clients[client.key]
        self.counters.clients = len(self._clients)
        self._turns.forget(client.key)
        for other in [self._clients[key] for key in client.talks_to if key in self._clients]:
            other.connection.post(_GONE + client.key)

    async def _sweep(self, sweep_s: float) -> None:
        while True:
            await asyncio.sleep(sweep_s)
            for client in [c for c in self._clients.values() if c.connection.state is State.CLOSED]:
                self._let_out(client)
            lapsed = [c.connection for c in self._clients.values() if not self._admissions.holds(c.key)]
            # Together: one that does not answer takes SERVER_CLOSE_S.
            await asyncio.gather(*(each.close(CloseCode.SILENT, "the admission has lapsed") for each in lapsed))
