"""The server process: listen, serve, sweep, stop.

Knows: how the parts are put together. Must not know: what they do. One port carries the WebSocket protocol and the
HTTP answers, and the relay where there is one; its observers have the same port in UDP.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Final, NamedTuple

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from backuppeer import limits
from backuppeer.clock import Clock, SystemClock
from backuppeer.errors import LocalError, UserError
from backuppeer.signaling.messages import SUBPROTOCOL
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.desk import Desk
from backuppeer.signaling.server.door import Door, Visitor, visitor_of
from backuppeer.signaling.server.drain import drain
from backuppeer.signaling.server.engine import Engine
from backuppeer.signaling.server.hops import Hops
from backuppeer.signaling.server.memory import MemoryEngine
from backuppeer.signaling.server.notes import MemoryNotes, Notes
from backuppeer.signaling.server.relay import SUBPROTOCOLS
from backuppeer.signaling.server.relaying import Relaying

_QUEUE_FRAMES: Final = 4
_LIBRARY_LOG: Final = logging.getLogger("backuppeer.signaling.server.websockets")
# The library logs a full traceback for each connection that drops in its opening or its pings, and can name addresses.
# What matters is logged by the desk.
_LIBRARY_LOG.setLevel(logging.CRITICAL + 1)


class Keeping(NamedTuple):
    """Where the state of a server lies; what is not given is kept in memory. Whoever makes them closes them.

    relaying: for peers that can't reach each other; without, the server has no relay.
    """

    engine: Engine | None = None
    notes: Notes | None = None
    relaying: Relaying | None = None


def parse_listen(text: str) -> tuple[str | None, int]:
    """Return host (None = all interfaces) and port of `HOST:PORT`, `[V6]:PORT` or `:PORT`.

    Raises:
        UserError: not of that form.

    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UserError(f"not an address to listen on: {text[:80]!r}", hint="use HOST:PORT, for example 127.0.0.1:8443")
    return host or None, int(port)


async def run_server(  # noqa: PLR0913 - one for each wish of an operator
    listen: str,
    *,
    origins: Sequence[str] = (),
    caps: Caps | None = None,
    clock: Clock | None = None,
    keeping: Keeping | None = None,
    trusted: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Serve until cancelled, then close every connection with 1001 within `caps.drain_s`, and raise CancelledError.

    listen: `HOST:PORT`, port 0 = any. origins: the addresses clients dial (`servers.parse_server` syntax), needed when
    they are not this machine's own name or address: behind a proxy or a translated port. on_ready: called once with
    the bound port when connections are accepted. keeping: where state lies; in this process's memory unless given.
    trusted: the proxies whose word counts on where a connection comes from.

    Raises:
        UserError: the address or an origin is malformed, or it can't be listened on.

    """
    host, port = parse_listen(listen)
    caps, clock = caps or Caps(), clock or SystemClock()
    keeping = keeping or Keeping()
    engine, notes = keeping.engine or MemoryEngine(caps, clock=clock), keeping.notes or MemoryNotes(caps.memory_notes)
    desk = Desk(engine, notes, caps, clock=clock)
    hops = Hops(trusted)
    door = Door(caps, clock=clock, origins=origins, listen_host=host, hops=hops, metrics=desk.metrics)
    relaying = keeping.relaying
    if relaying is not None:
        desk.metrics.watch_relay(relaying.relay.counters)
    await engine.open(desk)
    try:
        server = await _bind(listen, _listen(host, port, door=door, desk=desk, tls=tls, relaying=relaying))
        bound = [found.getsockname()[:2] for found in server.sockets]
        try:
            async with relaying.running(bound, sweep_s=caps.sweep_s) if relaying else nullcontext():
                door.is_ready = True
                if on_ready is not None:
                    on_ready(bound[0][1])
                await _sweep_for_ever(engine, notes, desk, caps, clock)
        finally:
            door.is_ready = False
            await drain(server, over_s=caps.drain_s)
    finally:
        await engine.close()


async def _bind(listen: str, listening: Awaitable[Server]) -> Server:
    try:
        return await listening
    except OSError as exc:
        raise UserError(f"can't listen on {listen}: {exc.strerror or exc}", hint="choose another --listen") from exc


def _listen(
    host: str | None, port: int, *, door: Door, desk: Desk, tls: ssl.SSLContext | None, relaying: Relaying | None
) -> Awaitable[Server]:
    """Return the library's server, not yet listening, that knows this door and this desk."""
    caps = door.caps
    door.has_relay = relaying is not None

    async def handle(connection: ServerConnection) -> None:
        visitor = visitor_of(connection)
        if relaying is None:
            await desk.serve(connection, visitor)
        elif visitor.is_for_relay:
            await relaying.relay.serve(connection, visitor.network)
        else:
            await desk.serve(connection, visitor, partial(relaying.answer, visitor.network))

    class Guest(Visitor):
        """A visitor of this very door."""

    Guest.door = door
    return serve(
        handle,
        host,
        port,
        create_connection=Guest,
        process_request=door.answer,
        subprotocols=[Subprotocol(name) for name in (SUBPROTOCOL, *SUBPROTOCOLS)],
        compression=None,  # sizes would leak, and it costs 64 KiB a connection
        server_header=None,
        open_timeout=caps.handshake_s,
        close_timeout=limits.SERVER_CLOSE_S,
        max_size=caps.frame_bytes,
        max_queue=_QUEUE_FRAMES,
        logger=_LIBRARY_LOG,
        ssl=tls,
    )


async def _sweep_for_ever(engine: Engine, notes: Notes, desk: Desk, caps: Caps, clock: Clock) -> None:
    while True:
        await desk.update_metrics()
        await asyncio.sleep(caps.sweep_s)
        with suppress(LocalError):  # the disk refuses: what is kept there is of the last time
            await engine.sweep()
        with suppress(LocalError):  # the disk refuses; whoever leaves a note is told, and the log
            await notes.sweep(now_ms=clock.now_ms())
