"""Client of one server: one socket per purpose, typed messages, reconnection.

Knows: the WebSocket library, the client's half of the protocol. Must not know: other servers, what listings and sealed
messages say. Every foreign exception becomes `Unavailable` (weather) or `ProtocolViolation` (the server's fault) here.
"""

import asyncio
import logging
import os
import random
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.crypto.digest import Domain, hash_bytes
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import BackupPeerError, PeerFault, ProtocolViolation, Unavailable
from backuppeer.signaling.listing import ListingKind, peek_listing
from backuppeer.signaling.messages import (
    OTHER_VERSION,
    SUBPROTOCOL,
    Answer,
    Browse,
    Challenge,
    CloseCode,
    InboxOpen,
    Message,
    OpenInbox,
    Page,
    ProveInbox,
    Publish,
    Published,
    Refusal,
    Request,
    Taken,
    decode_answer,
    encode,
    explain_refusal,
    inbox_proof_blob,
)
from backuppeer.signaling.pace import Pace
from backuppeer.signaling.piecewise import Answering
from backuppeer.signaling.proxying import proxy_for
from backuppeer.signaling.servers import authority
from backuppeer.signaling.stamping import NOT_TAKEN, TOO_MUCH, OnProving, Work, is_affordable, is_made, make_stamp

T = TypeVar("T")
OnMessage = Callable[[bytes, str], Awaitable[None]]
"""Called with (sealed bytes, server address). When it returns, the server is told to forget the message; when it raises
one of our errors the message is forgotten too (it is bad for ever). Any other exception is a bug: it ends the reader
and comes out of `close`."""
OnState = Callable[[bool, str], None]
"""Called with (connected, error) whenever a lasting socket changes."""
_LIBRARY_LOG: Final = logging.getLogger("backuppeer.signaling.client.websockets")
_LIBRARY_LOG.setLevel(logging.CRITICAL + 1)  # it logs tracebacks of dropped connections; states and errors tell ours
_LOG: Final = logging.getLogger("backuppeer.signaling.client")
_SEEN_MESSAGES: Final = 4 * limits.INBOX_MESSAGES
UNTRUSTED: Final = "its certificate is not trusted"
"""Stands in the error of a `wss://` server that could not prove its name; the pool gives the advice."""
_STATUS_TEXT: Final = {
    421: "the server does not know itself by this name (its operator must name it as an origin)",
    429: "too many connections from this network",
    503: "the server is full or shutting down",
}


class _Connect(connect):
    """Dial without following redirects: an inbox proof is bound to the name we were told to dial."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Refuse, by handing the exception back."""
        return exc


class Link:
    """One open socket to one server."""

    def __init__(self, url: str, connection: ClientConnection) -> None:
        self.url = url
        self._connection = connection

    async def send(self, request: Request) -> None:
        """Send a message.

        Raises:
            Unavailable: the connection is lost or was closed by the server.

        """
        try:
            await self._connection.send(encode(request))
        except ConnectionClosed as exc:
            raise Unavailable(_describe_close(self.url, exc)) from exc

    async def receive(self, *kinds: type[T]) -> T:
        """Wait for the next message, which must be of one of these kinds.

        Raises:
            Unavailable: the connection is lost or was closed by the server.
            ProtocolViolation: the server sent something else.

        """
        try:
            answer: Answer = decode_answer(await self._connection.recv())
        except ConnectionClosed as exc:
            raise Unavailable(_describe_close(self.url, exc)) from exc
        if not isinstance(answer, kinds):
            raise ProtocolViolation(f"{self.url} answered {type(answer).__name__}, not {kinds[0].__name__}")
        return answer

    async def ask(self, request: Request, *kinds: type[T], timeout_s: float = limits.SERVER_CONNECT_S) -> T:
        """Send a message and wait for its answer.

        Raises:
            Unavailable: connection lost, or no answer in time.
            ProtocolViolation: the server sent something else.

        """
        try:
            async with asyncio.timeout(timeout_s):
                await self.send(request)
                return await self.receive(*kinds)
        except TimeoutError as exc:
            raise Unavailable(f"{self.url} did not answer within {timeout_s:g} s") from exc


@asynccontextmanager
async def open_link(url: str, *, timeout_s: float = limits.SERVER_CONNECT_S) -> AsyncIterator[Link]:
    """Open a fresh, unauthenticated socket to a server, and close it at the end.

    Raises:
        Unavailable: refused, not found, not a signaling server, or no answer in time.

    """
    connection = await _dial(url, timeout_s)
    try:
        yield Link(url, connection)
    finally:
        try:
            await connection.close()
        finally:
            connection.transport.abort()  # cancelled while closing: leave no half-open socket behind


