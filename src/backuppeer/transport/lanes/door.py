"""How a lane comes about: one side opens a door for a moment, the other dials it.

Knows: ports, the token, who may knock. Must not know: sessions, messages, what travels. The token is good for one lane;
before TLS is spoken at all, only the address of the session's own path is let in.
"""

import asyncio
import errno
import hmac
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Final, Self

from backuppeer.crypto.certificate import Certificate
from backuppeer.errors import AuthenticationFault, LocalError, PeerUnreachable
from backuppeer.limits import LANE_DIAL_S, LANE_HANDSHAKES, LANE_OFFER_S, LANE_TOKEN_BYTES
from backuppeer.transport.lanes.lane import Lane
from backuppeer.transport.lanes.tls import (
    Talk,
    abandon_handshake,
    await_handshake,
    make_context,
    shake_hands,
    start_handshake,
)

_WELCOME: Final = b"\x01"
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_S: Final = 1.0
_REFUSALS_TOLD: Final = 8
"""At one door: a flood of callers must not push everything else out of the log."""
OnRefused = Callable[[str], None]
"""Is told why somebody at the door was turned away, in words for the log."""


class LaneDoor:
    """A listening port for one lane; open in a `with`, LANE_OFFER_S at most. `ip`: where the peer will come from."""

    def __init__(
        self, bind: str, *, ip: str, ours: Certificate, theirs: bytes, token: bytes, on_refused: OnRefused
    ) -> None:
        """Listen on a free port of the local address `bind`.

        Raises:
            LocalError: nothing can be bound there.

        """
        self._ip, self._theirs, self._token, self._on_refused = ip, theirs, token, on_refused
        self._context = make_context(ssl.PROTOCOL_TLS_SERVER, ours, theirs)
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        try:
            self._listener = socket.create_server((bind, 0), family=family, backlog=LANE_HANDSHAKES)
        except OSError as exc:
            raise LocalError(f"no port for a lane at {bind}: {exc.strerror}") from exc
        self._listener.settimeout(0)
        self._threads = ThreadPoolExecutor(LANE_HANDSHAKES, thread_name_prefix="lane-door")
        self._checks: set[asyncio.Task[None]] = set()
        self._refusals = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def port(self) -> int:
        """The port to tell the peer."""
        return int(self._listener.getsockname()[1])

    async def accept(self) -> Lane:
        """Return the lane of the first who proves to be the peer.

        Raises:
            PeerUnreachable: nobody did within LANE_OFFER_S.

        """
        loop = asyncio.get_running_loop()
        winner: asyncio.Future[Lane] = loop.create_future()
        # Not sock_accept: what it has accepted when it is cancelled would be lost, and stay open.
        loop.add_reader(self._listener, self._let_in, winner)
        try:
            async with asyncio.timeout(LANE_OFFER_S):
                return await winner
        except TimeoutError as exc:
            raise PeerUnreachable("nobody came to the lane's door") from exc
        except asyncio.CancelledError:
            if winner.done() and not winner.cancelled():
                winner.result().close()
            raise
        finally:
            loop.remove_reader(self._listener)
            for check in self._checks:
                check.cancel()
            await asyncio.gather(*self._checks, return_exceptions=True)

    def _let_in(self, winner: "asyncio.Future[Lane]") -> None:
        loop = asyncio.get_running_loop()
        try:
            caller, address = self._listener.accept()
        except OSError as exc:
            if exc.errno in _EXHAUSTED:
                # The caller still waits, so the loop would call again at once, for nothing.
                loop.remove_reader(self._listener)
                loop.call_later(_PAUSE_S, self._listen_on, winner)
            return
        if address[0] != self._ip:
            caller.close()
            self._refuse(f"a caller from {address[0]}")
            return
        try:
            handshake = start_handshake(self._threads, partial(self._shake_hands, caller))
        except LocalError as exc:
            caller.close()
            self._refuse(exc.message)
            return
        # Only a job that never began leaves the socket to us; else it is TLS's, in the middle of another thread.
        handshake.add_done_callback(lambda done: caller.close() if done.cancelled() else None)
        check = loop.create_task(self._check(handshake, winner))
        self._checks.add(check)
        if len(self._checks) == LANE_HANDSHAKES:
            loop.remove_reader(self._listener)

        def checked(task: "asyncio.Task[None]") -> None:
            if task.cancelled():
                abandon_handshake(handshake)
            self._checks.discard(task)
            self._listen_on(winner)

        check.add_done_callback(checked)

    def _listen_on(self, winner: "asyncio.Future[Lane]") -> None:
        if not winner.done() and self._listener.fileno() >= 0 and len(self._checks) < LANE_HANDSHAKES:
            asyncio.get_running_loop().add_reader(self._listener, self._let_in, winner)

    def _refuse(self, reason: str) -> None:
        self._refusals += 1
        if self._refusals <= _REFUSALS_TOLD:
            self._on_refused(reason)

    async def _check(self, handshake: "Future[ssl.SSLSocket]", winner: "asyncio.Future[Lane]") -> None:
        try:
            connection = await await_handshake(handshake)
        except (OSError, AuthenticationFault) as exc:
            self._refuse(f"{type(exc).__name__}: {exc}"[:200])
            return
        if winner.done():
            connection.close()
        else:
            winner.set_result(Lane(connection))

    def _shake_hands(self, caller: socket.socket) -> ssl.SSLSocket:
        def talk(with_caller: Talk) -> None:
            if not hmac.compare_digest(with_caller.receive(LANE_TOKEN_BYTES), self._token):
                raise AuthenticationFault("the token of another lane")
            with_caller.send(_WELCOME)

        return shake_hands(self._context, caller, self._theirs, is_server=True, talk=talk)


async def dial_lane(ip: str, port: int, *, ours: Certificate, theirs: bytes, token: bytes) -> Lane:
    """Return a lane to the door at `ip` and `port`.

    Raises:
        PeerUnreachable: nobody answers there within LANE_DIAL_S, or closes on us.
        AuthenticationFault: whoever answers has not the certificate `theirs`.

    """
    context = make_context(ssl.PROTOCOL_TLS_CLIENT, ours, theirs)

    def talk(with_host: Talk) -> None:
        with_host.send(token)
        with_host.receive(len(_WELCOME))

    def dial() -> ssl.SSLSocket:
        plain = socket.create_connection((ip, port), timeout=LANE_DIAL_S)
        return shake_hands(context, plain, theirs, is_server=False, talk=talk)

    thread = ThreadPoolExecutor(1, thread_name_prefix="lane-dial")
    try:
        return Lane(await await_handshake(start_handshake(thread, dial)))
    except ssl.SSLCertVerificationError as exc:
        raise AuthenticationFault("somebody else answers at the lane's door") from exc
    except OSError as exc:
        raise PeerUnreachable(f"no lane to {ip}: {exc.strerror or exc}") from exc
    finally:
        thread.shutdown(wait=False)
