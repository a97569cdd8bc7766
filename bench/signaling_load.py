"""A signaling server under load: hosts that idle, listings published, pages browsed.

Knows: the protocol, through the client that peers use. Must not know: the server's inside: it is a process of its own,
started by the command line, its limits on but for work of new keys. Connections come from all over 127.0.0.0/8, since
the server counts addresses and networks. A host is two sockets, as in life: one that publishes, one for its inbox.

Run as `signaling_load.py HOSTS`; figures on standard output.
"""

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
from meter import Meter, read_anonymous
from peer import Report
from process import run_command
from websockets.asyncio.client import connect
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

MEMORY = "KiB of memory per idle host"
PUBLISHED = "listings published per second"
P50 = "ms for a page of 50 at 200/s (median)"
P99 = "ms for a page of 50 at 200/s (99 of 100)"
PAGES_PER_S = 200
PAGES_S = 10
VIEWERS = 40
CPU_ARRIVAL = "ms of the server's processor time for a host that arrives"
CPU_PAGE = "ms of the server's processor time for a page of 50"
CPU_LISTING = "ms of the server's processor time for a listing"
CPU_IDLE = "µs of the server's processor time each second for an idle host"
IDLE_S = 20
_AT_ONCE = 64
_SPARE_FILES = 300
"""Open files beside two for each host."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_HOUR_MS = 3_600_000


class SignalingLoad:
    """One server, and one process that is all its clients."""

    name = "signaling"
    synced = "nothing is stored"
    can_restore = False

    def __init__(self, root: Path, meter: Meter, *, hosts: int) -> None:
        self._meter, self._hosts = meter, hosts
        root.mkdir(parents=True)

    def backup(self, paths: list[Path]) -> Report:  # noqa: ARG002 - there are no files
        """Load it."""
        words = [sys.executable, str(Path(__file__).resolve()), str(self._hosts)]
        found: dict[str, float] = json.loads(run_command(words, os.environ, self._meter))
        return Report(figures=found)

    def restore(self, target: Path) -> None:
        """Nothing was kept: there is nothing to restore."""

    def stored_bytes(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing runs."""


