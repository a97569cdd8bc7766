"""The agent's door: HTTP over a Unix socket, one route per command (DESIGN 1, 10).

Knows: ROUTES, how a handler's result, events and errors become HTTP. Must not know: what a handler does. An answer
route returns one JSON value; a work route streams JSON lines, the last `done` or `error`; a bulk route bytes and events
in frames; a feed route takes bytes in frames (`inflow`) and answers as a work route. Closing the connection is how a
client cancels a work route; a work route that nobody reads waits at `EVENT_QUEUE` events (progress is dropped instead,
the next one supersedes it) or `PIECES` of bytes. Errors go out as code, message and hint; a traceback never does.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route as HttpRoute
from starlette.types import ExceptionHandler, Receive, Scope, Send

from backuppeer.control.api import Request
from backuppeer.control.codec import decode_json, encode_json
from backuppeer.control.events import ErrorResult, Event, EventName
from backuppeer.control.frames import MEDIA_TYPE, PROXY_HEADER, FrameKind, encode_frame
from backuppeer.control.inflow import Inflow
from backuppeer.control.routes import ROUTES, Route
from backuppeer.control.sockets import identify, open_listener
from backuppeer.errors import (
    BackupPeerError,
    ExitCode,
    InterruptedByUserError,
    LocalError,
    UserError,
    full_disk,
    is_out_of_room,
)
from backuppeer.limits import CONTROL_BODY_BYTES, CONTROL_PIECE_BYTES

T = TypeVar("T")
Emit = Callable[[Event | bytes], Awaitable[None]]
Handler = Callable[..., Awaitable[Any]]
"""Takes the route's request struct and `emit`; returns the route's result. An answer route must not emit, and only a
bulk route may emit bytes: up to 1 MiB at a time. The handler of a feed route takes the `Inflow` as well."""

EVENT_QUEUE: Final = 256
PIECES: Final = 4
"""Pieces of a bulk route that wait for its reader: 4 MiB."""
STOP_GRACE_S: Final = 1
"""What open connections get to end by themselves once the agent stops."""
_LOG: Final = structlog.get_logger("control")
_FINAL: Final = {EventName.DONE, EventName.ERROR}
_STATUS: Final = {
    ExitCode.USAGE: 400,
    ExitCode.PENDING: 409,
    ExitCode.NOT_FOUND: 404,
    ExitCode.INCOMPLETE: 424,
    ExitCode.UNREACHABLE: 424,
    ExitCode.AUTHENTICATION: 424,
    ExitCode.REFUSED: 403,
    ExitCode.NO_SIGNALING: 424,
    ExitCode.INTEGRITY: 424,
    ExitCode.INTERRUPTED: 409,
}
"""HTTP status of an error; the exit code in the body is what clients go by. 424 (failed dependency): what the request
needs of others was not to be had. 5xx is a fault of this program or machine, and nothing else is."""


def build_app(
    handlers: Mapping[str, Handler],
    openapi: Callable[[], Mapping[str, Any]],
    *,
    on_proxy: Callable[[str], None] = lambda _: None,
) -> Starlette:
    """Return the application that serves every route of ROUTES through `handlers`, and the document of `openapi`.

    openapi: called when somebody asks for the document, which few do, in a thread: to build it takes a while.
    on_proxy: called in the task of a request that names the proxy for its signaling, before the handler is.

    Raises:
        LocalError: a route without handler, or a handler without route.

    """
    if set(handlers) != set(ROUTES):
        wrong = ", ".join(sorted(set(handlers) ^ set(ROUTES)))
        raise LocalError(f"routes and handlers differ: {wrong}")

    async def describe(_: HttpRequest) -> Response:
        document = await asyncio.to_thread(lambda: encode_json(dict(openapi())))
        return Response(document, media_type="application/json")

    routes = [HttpRoute("/v1/openapi.json", describe, methods=["GET"])]
    routes += [
        HttpRoute(f"/v1/{name}", _endpoint(name, route, handlers[name], on_proxy), methods=["POST"])
        for name, route in ROUTES.items()
    ]
    exceptions: dict[Any, ExceptionHandler] = {404: _answer_unrouted, 405: _answer_unrouted}
    return Starlette(routes=routes, exception_handlers=exceptions)


class ControlServer(uvicorn.Server):
    """A uvicorn server in somebody else's event loop: signals stay with the agent, the socket is ours."""

    def __init__(self, app: Starlette, socket_path: Path) -> None:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # uvicorn's main loop would renew it
            timeout_graceful_shutdown=STOP_GRACE_S,
        )
        super().__init__(config)
        self._path = socket_path
        self._listener = open_listener(socket_path)
        self._identity = identify(socket_path)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End `run_until_stopped`; to be called in its event loop."""
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """Wait for `stop`. uvicorn's own looks ten times a second, and so wakes a machine that has nothing to do."""
        await self._stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signal handlers alone."""
        yield

    async def run_until_stopped(self) -> None:
        """Serve until `stop` is called, then end open streams and remove the socket."""
        try:
            await self.serve(sockets=[self._listener])
        finally:
            self._listener.close()
            # Ours to remove while the home's lock is held; a new home of the same name may have an agent of its own.
            if identify(self._path) == self._identity:
                self._path.unlink(missing_ok=True)


def serve_control(app: Starlette, socket_path: Path) -> ControlServer:
    """Open the socket (clients may connect from now on) and return the server, to be run with `run_until_stopped`.

    The caller holds the home's lock.

    Raises:
        LocalError: the socket can't be opened.

    """
    return ControlServer(app, socket_path)


def _endpoint(
    name: str, route: Route, handler: Handler, on_proxy: Callable[[str], None]
) -> Callable[[HttpRequest], Awaitable[Response]]:
    async def answer(http: HttpRequest) -> Response:
        if route.feed:
            inflow = Inflow()
            request = _parse(await inflow.read_request(http.receive), route.request)
            return _WorkResponse(name, partial(handler, inflow=inflow), request, bulk=False, inflow=inflow)
        request = _parse(await _read_body(http), route.request)
        if route.work or route.bulk:
            return _WorkResponse(name, handler, request, bulk=route.bulk)
        return Response(encode_json(await handler(request, _refuse_event)), media_type="application/json")

    async def endpoint(http: HttpRequest) -> Response:
        proxy = http.headers.get(PROXY_HEADER)
        if proxy is not None:
            try:
                on_proxy(proxy)
            except UserError as exc:
                return _error_response(exc)
        outcome = await outcome_of(name, answer(http))
        return _error_response(outcome) if isinstance(outcome, BackupPeerError) else outcome

    return endpoint


async def outcome_of(name: str, work: Coroutine[None, None, T]) -> T | BackupPeerError:
    """Return what the work of a route returns, or the error that its client is told instead; only cancelling passes."""
    try:
        return await work
    except BackupPeerError as exc:
        return exc
    except Exception as exc:  # noqa: BLE001 - the job loop (ADR 0012): whatever happens inside, a client gets words
        return _tell_unexpected(name, exc)


def _tell_unexpected(name: str, exc: Exception) -> LocalError:
    _LOG.error("unexpected error", route=name, exc_info=exc)
    if is_out_of_room(exc):
        return full_disk(str(getattr(exc, "filename", None) or "a file"))
    return LocalError(f"unexpected error: {type(exc).__name__}", hint="the agent's log says more: logs/ in the home")


class _WorkResponse(Response):
    """Streams a work or bulk route's events and bytes; cancels the handler when the client goes away."""

    def __init__(
        self, name: str, handler: Handler, request: Request, *, bulk: bool, inflow: Inflow | None = None
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE if bulk else "application/x-ndjson")
        self._name = name
        self._handler = handler
        self._request = request
        self._bulk = bulk
        self._inflow = inflow
        self._queue: asyncio.Queue[Event | bytes] = asyncio.Queue(EVENT_QUEUE)
        self._room = asyncio.Semaphore(PIECES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", str(self.media_type).encode()), (b"cache-control", b"no-store")],
            }
        )
        tasks = [
            asyncio.create_task(self._write(send)),
            asyncio.create_task(self._inflow.run(receive) if self._inflow else _wait_gone(receive)),
            asyncio.create_task(self._work()),
        ]
        if self._inflow is not None:
            tasks.append(asyncio.create_task(self._inflow.ask(self._queue.put)))
        try:
            await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():
                # Its terminal was closed, or Ctrl-C: who asks later why nothing came of it finds this.
                _LOG.info("the command went away: its work is cancelled", route=self._name)
        except asyncio.CancelledError:
            stopped = InterruptedByUserError(
                "the agent was stopped", hint="run the command again: finished work is kept"
            )
            # Not raised on: that was the end of the response, and the server would log it as an error of ours.
            await self._send(send, _error_event(stopped))
        finally:
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # again, as the event loop ends: no error either
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        try:
            outcome = await outcome_of(self._name, self._handle())
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            outcome = InterruptedByUserError(f"{self._name} was cancelled")
        await self._queue.put(_error_event(outcome) if isinstance(outcome, BackupPeerError) else outcome)

    async def _handle(self) -> Event:
        result = await self._handler(self._request, self._emit)
        return Event(event=EventName.DONE, data=msgspec.to_builtins(result))

    async def _emit(self, told: Event | bytes) -> None:
        if not isinstance(told, Event):
            if not self._bulk:
                raise LocalError(f"{self._name} can't emit bytes")
            if len(told) > CONTROL_PIECE_BYTES:
                raise LocalError(f"a piece of {len(told)} bytes is too long")
            await self._room.acquire()
        elif told.event in _FINAL:
            raise LocalError(f"a handler may not emit {told.event!r}: return or raise")
        elif told.event == EventName.PROGRESS and self._queue.full():
            return
        await self._queue.put(told)

    async def _write(self, send: Send) -> None:
        while True:
            told = await self._queue.get()
            await self._send(send, told)
            if not isinstance(told, Event):
                self._room.release()
            elif told.event in _FINAL:
                return

    async def _send(self, send: Send, told: Event | bytes) -> None:
        """Send an event or bytes; an event that is final ends the stream."""
        is_final = isinstance(told, Event) and told.event in _FINAL
        await send({"type": "http.response.body", "body": self._encode(told), "more_body": not is_final})

    def _encode(self, told: Event | bytes) -> bytes:
        if not isinstance(told, Event):
            return encode_frame(FrameKind.BYTES, told)
        line = encode_json(told)
        return encode_frame(FrameKind.EVENT, line) if self._bulk else line + b"\n"


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse_event(told: Event | bytes) -> None:
    raise LocalError(f"an answer route can't emit {told.event if isinstance(told, Event) else 'bytes'!r}")


