"""What the tests of signaling share: a clock to turn, hosts, and real servers on loopback."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import msgspec

from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import PeerId
from backuppeer.signaling.knock import Knock, make_nonce
from backuppeer.signaling.listing import Listing, ListingKind, envelope_id, make_tombstone, sign_listing
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.engine import Put, Shown, Stored
from backuppeer.signaling.server.memory import MemoryEngine
from backuppeer.signaling.server.notes import MemoryNotes, Notes
from backuppeer.signaling.server.process import Keeping, run_server
from backuppeer.signaling.server.relay.relaying import Relaying

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
ENVELOPE = EnvelopeKey.generate()
"""Shared by tests that never open it: making one costs a millisecond."""


class TurnedClock:
    """Time as the test turns it."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000

    def turn(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class NoJitter(random.Random):
    """Reconnects at once."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


@dataclass
class Host:
    """A peer that offers."""

    key: SigningKey = field(default_factory=SigningKey.generate)
    envelope: EnvelopeKey = ENVELOPE
    inbox: SigningKey = field(default_factory=SigningKey.generate)

    @property
    def peer(self) -> PeerId:
        return PeerId(self.key.public)

    def listing(self, seq: int = NOW_MS, *, now_ms: int = NOW_MS, **changes: object) -> Listing:
        listing = Listing(
            peer=self.key.public,
            seq=seq,
            issued_ms=now_ms,
            expires_ms=now_ms + 2 * HOUR_MS,
            kind=ListingKind.SLOT,
            storage_bytes=1 << 35,
            free_bytes=1 << 34,
            region="EU",
            availability=950,
            term_s=365 * 86400,
            lock_s=30 * 86400,
            inbox=self.inbox.public,
            envelope_key=self.envelope.public,
            envelope_id=envelope_id(self.envelope.public),
        )
        return msgspec.structs.replace(listing, **changes)

    def signed(self, seq: int = NOW_MS, *, now_ms: int = NOW_MS, **changes: object) -> bytes:
        return sign_listing(self.listing(seq, now_ms=now_ms, **changes), self.key)

    def tombstone(self, seq: int, *, now_ms: int = NOW_MS) -> bytes:
        return sign_listing(make_tombstone(self.peer, seq, now_ms=now_ms), self.key)


def make_knock(host: Host, owner: SigningKey, inbox: SigningKey, envelope: EnvelopeKey, **changes) -> Knock:
    knock = Knock(
        recipient=host.peer,
        listing_seq=NOW_MS,
        envelope_id=envelope_id(host.envelope.public),
        owner=owner.public,
        size_bytes=123_456_789_012,
        term_s=365 * 86400,
        lock_s=30 * 86400,
        transport=SigningKey.generate().public,
        addresses=["203.0.113.77:4711"],
        servers=[],
        reply_inbox=inbox.public,
        reply_key=envelope.public,
        nonce=make_nonce(),
        issued_ms=NOW_MS,
        expires_ms=NOW_MS + HOUR_MS,
    )
    return msgspec.structs.replace(knock, **changes)


class WatchedEngine(MemoryEngine):
    """The real engine; tells when a connection's end has been noticed, and remembers everything handed to it."""

    def __init__(self, caps: Caps, *, clock: TurnedClock) -> None:
        super().__init__(caps, clock=clock)
        self.lost: asyncio.Queue[bytes] = asyncio.Queue()
        self.left: asyncio.Queue[bytes] = asyncio.Queue()
        self.record: list[object] = []

    async def put_listing(self, shown: Shown, holder: int) -> Put:
        self.record.append(shown)
        return await super().put_listing(shown, holder)

    async def deposit(self, inbox: bytes, sealed: bytes) -> Stored | None:
        self.record.append((inbox, sealed))
        return await super().deposit(inbox, sealed)

    async def open_inbox(self, inbox: bytes) -> bool:
        self.record.append(inbox)
        return await super().open_inbox(inbox)

    async def lose_holder(self, peer: bytes, holder: int) -> None:
        await super().lose_holder(peer, holder)
        self.lost.put_nowait(peer)

    async def leave_inbox(self, inbox: bytes) -> None:
        await super().leave_inbox(inbox)
        self.left.put_nowait(inbox)


@dataclass
class Served:
    """A running server."""

    port: int
    engine: WatchedEngine
    notes: Notes
    clock: TurnedClock
    task: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def serving(
    caps: Caps | None = None,
    *,
    clock: TurnedClock | None = None,
    port: int = 0,
    engine: WatchedEngine | None = None,
    notes: Notes | None = None,
    origins: Sequence[str] = (),
    stamp_bits: int = 0,
    trusted: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
    relaying: Relaying | None = None,
) -> AsyncIterator[Served]:
    """Run a real server in this loop; it asks nothing of new keys unless a test is about that."""
    caps, clock = replace(caps or Caps(), stamp_bits=stamp_bits), clock or TurnedClock()
    engine, notes = engine or WatchedEngine(caps, clock=clock), notes or MemoryNotes(caps.memory_notes)
    bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        run_server(
            f"127.0.0.1:{port}",
            origins=origins,
            caps=caps,
            clock=clock,
            keeping=Keeping(engine, notes, relaying),
            trusted=trusted,
            tls=tls,
            on_ready=bound.set_result,
        )
    )
    await asyncio.wait({task, bound}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    served = Served(bound.result(), engine, notes, clock, task)
    try:
        yield served
    finally:
        await served.stop()


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    """A listener that accepts and never says a word."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


def run(work: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


async def until(condition) -> None:
    """Return as soon as a condition holds; `run` ends what waits in vain."""
    while not condition():  # noqa: ASYNC110 - states have no event of their own; each turn lets the loop work
        await asyncio.sleep(0)


def dead_url() -> str:
    """Port 1 on loopback: refused at once."""
    return "ws://127.0.0.1:1"


def flip_each(data: bytes, step: int) -> Iterator[bytes]:
    """Every `step`-th byte flipped, one copy each."""
    for place in range(0, len(data), step):
        yield data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