@asynccontextmanager
async def serve() -> AsyncIterator[tuple[str, int]]:
    """Run a server; yield its address and its process."""
    command = [sys.executable, "-m", "backuppeer.cli.main", "server", "--listen", "127.0.0.1:0", "--stamp-bits", "0"]
    command += ["--limit", "load_keys_per_s=1000000", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:  # noqa: ASYNC220 - nothing else runs yet
        try:
            if process.stdout is None:
                raise SystemExit("the server says nothing")
            ready = json.loads(await asyncio.to_thread(process.stdout.readline))
            yield f"ws://{ready['listen']}", process.pid
        finally:
            process.terminate()
            process.wait(30)


def address_of(number: int) -> str:
    """Return an address of loopback, another network for each 100 hosts."""
    return f"127.{1 + number // 25_600}.{number // 100 % 256}.{1 + number % 100}"


@asynccontextmanager
async def dial(url: str, number: int) -> AsyncIterator[Link]:
    """Open a socket from an address of its own."""
    async with connect(
        url,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        proxy=None,
        ping_interval=None,
        local_addr=(address_of(number), 0),
    ) as connection:
        yield Link(url, connection)


def make_listings(count: int) -> list[tuple[bytes, SigningKey]]:
    """Return signed listings, each of a peer of its own, and the keys of their inboxes."""
    envelope, now_ms = EnvelopeKey.generate(), int(time.time() * 1000)
    usual = Listing(
        peer=bytes(32),
        seq=now_ms,
        issued_ms=now_ms,
        expires_ms=now_ms + 2 * _HOUR_MS,
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
    made = []
    for _ in range(count):
        key, inbox = SigningKey.generate(), SigningKey.generate()
        listing = msgspec.structs.replace(usual, peer=key.public, inbox=inbox.public)
        made.append((sign_listing(listing, key), inbox))
    return made


async def come(url: str, number: int, listing: tuple[bytes, SigningKey], held: AsyncExitStack) -> None:
    """Be a host: open the inbox, publish, stay."""
    signed, inbox = listing
    link = await held.enter_async_context(dial(url, number))
    challenge = await link.ask(OpenInbox(inbox.public), Challenge, timeout_s=60)
    blob = inbox_proof_blob(challenge.nonce, authority(url), inbox.public)
    await link.ask(ProveInbox(inbox.sign(Purpose.INBOX, blob)), InboxOpen, timeout_s=60)
    link = await held.enter_async_context(dial(url, number))
    answer = await link.ask(Publish(signed), Published, timeout_s=60)
    if not answer.accepted:
        raise SystemExit(f"a listing was refused: {answer.code}")


async def publish_all(url: str, listings: list[tuple[bytes, SigningKey]], pid: int) -> tuple[float, float]:
    """Publish each once, over sockets that are open before; return how many a second, and the server's time for all."""
    async with AsyncExitStack() as held:
        links = [await held.enter_async_context(dial(url, 100_000 + number)) for number in range(len(listings))]
        began, used = time.perf_counter(), processor_s(pid)
        await asyncio.gather(
            *(
                link.ask(Publish(signed), Published, timeout_s=60)
                for link, (signed, _) in zip(links, listings, strict=True)
            )
        )
        return len(listings) / (time.perf_counter() - began), processor_s(pid) - used


async def browse_steadily(url: str) -> list[float]:
    """Ask for pages at a steady rate, each viewer from a socket of its own; return what each took, in seconds."""
    took: list[float] = []

    async def view(number: int, start_s: float) -> None:
        async with dial(url, 200_000 + 100 * number) as link:
            for turn in range(PAGES_PER_S * PAGES_S // VIEWERS):
                due_s = start_s + (turn * VIEWERS + number) / PAGES_PER_S
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                await link.ask(Browse(b"", 50), Page, timeout_s=60)
                took.append(time.perf_counter() - due_s)

    start_s = time.perf_counter() + 2
    await asyncio.gather(*(view(number, start_s) for number in range(VIEWERS)))
    return took


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used; on a busy machine it says more than the clock."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


async def measure(hosts: int) -> dict[str, float]:
    """Return the figures with so many hosts."""
    listings = await asyncio.to_thread(make_listings, hosts)
    async with serve() as (url, pid), AsyncExitStack() as held:
        before, began, gate = read_anonymous(pid), time.perf_counter(), asyncio.Semaphore(_AT_ONCE)

        async def enter(number: int) -> None:
            async with gate:
                await come(url, number, listings[number], held)

        used = [processor_s(pid)]
        await asyncio.gather(*(enter(number) for number in range(hosts)))
        arrived_s, memory = time.perf_counter() - began, read_anonymous(pid) - before
        used.append(processor_s(pid))
        await asyncio.sleep(IDLE_S)
        used.append(processor_s(pid))
        pages = sorted(await browse_steadily(url))
        used.append(processor_s(pid))
        fresh = await asyncio.to_thread(make_listings, min(2_000, hosts))
        published, publishing_s = await publish_all(url, fresh, pid)
    return {
        "idle hosts": hosts,
        MEMORY: memory / hosts / 1024,
        "hosts that arrived per second": hosts / arrived_s,
        CPU_ARRIVAL: 1000 * (used[1] - used[0]) / hosts,
        PUBLISHED: published,
        CPU_LISTING: 1000 * publishing_s / len(fresh),
        P50: 1000 * statistics.median(pages),
        P99: 1000 * pages[len(pages) * 99 // 100],
        CPU_PAGE: 1000 * (used[3] - used[2]) / len(pages),
        CPU_IDLE: 1e6 * (used[2] - used[1]) / IDLE_S / hosts,
    }


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if (wanted := 2 * int(sys.argv[1]) + _SPARE_FILES) > most:
        fits = (most - _SPARE_FILES) / 2 / int(sys.argv[1])
        raise SystemExit(f"{wanted} open files are needed, and {most} allowed here: SCALE={fits:.2f} fits")
    print(json.dumps(asyncio.run(measure(int(sys.argv[1])))))
