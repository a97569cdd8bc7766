"""The command line's end of the control API: blocking HTTP over the agent's Unix socket.

Knows: the socket, JSON lines, which error class stands behind an exit code. Must not know: the terminal, how an agent
is started. One connection per call: it costs microseconds, and closing it is how work is cancelled. Kept free of
asyncio and of every third-party package but msgspec: start-up time.
"""

import http.client
import os
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from backuppeer.control.api import Request
from backuppeer.control.codec import convert_json, decode_json, encode_json
from backuppeer.control.events import ErrorResult, Event, EventName, More
from backuppeer.control.feeder import Take, open_feed
from backuppeer.control.frames import HEAD_BYTES, PROXY_HEADER, FrameKind, decode_head
from backuppeer.errors import (
    AuthenticationFault,
    BackupPeerError,
    ExitCode,
    IncompleteError,
    IntegrityFault,
    InterruptedByUserError,
    LocalError,
    NoSignaling,
    NotFoundError,
    PeerUnreachable,
    PendingError,
    RefusedError,
    UserError,
)
from backuppeer.limits import CONTROL_BODY_BYTES, CONTROL_LINE_BYTES, CONTROL_PIECE_BYTES

T = TypeVar("T")

_CLASSES: Final[dict[int, type[BackupPeerError]]] = {
    ExitCode.USAGE: UserError,
    ExitCode.INCOMPLETE: IncompleteError,
    ExitCode.PENDING: PendingError,
    ExitCode.NOT_FOUND: NotFoundError,
    ExitCode.UNREACHABLE: PeerUnreachable,
    ExitCode.AUTHENTICATION: AuthenticationFault,
    ExitCode.REFUSED: RefusedError,
    ExitCode.NO_SIGNALING: NoSignaling,
    ExitCode.INTEGRITY: IntegrityFault,
    ExitCode.INTERRUPTED: InterruptedByUserError,
}


class AgentNotRunning(LocalError):  # noqa: N818 - a state to act on, not a failure
    """Nobody listens at the socket: the caller may start an agent and try again."""


