"""Many clients of a signaling server in one process: hosts that idle, viewers that browse.

Knows: the protocol, through the client that peers use. Must not know: the server's inside, the other processes.
Connections come from all over 127.0.0.0/8, since the server counts addresses and networks. A host is two sockets, as in
life: one that publishes, one for its inbox.

Run as `signaling_crowd.py SERVER FIRST COUNT`; reads commands from standard input, answers each with a line of JSON:
`arrive` (the hosts FIRST to FIRST + COUNT come), `prepare N` (N of them sign a newer listing), `publish` (they publish
it), `browse` (this process is COUNT viewers), and ends with its input.
"""

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidMessage
from websockets.typing import Subprotocol

from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.signaling.client import Link
from backuppeer.signaling.listing import Listing, ListingKind, envelope_id, sign_listing
from backuppeer.signaling.messages import (
    SUBPROTOCOL,
    Browse,
    Challenge,
    InboxOpen,
    OpenInbox,
    Page,
    ProveInbox,
    Publish,
    Published,
    inbox_proof_blob,
)
from backuppeer.signaling.servers import authority

PAGES_PER_S = 200
PAGES_S = 10
_AT_ONCE = 16
_WAIT_S = 120
_TRIES = 5
_HOUR_MS = 3_600_000


def address_of(number: int) -> str:
    """Return an address of loopback, another network for each 100 hosts."""
    return f"127.{1 + number // 25_600}.{number // 100 % 256}.{1 + number % 100}"


@asynccontextmanager
async def dial(url: str, number: int) -> AsyncIterator[Link]:
    """Open a socket from an address of its own."""
    connection = await _connect(url, number)
    try:
        yield Link(url, connection)
    finally:
        await connection.close()


async def _connect(url: str, number: int) -> ClientConnection:
    """Connect; again where the server has cut the handshake: a process that gets no processor for 5 s is too slow."""
    for _ in range(_TRIES):
        with suppress(InvalidMessage, ConnectionError):
            return await connect(
                url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                proxy=None,
                ping_interval=None,
                open_timeout=_WAIT_S,
                local_addr=(address_of(number), 0),
            )
    raise SystemExit("the server takes no more connections")


class Crowd:
    """The hosts of one process."""

    def __init__(self, url: str, first: int, count: int) -> None:
        self._url, self._first, self._count = url, first, count
        self._held = AsyncExitStack()
        self._hosts: list[tuple[SigningKey, SigningKey]] = []
        self._publishing: dict[int, Link] = {}
        self._newer: list[tuple[Link, bytes]] = []
        self._seq, envelope = int(time.time() * 1000), EnvelopeKey.generate()
        self._usual = Listing(
            peer=bytes(32),
            seq=self._seq,
            issued_ms=self._seq,
            expires_ms=self._seq + 2 * _HOUR_MS,
            kind=ListingKind.SLOT,
            storage_bytes=1 << 35,
            free_bytes=1 << 34,
            region="EU",
            availability=950,
            term_s=365 * 86_400,
            lock_s=30 * 86_400,
            inbox=bytes(32),
            envelope_key=envelope.public,
            envelope_id=envelope_id(envelope.public),
        )

    async def arrive(self) -> int:
        """Open all inboxes, publish all listings, stay; return how many came."""
        self._hosts = [(SigningKey.generate(), SigningKey.generate()) for _ in range(self._count)]
        gate = asyncio.Semaphore(_AT_ONCE)

        async def enter(place: int) -> None:
            async with gate:
                await self._come(place)

        await asyncio.gather(*(enter(place) for place in range(self._count)))
        gc.freeze()  # else each of its collections goes through all of these, and what is measured meanwhile waits
        return self._count

    async def _come(self, place: int) -> None:
        key, inbox = self._hosts[place]
        number = self._first + place
        link = await self._held.enter_async_context(dial(self._url, number))
        challenge = await link.ask(OpenInbox(inbox.public), Challenge, timeout_s=_WAIT_S)
        blob = inbox_proof_blob(challenge.nonce, authority(self._url), inbox.public)
        await link.ask(ProveInbox(inbox.sign(Purpose.INBOX, blob)), InboxOpen, timeout_s=_WAIT_S)
        link = await self._held.enter_async_context(dial(self._url, number))
        self._publishing[place] = link
        await _publish(link, self._sign(key, inbox, seq=self._seq))

    def _sign(self, key: SigningKey, inbox: SigningKey, *, seq: int) -> bytes:
        return sign_listing(msgspec.structs.replace(self._usual, peer=key.public, inbox=inbox.public, seq=seq), key)

    def prepare(self, count: int) -> int:
        """Sign a newer listing of as many hosts; return of how many."""
        wanted = list(self._publishing.items())[:count]
        self._seq += 1
        self._newer = [(link, self._sign(*self._hosts[place], seq=self._seq)) for place, link in wanted]
        return len(self._newer)

    async def publish(self) -> int:
        """Publish what was prepared, all at once; return how many."""
        await asyncio.gather(*(_publish(link, signed) for link, signed in self._newer))
        return len(self._newer)

    async def browse(self) -> list[float]:
        """Ask for pages at a steady rate, each viewer from a socket of its own; return what each took, in seconds."""
        took: list[float] = []
        start_s = time.perf_counter() + 2

        async def view(number: int) -> None:
            async with dial(self._url, self._first + 100 * number) as link:
                for turn in range(PAGES_PER_S * PAGES_S // self._count):
                    due_s = start_s + (turn * self._count + number) / PAGES_PER_S
                    await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                    await link.ask(Browse(b"", 50), Page, timeout_s=_WAIT_S)
                    took.append(time.perf_counter() - due_s)

        await asyncio.gather(*(view(number) for number in range(self._count)))
        return took

    async def obey(self, command: str) -> int | list[float]:
        """Do what a line says, and return what it brought."""
        word, _, number = command.strip().partition(" ")
        match word:
            case "arrive":
                return await self.arrive()
            case "prepare":
                return await asyncio.to_thread(self.prepare, int(number))
            case "publish":
                return await self.publish()
            case _:
                return await self.browse()


async def _publish(link: Link, signed: bytes) -> None:
    answer = await link.ask(Publish(signed), Published, timeout_s=_WAIT_S)
    if not answer.accepted:
        raise SystemExit(f"a listing was refused: {answer.code}")


async def main(url: str, first: int, count: int) -> None:
    """Obey until the input ends."""
    crowd = Crowd(url, first, count)
    while command := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await crowd.obey(command)), flush=True)
    os._exit(0)  # cut, as when a machine goes down: to close ten thousands of sockets politely takes a minute


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
