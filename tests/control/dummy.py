"""A control server in a thread, with handlers that a test scripts."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

from backuppeer import __version__
from backuppeer.control.api import Nothing, PingResult
from backuppeer.control.client import Client
from backuppeer.control.openapi import build_openapi
from backuppeer.control.routes import ROUTES
from backuppeer.control.server import ControlServer, Emit, Handler, build_app, serve_control
from backuppeer.errors import LocalError

PEER = "bp1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0s4nxef0"


async def _unscripted(request: Any, emit: Emit, **_: Any) -> Any:
    raise LocalError(f"the test has no handler for {type(request).__name__}")


async def _ping(request: Nothing, emit: Emit) -> PingResult:
    return PingResult(version=__version__, pid=1, peer_id=PEER)


class Dummy:
    """Serves at `path` between enter and exit; `requests` are what the handlers were given, by route."""

    def __init__(self, path: Path, handlers: dict[str, Handler]) -> None:
        self.client = Client(path)
        self.requests: list[tuple[str, Any]] = []
        self._path = path
        self._handlers = {name: self._note(name, handlers.get(name, _unscripted)) for name in ROUTES}
        if "ping" not in handlers:
            self._handlers["ping"] = _ping
        if "servers" not in handlers:
            self._handlers["servers"] = given([])
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.proxies: list[str] = []
        self.server: ControlServer | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        assert self.server is not None
        with contextlib.suppress(RuntimeError):  # it has ended before, and its loop is closed
            self.call_soon(self.server.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def call_soon(self, action: Callable[[], object]) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(action)

    def _note(self, name: str, handler: Handler) -> Handler:
        async def noted(request: Any, emit: Emit, **more: Any) -> Any:
            self.requests.append((name, request))
            return await handler(request, emit, **more)

        return noted

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        app = build_app(self._handlers, partial(build_openapi, __version__), on_proxy=self.proxies.append)
        self.server = serve_control(app, self._path)
        self._ready.set()
        await self.server.run_until_stopped()


def given(answer: Any) -> Handler:
    """A handler that answers always the same, or raises it."""

    async def handler(request: Any, emit: Emit) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler


def telling(events: list[Any], answer: Any) -> Handler:
    """A work handler that emits events and then answers, or raises."""

    async def handler(request: Any, emit: Emit) -> Any:
        for event in events:
            await emit(event)
        return await given(answer)(request, emit)

    return handler
