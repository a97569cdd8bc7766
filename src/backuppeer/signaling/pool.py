"""Pool: many signaling servers as one; publish to all, ask all, survive the loss of all but one.

Knows: which servers there are and how they do, local verification, merging. Must not know: what the viewer wants of a
host (no filter ever reaches a server), the agent. Each publication, browse, deposit and inbox has sockets of its own,
unauthenticated and fresh, so that a server is told nothing that links them.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from backuppeer import limits
from backuppeer.clock import Clock, SystemClock, format_time
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import LocalError, NoSignaling
from backuppeer.ids import PeerId
from backuppeer.signaling.board import Acceptance, Board, ServerStatus
from backuppeer.signaling.browse import BrowseResult, Browsing, OnRows
from backuppeer.signaling.client import UNTRUSTED, InboxReader, OnMessage, Publication
from backuppeer.signaling.depositing import WANTS_WORK, OnWork, leave_message
from backuppeer.signaling.health import HealthBook
from backuppeer.signaling.merge import SeqMemory
from backuppeer.signaling.messages import WRONG_CLOCK
from backuppeer.signaling.probe import advise
from backuppeer.signaling.servers import check_servers, is_safe_foreign, is_server_url, parse_server
from backuppeer.signaling.stamping import OnProving

__all__ = ["Acceptance", "BrowseResult", "InboxHandle", "OnMessage", "OnRows", "Pool", "ServerStatus"]
_WAY_OUT: Final = "check addresses and network"
# The agent has the environment it was started with, so it must start anew to see the variable.
_OWN_CERTIFICATE: Final = (
    "somebody may be posing as the server, do not go on blindly; if it is your own, name the file of its certificate "
    "authority in the environment variable SSL_CERT_FILE, then `backup-peer agent stop`"
)


class Pool:
    """All servers of one home. Use `async with`, or call `close`. One event loop."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: Clock | None = None,
        memory: SeqMemory | None = None,
        health: HealthBook | None = None,
        randomness: random.Random | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """Take server addresses (already resolved; empty = none), the memory of listing numbers and of servers' health.

        `on_change` is called when a server was reached or lost: see `states`.

        Raises:
            UserError: an address is malformed.

        """
        self._urls = check_servers(urls)
        self._clock = clock or SystemClock()
        self._memory = memory or SeqMemory()
        self._health = health or HealthBook()
        self._randomness = randomness or random.SystemRandom()
        self._on_change = on_change or (lambda: None)
        self.on_proving: OnProving = _ignore
        """Set by who shows people what takes its time."""
        self._status = {url: ServerStatus(url=url, connected=False) for url in self._urls}
        self._publications: dict[str, Publication] = {}
        self._board = Board(())
        self._publishing: dict[str, asyncio.Task[None]] = {}
        self._inboxes: dict[str, InboxReader] = {}
        self._open: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def urls(self) -> list[str]:
        """The servers, in the order given."""
        return list(self._urls)

    def attend(self, key: SigningKey, on_message: OnMessage) -> None:
        """Open the inbox of `key` at every server, and again after each loss, until `close`.

        From now on a listing is on show at a server only while the inbox is open there: whoever sees an offer can
        knock at it. A server that is lost takes its listing down by itself.
        """
        for url in self._urls:
            on_state = self._attendance(url)
            reader = InboxReader(url, key, on_message=on_message, on_state=on_state, randomness=self._randomness)
            self._inboxes[url] = reader
            self._spawn(self._hold(url, reader))

    async def publish(self, listing: bytes, *, within_s: float = limits.BROWSE_SOFT_S) -> list[Acceptance]:
        """Publish signed listing bytes everywhere, and again after every reconnection, until `withdraw` or `close`.

        Returns when every server answered, or after `within_s` with at least one acceptance, or after
        SERVER_CONNECT_S. Servers that were away are tried again in the background for ever. A later call replaces the
        listing (a refresh).

        Raises:
            NoSignaling: no server accepted it (the attempts go on nevertheless).

        """
        outcomes = await self._publish_all(listing, within_s)
        if not any(outcome.accepted for outcome in outcomes):
            failure = no_signaling("no signaling server took the offer", outcomes)
            if any(WRONG_CLOCK in outcome.error for outcome in outcomes):
                says = format_time(self._clock.now_ms())
                failure.hint = f"it says {says}: set it right, then try again; if it is right, the server's is wrong"
            raise failure
        return outcomes

    async def attended(self, *, within_s: float = limits.BROWSE_SOFT_S) -> list[Acceptance]:
        """Return at which servers the attended inbox is open, for a slot that is not published; waits as `publish`.

        Raises:
            NoSignaling: at none (the attempts go on nevertheless).

        """
        board = self._board = Board(self._urls)
        for url in self._open:
            board.put(url, accepted=True, error="")
        await board.settle(within_s)
        outcomes = board.outcomes()
        if not any(outcome.accepted for outcome in outcomes):
            raise no_signaling("no signaling server opened the inbox of the slot", outcomes)
        return outcomes

    async def withdraw(self, tombstone: bytes, *, within_s: float = limits.BROWSE_SOFT_S) -> list[Acceptance]:
        """Publish a signed tombstone and close the publications; servers away forget the listing by themselves."""
        outcomes = await self._publish_all(tombstone, within_s)
        await self._stop(self._publishing.values())
        self._publishing.clear()
        self._publications.clear()
        return outcomes

    async def browse(
        self,
        *,
        limit: int = limits.BROWSE_PER_SERVER,
        everything: bool = False,
        on_rows: OnRows | None = None,
        wanted: PeerId | None = None,
    ) -> BrowseResult:
        """Ask every server in parallel, verify and merge; at most `limit` rows per server unless `everything`.

        Returns after BROWSE_SOFT_S with what arrived, or as soon as the first answered if none had by then; with
        `everything`, when every server that answered has handed out all, or one has handed out the peer `wanted`.

        Raises:
            NoSignaling: no server answered.

        """
        per_server = limits.BROWSE_ALL_PER_SERVER if everything else limit
        browsing = Browsing(self._memory, self._clock, limit=per_server, on_rows=on_rows, wanted=wanted)
        result = await browsing.run(self._urls, spawn=self._spawn, is_patient=everything)
        for url, tally in result.tallies.items():
            self._note(url, connected=True, error="")
            self._health.take(url, tally, now_ms=self._clock.now_ms())
        for status in result.failed:
            self._note(status.url, connected=False, error=status.error)
        if not result.answered:
            failures = [Acceptance(url=s.url, accepted=False, error=s.error) for s in result.failed]
            raise no_signaling("no signaling server answered", failures)
        return result

    async def deposit(
        self, servers: Sequence[str], inbox: bytes, sealed: bytes, *, on_work: OnWork | None = None
    ) -> str:
        """Leave KNOCK_BYTES sealed bytes in an inbox, at the first of `servers` that takes it; return its address.

        Own servers among them are tried first, in the order given: name first the one where the inbox is surely open,
        since no server says whether it knows an inbox. Others were named by a peer and are dialled only over `wss://`
        and never at an address literal or a local name: a listing is no way to make us probe somebody's network.
        on_work: told of work for a flooded server, which is done where no other takes the message; None = do none.

        Raises:
            NoSignaling: none of them could be reached, or took it.
            LocalError: `sealed` has another length.

        """
        if len(sealed) != limits.KNOCK_BYTES:
            raise LocalError(f"a deposit has {limits.KNOCK_BYTES} bytes, not {len(sealed)}")
        urls = self._reachable(servers)
        tried = await leave_message(urls, inbox, sealed, on_work=on_work, on_outcome=self._note_deposit)
        if tried and tried[-1].accepted:
            return tried[-1].url
        raise no_signaling("no signaling server took the message", tried)

    async def open_inbox(
        self, key: SigningKey, on_message: OnMessage, *, servers: Sequence[str] | None = None
    ) -> "InboxHandle":
        """Open the inbox of `key` at every server (or at `servers`) and keep it open, reconnecting, until closed.

        Returns when every server answered, or after BROWSE_SOFT_S with at least one open, or after SERVER_CONNECT_S;
        `InboxHandle.open_at` says where it is open. Servers named by a peer are held to the rule of `deposit`.

        Raises:
            NoSignaling: no server opened it.

        """
        urls = self._urls if servers is None else self._reachable(servers)
        board = Board(urls)
        tasks = [self._spawn(self._reader(url, key, on_message, board).run()) for url in urls]
        handle = InboxHandle(board, lambda: self._stop(tasks))
        await board.settle(limits.BROWSE_SOFT_S)
        if not handle.open_at():
            await handle.close()
            raise no_signaling("no signaling server opened the inbox", board.outcomes())
        return handle

    def states(self) -> list[ServerStatus]:
        """Return how each server did last, in the order given."""
        return [self._status[url] for url in self._urls]

    async def close(self) -> None:
        """Close all sockets; listings vanish from the servers after their grace. Idempotent."""
        self._publishing.clear()
        self._publications.clear()
        self._inboxes.clear()
        self._open.clear()
        await self._stop(self._tasks)

    async def _publish_all(self, listing: bytes, within_s: float) -> list[Acceptance]:
        board = self._board = Board(self._urls)
        for url in self._urls:
            if url not in self._publications:
                self._publications[url] = self._make_publication(url)
                if url not in self._inboxes or url in self._open:
                    self._publishing[url] = self._spawn(self._publications[url].run())
            verdict = self._publications[url].replace(listing)
            verdict.add_done_callback(board.taker(url))
            if url in self._inboxes:
                self._inboxes[url].wake()
        await board.settle(within_s)
        return board.outcomes()

    def _make_publication(self, url: str) -> Publication:
        on_state = self._publication_state(url)
        return Publication(url, on_state, randomness=self._randomness, clock=self._clock, on_proving=self._note_proving)

    def _note_proving(self, url: str, goes_on: bool) -> None:  # noqa: FBT001 - OnProving
        self._board.prolong(url, goes_on=goes_on)
        self.on_proving(url, goes_on)

    def _publication_state(self, url: str) -> Callable[[bool, str], None]:
        def on_state(connected: bool, error: str) -> None:  # noqa: FBT001 - OnState
            self._note(url, connected=connected, error=error)
            if not connected:
                self._board.put(url, accepted=False, error=error)

        return on_state

    async def _hold(self, url: str, reader: InboxReader) -> None:
        try:
            await reader.run()
        finally:
            # Also when a bug of ours ended the reader: an offer that nobody can knock at must not stay on show.
            self._take_down(url, error=f"{url}: the inbox is closed")

    def _attendance(self, url: str) -> Callable[[bool, str], None]:
        """Return what starts the publication at a server once the inbox is open there, and ends it when it is lost."""

        def on_state(connected: bool, error: str) -> None:  # noqa: FBT001 - OnState
            self._take_down(url, error=error)
            if not connected:
                return
            self._open.add(url)
            if url in self._publications:
                self._publishing[url] = self._spawn(self._publications[url].run())
            elif not self._publications:
                self._note(url, connected=True, error="")
                self._board.put(url, accepted=True, error="")

        return on_state

    def _take_down(self, url: str, *, error: str) -> None:
        """End the publication at a server; `error` is empty when it is only begun anew."""
        self._open.discard(url)
        publishing = self._publishing.pop(url, None)
        if publishing is not None:
            publishing.cancel()
        if error:
            self._note(url, connected=False, error=error)
            self._board.put(url, accepted=False, error=error)

    def _reader(self, url: str, key: SigningKey, on_message: OnMessage, board: Board) -> InboxReader:
        def on_state(connected: bool, error: str) -> None:  # noqa: FBT001 - OnState
            self._note(url, connected=connected, error=error)
            board.put(url, accepted=connected, error=error)

        return InboxReader(url, key, on_message=on_message, on_state=on_state, randomness=self._randomness)

    def _reachable(self, named: Iterable[str]) -> list[str]:
        """Return which of the named servers may be dialled, each group as named: own ones, then safe foreign ones."""
        urls = list(dict.fromkeys(parse_server(text) for text in named if is_server_url(text)))
        known = [url for url in urls if url in self._urls]
        foreign = [url for url in urls if url not in self._urls and is_safe_foreign(url)]
        return [*known, *foreign][: limits.SERVERS]

    def _note(self, url: str, *, connected: bool, error: str) -> None:
        if url in self._status:
            was = self._status[url]
            # Who shows a status shows its address too: once is enough.
            said = error.removeprefix(url).lstrip(": ")
            self._status[url] = ServerStatus(url=url, connected=connected, error=said)
            is_lost = was.connected and not connected
            self._health.note(url, reached=connected, error=said, now_ms=self._clock.now_ms(), is_lost=is_lost)
            if was.connected != connected:
                self._on_change()

    def _note_deposit(self, outcome: Acceptance) -> None:
        if outcome.url not in self._inboxes:  # else its lasting sockets tell, and a passing one must not speak for them
            is_there = outcome.accepted or outcome.error == WANTS_WORK
            self._note(outcome.url, connected=is_there, error=outcome.error)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[None]) -> None:
        """Forget a task that ended well; one that failed is kept for whoever stops it to raise."""
        if task.cancelled() or task.exception() is None:
            self._tasks.discard(task)

    async def _stop(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Cancel tasks and wait for them; an exception among them is a bug of ours and comes out here."""
        stopping = list(tasks)
        for task in stopping:
            task.cancel()
        outcomes = await asyncio.gather(*stopping, return_exceptions=True)
        self._tasks.difference_update(stopping)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome


class InboxHandle:
    """An inbox kept open at one or more servers."""

    def __init__(self, board: Board, stop: Callable[[], Coroutine[None, None, None]]) -> None:
        self._board = board
        self._stop = stop

    def open_at(self) -> list[str]:
        """Return the servers where it is open now; a knock names these for its reply."""
        return [outcome.url for outcome in self._board.outcomes() if outcome.accepted]

    async def close(self) -> None:
        """Close its sockets. Idempotent."""
        await self._stop()


def _ignore(url: str, goes_on: bool) -> None:  # noqa: FBT001 - OnProving
    del url, goes_on


def no_signaling(what: str, tried: Sequence[Acceptance]) -> NoSignaling:
    """Return the error for a step that needed a server and had none; it names each server tried and why it failed."""
    if not tried:
        return NoSignaling(what + ": none is configured", hint="name one with --server, or in the configuration")
    reasons = "; ".join(_reason(outcome) for outcome in tried)
    advised = [advise(outcome.error) for outcome in tried]
    way_out = next((f"{advice} Check that" for advice in advised if "TLS" in advice), _WAY_OUT)
    if any(UNTRUSTED in outcome.error for outcome in tried):
        way_out = _OWN_CERTIFICATE
    return NoSignaling(f"{what}: {reasons}", hint=f"{way_out}, or name another --server")


def _reason(outcome: Acceptance) -> str:
    """Return why a server did not do it, naming the server once."""
    if outcome.url in outcome.error:
        return outcome.error
    return f"{outcome.url}: {outcome.error}" if outcome.error else f"{outcome.url} gave no answer"