async def browse_server(url: str, *, limit: int) -> AsyncGenerator[Page]:
    """Yield a server's pages, in its random order, until at least `limit` rows or the end.

    Raises:
        Unavailable: the server can't be reached, or is lost in between.
        ProtocolViolation: it does not keep to the protocol.

    """
    seen, cursor = 0, b""
    async with open_link(url) as link:
        while seen < limit:
            page = await link.ask(Browse(cursor, min(limits.PAGE_LISTINGS, limit - seen)), Page)
            yield page
            # An empty page counts too: a server can't keep us asking for ever.
            seen, cursor = seen + max(1, len(page.rows)), page.cursor
            if not cursor:
                return


def backoff_s(attempt: int, randomness: random.Random) -> float:
    """Return the wait before an attempt (0 = first repetition): full jitter under a roof that doubles by landings."""
    roof = min(limits.RECONNECT_SOON_S, limits.RECONNECT_BASE_S * 2 ** min(attempt, 16))
    late = min(max(0, attempt - limits.RECONNECT_SOON_TRIES), 16)
    return randomness.uniform(0, min(limits.RECONNECT_MAX_S, roof * 2**late))


class Publication:
    """One listing on show at one server: published again after each reconnection, replaced on request."""

    def __init__(
        self, url: str, on_state: OnState, *, randomness: random.Random, clock: Clock, on_proving: OnProving
    ) -> None:
        self._url = url
        self._on_state = on_state
        self._clock, self._on_proving = clock, on_proving
        self._stamp, self._work = b"", Work()
        self._was_taken = False
        self._randomness = randomness
        self._listing = b""
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._verdict: asyncio.Future[Published] | None = None

    def replace(self, listing: bytes) -> "asyncio.Future[Published]":
        """Show these signed bytes from now on; the future is the server's verdict, whenever it comes."""
        if self._verdict is not None and not self._verdict.done():
            self._verdict.cancel()
        self._listing = listing
        self._verdict = asyncio.get_running_loop().create_future()
        self._changed.set()
        self._wake.set()
        return self._verdict

    async def run(self) -> None:
        """Keep the newest listing published until cancelled."""
        await _keep(
            self._url,
            self._serve,
            on_state=self._on_state,
            randomness=self._randomness,
            wake=self._wake,
            was_settled=lambda: self._was_taken,
        )

    async def _serve(self, link: Link) -> None:
        self._was_taken = False
        self._changed.set()
        while True:
            await self._wait_change(link)
            listing, verdict = self._listing, self._verdict
            self._changed.clear()
            if not listing:
                continue
            answer = await self._publish(link, listing)
            self._was_taken |= answer.accepted
            error = "" if answer.accepted else f"the listing was refused: {explain_refusal(answer.code)}"
            self._on_state(True, error)  # noqa: FBT003 - the callback's two values are its documented form
            if verdict is not None and not verdict.done():
                verdict.set_result(answer)

    async def _publish(self, link: Link, listing: bytes) -> Published:
        """Publish, with work for the server if it wants some; what is worth none, or asks too much, stays refused."""
        answer = await link.ask(Publish(listing, self._stamp), Published)
        shown = peek_listing(listing)
        if answer.code != Refusal.STAMP or shown.kind is ListingKind.TOMBSTONE:
            return answer
        if not is_affordable(answer.bits):
            return Published(accepted=False, code=TOO_MUCH)
        server = authority(self._url)
        if not is_made(self._stamp, shown.peer, server, answer.bits, clock=self._clock):
            self._on_proving(self._url, True)  # noqa: FBT003 - the callback's two values are its documented form
            try:
                self._stamp = await make_stamp(shown.peer, server, answer.bits, clock=self._clock, work=self._work)
            finally:
                self._on_proving(self._url, False)  # noqa: FBT003
            answer = await link.ask(Publish(listing, self._stamp), Published)
        return Published(accepted=False, code=NOT_TAKEN) if answer.code == Refusal.STAMP else answer

    async def _wait_change(self, link: Link) -> None:
        """Wait for a new listing, or notice that the socket died; nothing else may come from the server."""
        changed = asyncio.ensure_future(self._changed.wait())
        heard = asyncio.ensure_future(link.receive(Published))
        try:
            await asyncio.wait({changed, heard}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            heard.cancel()
            # Awaited: the library allows one reader at a time, and a cancelled one still counts until it ended.
            await asyncio.gather(changed, heard, return_exceptions=True)
        if not heard.cancelled():
            heard.result()
            raise ProtocolViolation(f"{self._url} spoke unasked")


class InboxReader:
    """One inbox at one server, kept open; each message is handed on once."""

    def __init__(
        self, url: str, key: SigningKey, *, on_message: OnMessage, on_state: OnState, randomness: random.Random
    ) -> None:
        self._url = url
        self._key = key
        self._on_message = on_message
        self._on_state = on_state
        self._randomness = randomness
        self._seen: deque[bytes] = deque(maxlen=_SEEN_MESSAGES)
        self._wake, self._pace = asyncio.Event(), Pace()

    def wake(self) -> None:
        """Try again now, if it is waiting to."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the inbox open until cancelled."""
        await _keep(self._url, self._serve, on_state=self._on_state, randomness=self._randomness, wake=self._wake)

    async def _serve(self, link: Link) -> None:
        challenge = await link.ask(OpenInbox(self._key.public), Challenge)
        proof = inbox_proof_blob(challenge.nonce, authority(self._url), self._key.public)
        await link.ask(ProveInbox(self._key.sign(Purpose.INBOX, proof)), InboxOpen)
        self._on_state(True, "")  # noqa: FBT003 - the callback's two values are its documented form
        while True:
            message = await link.receive(Message)
            await self._hand_on(message)
            await link.send(Taken(message.number))
            await asyncio.sleep(self._pace.take(asyncio.get_running_loop().time()))

    async def _hand_on(self, message: Message) -> None:
        """Hand on once: after a lost `Taken` the server sends again, and numbers start anew when it restarts."""
        digest = hash_bytes(Domain.STATEMENT, message.sealed)
        if digest in self._seen:
            return
        try:
            await self._on_message(message.sealed, self._url)
        except BackupPeerError as exc:
            _LOG.info("a message of an inbox was refused: %s", exc.message)
        self._seen.append(digest)


async def _keep(
    link_to: str,
    serve: Callable[[Link], Awaitable[None]],
    *,
    on_state: OnState,
    randomness: random.Random,
    wake: asyncio.Event,
    was_settled: Callable[[], bool] = lambda: True,
) -> None:
    """Open a link and serve it, again and again with backoff; `wake` ends a wait early.

    was_settled: whether the last link came to what it was for; one that did not is no reason to begin the backoff anew,
    however long it lived.
    """
    attempt = 0
    while True:
        opened_s = asyncio.get_running_loop().time()
        try:
            async with open_link(link_to) as link:
                await serve(link)
        except (Unavailable, PeerFault) as exc:
            on_state(False, exc.message)  # noqa: FBT003 - the callback's two values are its documented form
        lived_s = asyncio.get_running_loop().time() - opened_s
        attempt = 0 if lived_s > limits.RECONNECT_SETTLED_S and was_settled() else attempt + 1
        with suppress(TimeoutError):
            async with asyncio.timeout(backoff_s(attempt, randomness)):
                await wake.wait()
        wake.clear()


async def _dial(url: str, timeout_s: float) -> ClientConnection:
    proxy = proxy_for(url)
    try:
        return await _Connect(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            create_connection=Answering,
            user_agent_header=None,  # tells nothing but costs a fingerprint
            open_timeout=timeout_s,
            close_timeout=limits.SERVER_CLOSE_S,
            max_size=limits.SIGNALING_FRAME_BYTES,
            logger=_LIBRARY_LOG,
            proxy=proxy,
        )
    except InvalidStatus as exc:
        raise Unavailable(f"{url}: {_describe_status(exc)}") from exc
    except TimeoutError as exc:
        raise Unavailable(f"{url} did not answer within {timeout_s:g} s") from exc
    except (OSError, WebSocketException, EOFError) as exc:
        raise Unavailable(f"{url}: {_describe(exc)}") from exc


def _describe_status(exc: InvalidStatus) -> str:
    status = exc.response.status_code
    # What a server of ours says of itself; anything else that it may say is nothing that we would repeat.
    other = OTHER_VERSION.fullmatch(exc.response.body or b"")
    if status == HTTPStatus.BAD_REQUEST and other is not None:
        return f"the server is of another version: it speaks {other[1].decode()}, this program {SUBPROTOCOL}"
    return _STATUS_TEXT.get(status, f"HTTP status {status}")


def _describe(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"{UNTRUSTED}: {exc.verify_message.rstrip('.')}"
    if isinstance(exc, ssl.SSLError):
        return f"no TLS connection: {(exc.reason or str(exc)).replace('_', ' ').lower()}"
    if isinstance(exc, OSError) and exc.errno is not None and exc.strerror:
        return (os.strerror(exc.errno) if exc.errno > 0 else exc.strerror).lower()  # below 0: a name is not known
    return str(exc) or "the server hung up"  # a connection reset in the TLS handshake has no words of its own


def _describe_close(url: str, exc: ConnectionClosed) -> str:
    if exc.sent is not None and exc.sent.code == CloseCode.TOO_BIG:
        return f"{url} sent a message that is too long"
    if exc.rcvd is None:
        return f"{url}: connection lost"
    return f"{url} closed the connection: {exc.rcvd.code} {exc.rcvd.reason}".rstrip()