async def _read_body(http: HttpRequest) -> bytes:
    body = bytearray()
    try:
        async for piece in http.stream():
            body += piece
            if len(body) > CONTROL_BODY_BYTES:
                raise UserError(
                    f"the request is larger than {CONTROL_BODY_BYTES} bytes", hint="name fewer paths at once"
                )
    except ClientDisconnect as exc:
        raise UserError("the request broke off", hint="see /v1/openapi.json") from exc
    return bytes(body)


def _parse(body: bytes, kind: type[Request]) -> Request:
    try:
        return decode_json(body or b"{}", kind)
    except ValueError as exc:
        raise UserError(f"bad request: {exc}", hint="see /v1/openapi.json") from exc


def _describe(exc: BackupPeerError) -> ErrorResult:
    return ErrorResult(code=int(exc.exit_code), message=exc.message, hint=exc.hint)


def _error_event(exc: BackupPeerError) -> Event:
    return Event(event=EventName.ERROR, data=msgspec.to_builtins(_describe(exc)))


def _error_response(exc: BackupPeerError) -> Response:
    # Closing spares us reading the rest of a body that was refused.
    return Response(
        encode_json(_describe(exc)),
        status_code=_STATUS.get(exc.exit_code, 500),
        media_type="application/json",
        headers={"connection": "close"},
    )


async def _answer_unrouted(_: HttpRequest, exc: Exception) -> Response:
    body = ErrorResult(code=int(ExitCode.USAGE), message="no such route", hint="see /v1/openapi.json")
    return Response(encode_json(body), status_code=getattr(exc, "status_code", 404), media_type="application/json")
