"""One browse over several servers: ask in parallel, verify each row here, merge, stop at the soft deadline.

Knows: pages, verification, merging. Must not know: filters, trust, what a row is wanted for.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import aclosing, suppress

import msgspec

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.errors import AuthenticationFault, PeerFault, Unavailable
from backuppeer.ids import PeerId
from backuppeer.signaling.board import ServerStatus
from backuppeer.signaling.client import browse_server
from backuppeer.signaling.health import Tally
from backuppeer.signaling.listing import VerifiedListing, open_listing
from backuppeer.signaling.merge import Merger, SeqMemory

OnRows = Callable[[list[VerifiedListing]], None]
"""Called with the rows that are new, or replace an earlier row of the same peer, as they arrive; a tombstone among them
(kind) takes its peer's row back."""
Spawn = Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"]


class BrowseResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a browse found. `seen`: rows received over all servers; `refused`: rows that failed verification.

    A server that answered first and then broke off is among those that failed, too.
    """

    listings: list[VerifiedListing]
    seen: int
    refused: int
    answered: list[str]
    failed: list[ServerStatus]
    tallies: dict[str, Tally] = {}
    """What each server that answered handed out, by its address."""


class Browsing:
    """State of one browse."""

    def __init__(
        self,
        memory: SeqMemory,
        clock: Clock,
        *,
        limit: int,
        on_rows: OnRows | None,
        wanted: PeerId | None = None,
    ) -> None:
        self._merger, self._verified = Merger(memory), memory.verified
        self._wanted = wanted
        self._clock = clock
        self._limit = limit
        self._on_rows = on_rows
        self._opened: dict[bytes, VerifiedListing | PeerFault] = {}
        self._tallies: dict[str, Tally] = {}
        self._seen = 0
        self._refused = 0
        self._answered: dict[str, None] = {}
        self._errors: dict[str, str] = {}
        self._first, self._turned = asyncio.Event(), asyncio.Event()

    async def run(self, urls: Sequence[str], *, spawn: Spawn, is_patient: bool) -> BrowseResult:
        """Ask all; return at the soft deadline, or with the first answer after it.

        Patiently: when those that answered are through, or the peer wanted is among the rows by then, or after
        BROWSE_PATIENT_S; a server that drips its rows can't hold a step up for longer.
        """
        tasks = {url: spawn(self._ask(url)) for url in urls}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=limits.BROWSE_SOFT_S)
            await self._wait_first(tasks.values())
        if is_patient and self._answered:
            await self._wait_all([tasks[url] for url in self._answered])
        for task in tasks.values():
            if task.done():
                task.result()  # raises only what is a bug, such as a callback's
            task.cancel()  # the spawner awaits their end; a hung server must not hold the result up
        silent = {url: f"{url} did not answer in time" for url in urls if url not in self._answered} | self._errors
        return BrowseResult(
            listings=self._merger.listings(),
            seen=self._seen,
            refused=self._refused,
            answered=list(self._answered),
            failed=[ServerStatus(url=u, connected=False, error=silent[u]) for u in urls if u in silent],
            tallies={url: self._merger.fill(url, self._tallies[url]) for url in self._answered},
        )

    async def _wait_all(self, tasks: Collection[asyncio.Task[None]]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.BROWSE_PATIENT_S):
                while (pending := [task for task in tasks if not task.done()]) and not self._has_wanted():
                    self._turned.clear()
                    turned = asyncio.create_task(self._wait_turned())
                    await asyncio.wait([turned, *pending], return_when=asyncio.FIRST_COMPLETED)
                    turned.cancel()

    def _has_wanted(self) -> bool:
        return self._wanted is not None and self._merger.has(self._wanted)

    async def _wait_turned(self) -> None:
        await self._turned.wait()

    async def _wait_first(self, tasks: Collection[asyncio.Task[None]]) -> None:
        """Wait until a server answered or all have failed; each fails by itself within SERVER_CONNECT_S."""
        while not self._answered and (pending := [task for task in tasks if not task.done()]):
            first = asyncio.create_task(self._wait_answer())
            await asyncio.wait([first, *pending], return_when=asyncio.FIRST_COMPLETED)
            first.cancel()

    async def _wait_answer(self) -> None:
        await self._first.wait()

    async def _ask(self, url: str) -> None:
        try:
            async with aclosing(browse_server(url, limit=self._limit)) as pages:
                async for page in pages:
                    self._answered[url] = None
                    self._take(page.rows, url)
                    self._first.set()
                    self._turned.set()
        except (Unavailable, PeerFault) as exc:
            self._errors[url] = exc.message

    def _take(self, rows: list[bytes], url: str) -> None:
        news, tally = [], self._tallies.setdefault(url, Tally())
        for signed in rows:
            self._seen, tally.rows = self._seen + 1, tally.rows + 1
            row = self._open(signed, tally)
            new = self._merger.add(row, url) if row is not None else None
            if new is not None:
                news.append(new)
        if news and self._on_rows is not None:
            self._on_rows(news)

    def _open(self, signed: bytes, tally: Tally) -> VerifiedListing | None:
        """Verify a row once, however many servers hand it out, now or later (100 µs a signature)."""
        digest = hash_bytes(Domain.STATEMENT, signed)
        if digest not in self._opened:
            try:
                self._opened[digest] = open_listing(signed, self._clock.now_ms(), self._verified)
            except PeerFault as exc:
                self._opened[digest] = exc
        row = self._opened[digest]
        if not isinstance(row, PeerFault):
            return row
        self._refused += 1
        if isinstance(row, AuthenticationFault):
            tally.forged += 1
        else:
            tally.unreadable += 1
        return None
