"""The command's end of a feed route: a thread that sends the next piece of a stream each time the agent asks for one.

Knows: frames in a chunked HTTP body. Must not know: where the bytes come from, what the agent answers.
"""

import http.client
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from backuppeer.control.codec import encode_json
from backuppeer.control.events import ErrorResult, Event, EventName
from backuppeer.control.frames import MEDIA_TYPE, FrameKind, encode_frame
from backuppeer.errors import BackupPeerError
from backuppeer.limits import CONTROL_PIECE_BYTES

Take = Callable[[int], bytes]
"""Returns at most so many next bytes of the stream, none at its end; a BackupPeerError when they can't be had."""


class Feeder:
    """Feeds one request; `close` must be called, and ends the connection for the agent if the stream is not over."""

    def __init__(self, sock: socket.socket, take: Take) -> None:
        self._socket, self._take = sock, take
        self._wanted = threading.Semaphore(0)
        self._is_closed = self._is_over = False
        # A daemon: it may hang in reading a terminal when the work has ended already.
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._thread.start()

    def want(self, pieces: int) -> None:
        """Send so many pieces more."""
        self._wanted.release(pieces)

    def close(self) -> None:
        """Send nothing more."""
        self._is_closed = True
        self._wanted.release()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _run(self) -> None:
        try:
            while not self._is_over:
                self._wanted.acquire()
                if self._is_closed:
                    return
                self._send_next()
        except OSError:
            return  # the agent is gone, which whoever reads its answers hears
        finally:
            if not self._is_over:
                # Else both ends would wait: this one for an answer, the agent for the stream.
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _send_next(self) -> None:
        try:
            data = self._take(CONTROL_PIECE_BYTES)
        except BackupPeerError as exc:
            said = ErrorResult(code=int(exc.exit_code), message=exc.message, hint=exc.hint)
            self._send_end(Event(event=EventName.ERROR, data=msgspec.to_builtins(said)))
            return
        if data:
            _send_chunk(self._socket, encode_frame(FrameKind.BYTES, data))
        else:
            self._send_end(Event(event=EventName.DONE))

    def _send_end(self, event: Event) -> None:
        _send_chunk(self._socket, encode_frame(FrameKind.EVENT, encode_json(event)))
        self._socket.sendall(b"0\r\n\r\n")
        self._is_over = True


def open_feed(connection: http.client.HTTPConnection, path: str, request: bytes, take: Take) -> Feeder:
    """Send the head of a feed and its request (JSON); what follows is sent when it is wanted.

    Raises:
        OSError: the agent can't be reached.

    """
    connection.putrequest("POST", path)
    connection.putheader("content-type", MEDIA_TYPE)
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    # A descriptor of its own: the connection lets go of its socket when it likes to.
    own = connection.sock.dup()
    try:
        _send_chunk(own, encode_frame(FrameKind.EVENT, request))
    except OSError:
        own.close()
        raise
    return Feeder(own, take)


def _send_chunk(sock: socket.socket, data: bytes) -> None:
    """Send a chunk of an HTTP/1.1 body (RFC 9112, 7.1)."""
    sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))
