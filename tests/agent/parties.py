"""Parties on a network in memory: real keys, real Sessions; hooks that a test chooses and that note what they saw."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from agent.loops import VirtualClock
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.sessions import Hooks, Sessions
from backuppeer.clock import Clock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import BackupPeerError
from backuppeer.ids import AgreementId, PeerId
from backuppeer.transport.memory import MemoryTransport, Network
from backuppeer.wire.messages import GetUsage, Hello, Usage

ASK = GetUsage(agreement=AgreementId(b"a" * 16))
USAGE = Usage(size_bytes=4, used_bytes=3, packs=2, free_bytes=1)
Serve = Callable[[PeerId, Channel], Awaitable[None]]


async def answer_usage(peer: PeerId, channel: Channel) -> None:
    await channel.receive(GetUsage)
    await channel.send(USAGE)
    await channel.finish()
    await channel.wait_end()


async def ask(session: Session) -> Usage:
    async with session.request(ASK) as channel:
        return await channel.receive(Usage)


class Party:
    """One agent's sessions. `index` decides keys: parties are the same in every run."""

    def __init__(
        self,
        network: Network,
        index: int,
        *,
        serve: Serve = answer_usage,
        clock: Clock | None = None,
        identity: SigningKey | None = None,
        lane_binds: Sequence[str] = (),
        is_newcomer: Callable[[PeerId], bool] = lambda _: False,
    ) -> None:
        self.network = network
        self.identity = identity or SigningKey.from_seed(bytes([index]) * 32)
        self.peer = PeerId(self.identity.public)
        self.transport: MemoryTransport = network.join(bytes([100 + index]) * 32)
        self.answers = True
        self.may_answer: Callable[[PeerId], bool] = lambda _: self.answers
        self.make_hello: Callable[[PeerId], Hello] = lambda _: Hello(program=f"party {index}")
        self.faults: list[tuple[PeerId, BackupPeerError]] = []
        self.met: list[Session] = []
        self.prepared = 0
        hooks = Hooks(
            may_answer=self._may_answer,
            make_hello=self._make_hello,
            on_hello=self._on_hello,
            serve=serve,
            on_fault=lambda peer, error: self.faults.append((peer, error)),
            is_newcomer=is_newcomer,
            prepare=self._prepare,
        )
        self.sessions = Sessions(self.transport, self.identity, clock or VirtualClock(), hooks, lane_binds=lane_binds)

    def _may_answer(self, peer: PeerId) -> bool:
        return self.may_answer(peer)

    def _make_hello(self, peer: PeerId) -> Hello:
        return self.make_hello(peer)

    async def _prepare(self) -> None:
        self.prepared += 1

    async def _on_hello(self, session: Session) -> None:
        self.met.append(session)

    async def dial(self, other: "Party", *, through: MemoryTransport | None = None) -> Session:
        way = through or other.transport
        return await self.sessions.dial(other.peer, way.transport_id, way.addresses())

    async def meet(self, other: "Party") -> tuple[Session, Session]:
        """Dial; return both ends of the session, the dialler's first."""
        return await self.dial(other), await other.sessions.wait_for(self.peer, 5.0)


@asynccontextmanager
async def running(*parties: Party) -> AsyncIterator[None]:
    """Let the parties accept connections while the block runs."""
    tasks = [asyncio.create_task(party.sessions.run()) for party in parties]
    try:
        yield
    finally:
        for party in parties:
            await party.sessions.close_all()
            await party.transport.close()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def two_parties(*, serve: Serve = answer_usage) -> AsyncIterator[tuple[Party, Party]]:
    """Run two parties on a network of their own; `serve` is how the second one answers."""
    network = Network()
    one, two = Party(network, 1), Party(network, 2, serve=serve)
    async with running(one, two):
        yield one, two


def by_id(network: Network, **options) -> tuple[Party, Party]:
    """Return two parties, the one with the smaller peer id first."""
    one, two = (Party(network, index, **options) for index in (1, 2))
    return (one, two) if one.peer < two.peer else (two, one)
