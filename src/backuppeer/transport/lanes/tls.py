"""The handshake of a lane, in a thread: TLS 1.3 between two certificates that both sides know, within LANE_HANDSHAKE_S.

Knows: TLS contexts and sockets. Must not know: who listens where. Fail closed: no older TLS, no tickets, hence no
resumption; each side trusts one certificate, the other's, and compares it byte for byte after the handshake.
"""

import asyncio
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future

from backuppeer.crypto.certificate import Certificate
from backuppeer.errors import AuthenticationFault, LocalError
from backuppeer.limits import LANE_HANDSHAKE_S, LANE_SILENT_S


class Talk:
    """What is said right after the handshake; the time of the handshake goes on running."""

    def __init__(self, connection: ssl.SSLSocket, end_s: float) -> None:
        self._connection, self._end_s = connection, end_s

    def send(self, data: bytes) -> None:
        """Send a few bytes."""
        self._connection.settimeout(self._left_s())
        self._connection.sendall(data)

    def receive(self, size_bytes: int) -> bytes:
        """Return exactly so many bytes.

        Raises:
            OSError: they did not come in time.

        """
        data = b""
        while len(data) < size_bytes:
            # In all, not for each: a byte now and then must not hold a place.
            self._connection.settimeout(self._left_s())
            piece = self._connection.recv(size_bytes - len(data))
            if not piece:
                raise ConnectionResetError("closed in the handshake")
            data += piece
        return data

    def _left_s(self) -> float:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the handshake took too long")
        return left_s


def make_context(side: int, ours: Certificate, theirs: bytes) -> ssl.SSLContext:
    """Return a context (`ssl.PROTOCOL_TLS_SERVER` or `_CLIENT`) that shows `ours` and takes nothing but `theirs`.

    Raises:
        AuthenticationFault: `theirs` is no certificate.

    """
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=theirs)
    except (ssl.SSLError, ValueError) as exc:
        raise AuthenticationFault("the peer's certificate is none") from exc
    try:
        load_certificate(context, ours)
    except OSError as exc:
        raise LocalError(f"our certificate can't be used: {exc.strerror or exc}") from exc
    if side == ssl.PROTOCOL_TLS_SERVER:
        # No tickets: a lane can't be resumed, its keys die with it.
        context.num_tickets = 0
    return context


def load_certificate(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Give OpenSSL a key that it takes from files only: from one in memory, else from a private one for a moment."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("lane", os.MFD_CLOEXEC)
        try:
            os.write(fd, certificate.pem)
            context.load_cert_chain(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        return
    fd, path = tempfile.mkstemp()  # mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(certificate.pem)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)  # noqa: PTH108 - a str from mkstemp


def shake_hands(
    context: ssl.SSLContext, plain: socket.socket, theirs: bytes, *, is_server: bool, talk: Callable[[Talk], None]
) -> ssl.SSLSocket:
    """Return the connection made of `plain` after both certificates and `talk` were right; else everything is closed.

    Raises:
        AuthenticationFault: another certificate, or what `talk` raises.
        OSError: TLS failed, or it took too long.

    """
    end_s = time.monotonic() + LANE_HANDSHAKE_S
    try:
        plain.settimeout(LANE_HANDSHAKE_S)
        connection = context.wrap_socket(plain, server_side=is_server)
    except BaseException:
        plain.close()
        raise
    try:
        _check_certificate(connection, theirs)
        talk(Talk(connection, end_s))
        _settle(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def start_handshake(threads: Executor, call: Callable[[], ssl.SSLSocket]) -> "Future[ssl.SSLSocket]":
    """Start `call` in a thread; what it was given belongs to that thread from now on.

    Raises:
        LocalError: the system gives no more threads.

    """
    try:
        return threads.submit(call)
    except RuntimeError as exc:
        raise LocalError(f"no thread for a lane: {exc}") from exc


async def await_handshake(future: "Future[ssl.SSLSocket]") -> ssl.SSLSocket:
    """Return the connection that a thread makes; if nobody waits any more when it is made, it is closed."""
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        abandon_handshake(future)
        raise


def abandon_handshake(future: "Future[ssl.SSLSocket]") -> None:
    """Close what a thread makes, as soon as it is made."""
    future.add_done_callback(_close_result)


def _close_result(future: "Future[ssl.SSLSocket]") -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().close()


def _settle(connection: ssl.SSLSocket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A path that died without a word must not hold a transfer for minutes; where the system can't, the session's own
    # heartbeat ends it.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", LANE_SILENT_S // 2),
        ("TCP_KEEPINTVL", LANE_SILENT_S // 4),
        ("TCP_KEEPCNT", 2),
        ("TCP_USER_TIMEOUT", LANE_SILENT_S * 1000),
    ):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    connection.settimeout(None)


def _check_certificate(connection: ssl.SSLSocket, theirs: bytes) -> None:
    """Compare what the handshake proved with what the session said; OpenSSL trusts nothing else already."""
    if connection.getpeercert(binary_form=True) != theirs or connection.version() != "TLSv1.3":
        raise AuthenticationFault("another certificate than the session's")