class Client:
    """Calls one agent."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self.proxy: str | None = None
        """What signaling goes through for our requests; empty = none, None = as the agent has it by itself."""

    def call(self, route: str, request: Request, result: type[T], *, timeout_s: float | None = None) -> T:
        """Send `request` to an answer route and return its result; no timeout unless said.

        Raises:
            AgentNotRunning: nobody listens.
            BackupPeerError: what the agent answered, as the class of its exit code.

        """
        with self._post(route, request, timeout_s) as response:
            return _decode(response.read(), result)

    def work(self, route: str, request: Request, *, timeout_s: float | None = None) -> Generator[Event, None, None]:
        """Send `request` to a work route and yield its events, `done` as the last one.

        Closing the generator closes the connection, and that cancels the work. No timeout between events unless said.

        Raises:
            AgentNotRunning: nobody listens.
            BackupPeerError: the `error` event, as the class of its exit code.

        """
        with self._post(route, request, timeout_s) as response:
            yield from _read_events(response, route)

    def feed(self, route: str, request: Request, take: Take) -> Generator[Event, None, None]:
        """Send `request` to a feed route, then what `take` gives whenever the agent asks for it; else as `work`.

        `take` is called in a thread of its own; what it raises ends the work, and is raised here in the agent's words.
        """
        body = _encode(request)
        with self._connect(route, None, hint=_FROM_THE_START) as connection:
            feeder = open_feed(connection, f"/v1/{route}", body, take)
            try:
                for event in _read_events(_answer_of(connection), route, hint=_FROM_THE_START):
                    if event.event == EventName.MORE:
                        feeder.want(_convert(event.data, More).pieces)
                    else:
                        yield event
            finally:
                feeder.close()

    def bulk(
        self, route: str, request: Request, *, timeout_s: float | None = None
    ) -> Generator[Event | memoryview, None, None]:
        """Send `request` to a bulk route and yield its events and bytes, `done` as the last; else as `work`.

        Bytes are valid until the next step: there is one buffer. The agent waits for who doesn't read on.
        """
        buffer = memoryview(bytearray(CONTROL_PIECE_BYTES))
        with self._post(route, request, timeout_s, hint=_FROM_THE_START) as response:
            while head := response.read(HEAD_BYTES):
                kind, length = _read_head(head)
                if kind is FrameKind.BYTES:
                    if response.readinto(buffer[:length]) != length:
                        break
                    yield buffer[:length]
                    continue
                event = _read_event(response.read(length))
                yield event
                if event.event == EventName.DONE:
                    return
        raise _went_away(route, hint=_FROM_THE_START)

    @contextmanager
    def _post(
        self, route: str, request: Request, timeout_s: float | None, *, hint: str = ""
    ) -> Iterator[http.client.HTTPResponse]:
        body = _encode(request)
        with self._connect(route, timeout_s, hint=hint) as connection:
            connection.request("POST", f"/v1/{route}", body, {"content-type": "application/json"})
            yield _answer_of(connection)

    @contextmanager
    def _connect(self, route: str, timeout_s: float | None, *, hint: str) -> Iterator[http.client.HTTPConnection]:
        connection = _UnixConnection(self._path, timeout_s, self.proxy)
        try:
            yield connection
        except (ConnectionRefusedError, FileNotFoundError) as exc:
            raise AgentNotRunning("the agent isn't running", hint="`backup-peer agent start` starts it") from exc
        except TimeoutError as exc:
            raise LocalError("the agent does not answer", hint="`backup-peer agent stop`, then try again") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise _went_away(route, hint=hint) from exc
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None, proxy: str | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path, self._proxy = path, proxy

    def endheaders(self, *args: Any, **named: Any) -> None:
        if self._proxy is not None:
            self.putheader(PROXY_HEADER, self._proxy)
        super().endheaders(*args, **named)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def error_from(said: ErrorResult) -> BackupPeerError:
    """Return the error that an exit code, message and hint stand for."""
    return _CLASSES.get(said.code, LocalError)(said.message, hint=said.hint)


def _encode(request: Request) -> bytes:
    body = encode_json(request)
    if len(body) > CONTROL_BODY_BYTES:
        raise UserError(
            f"the request is larger than {CONTROL_BODY_BYTES} bytes", hint="name a folder instead of its files"
        )
    return body


def _answer_of(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    response = connection.getresponse()
    if response.status != http.client.OK:
        raise error_from(_decode(response.read(CONTROL_LINE_BYTES), ErrorResult))
    return response


def _read_events(response: http.client.HTTPResponse, route: str, *, hint: str = "") -> Generator[Event, None, None]:
    while line := response.readline(CONTROL_LINE_BYTES + 1):
        if len(line) > CONTROL_LINE_BYTES:
            raise LocalError(f"the agent sent an event of more than {CONTROL_LINE_BYTES} bytes")
        event = _read_event(line)
        yield event
        if event.event == EventName.DONE:
            return
    raise _went_away(route, hint=hint)


def _went_away(route: str, *, hint: str = "") -> LocalError:
    verb = route.partition("/")[0]
    return LocalError(f"the agent ended during {verb}", hint=hint or "run the command again: finished work is kept")


def _read_event(data: bytes) -> Event:
    """Return an event that is none of failure.

    Raises:
        BackupPeerError: what an `error` event says, as the class of its exit code.

    """
    event = _decode(data, Event)
    if event.event == EventName.ERROR:
        raise error_from(_convert(event.data, ErrorResult))
    return event


def _read_head(head: bytes) -> tuple[FrameKind, int]:
    try:
        return decode_head(head)
    except ValueError as exc:
        raise LocalError(f"the agent answered what this version can't read: {exc}", hint=_OTHER_VERSION) from exc


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return decode_json(data, kind)
    except ValueError as exc:
        raise LocalError(f"the agent answered what this version can't read: {exc}", hint=_OTHER_VERSION) from exc


def _convert(value: object, kind: type[T]) -> T:
    try:
        return convert_json(value, kind)
    except ValueError as exc:
        raise LocalError(f"the agent answered what this version can't read: {exc}", hint=_OTHER_VERSION) from exc


_FROM_THE_START: Final = "run the command again: it starts from the beginning"
_OTHER_VERSION: Final = "`backup-peer agent stop`, then try again"
