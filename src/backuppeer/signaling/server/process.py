"""The server process: listen, serve, sweep, stop.

Knows: how the parts are put together. Must not know: what they do. One port carries the WebSocket protocol and the
HTTP answers, and the relay where there is one; its observers have the same port in UDP.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import NamedTuple

from backuppeer import limits
from backuppeer.clock import Clock, SystemClock
from backuppeer.errors import LocalError, UserError
from backuppeer.signaling.messages import SUBPROTOCOL
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.desk import Desk
from backuppeer.signaling.server.door import Door, Visitor
from backuppeer.signaling.server.drain import drain
from backuppeer.signaling.server.engine import Engine
from backuppeer.signaling.server.hops import Hops
from backuppeer.signaling.server.listener import Listener
from backuppeer.signaling.server.memory import MemoryEngine
from backuppeer.signaling.server.notes import MemoryNotes, Notes
from backuppeer.signaling.server.relay.relay import SUBPROTOCOLS
from backuppeer.signaling.server.relay.relaying import Relaying


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
    host, _ = parse_listen(listen)
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
        listener = _make_listener(door, desk, relaying)
        bound = await _bind(listen, listener, tls)
        try:
            async with relaying.running(bound, sweep_s=caps.sweep_s) if relaying else nullcontext():
                door.is_ready = True
                if on_ready is not None:
                    on_ready(bound[0][1])
                sweeping = _sweep_for_ever(engine, notes, desk, caps, clock)
                await asyncio.gather(sweeping, listener.ping(caps.ping_s))
        finally:
            door.is_ready = False
            await drain(listener, over_s=caps.drain_s)
            await desk.finish()
    finally:
        await engine.close()


async def _bind(listen: str, listener: Listener, tls: ssl.SSLContext | None) -> list[tuple[str, int]]:
    try:
        return await listener.listen(*parse_listen(listen), tls)
    except OSError as exc:
        raise UserError(f"can't listen on {listen}: {exc.strerror or exc}", hint="choose another --listen") from exc


def _make_listener(door: Door, desk: Desk, relaying: Relaying | None) -> Listener:
    """Return a listener, not yet listening, that knows this door and this desk."""
    caps = door.caps
    door.relaying = relaying

    def serve(visitor: Visitor) -> None:
        if relaying is not None and visitor.is_for_relay:
            relaying.relay.receive(visitor, visitor.network)
        else:
            desk.receive(visitor, visitor)

    return Listener(
        lambda keeper: Visitor(keeper, door, serve),
        handshake_s=caps.handshake_s,
        close_s=limits.SERVER_CLOSE_S,
        message_bytes=caps.frame_bytes,
        subprotocols=[SUBPROTOCOL, *SUBPROTOCOLS],
    )


async def _sweep_for_ever(engine: Engine, notes: Notes, desk: Desk, caps: Caps, clock: Clock) -> None:
    while True:
        await desk.update_metrics()
        await asyncio.sleep(caps.sweep_s)
        with suppress(LocalError):  # the disk refuses: what is kept there is of the last time
            await engine.sweep()
        with suppress(LocalError):  # the disk refuses; whoever leaves a note is told, and the log
            await notes.sweep(now_ms=clock.now_ms())
