"""Observer: an endpoint that tells whoever connects the address it came from (DESIGN 7; ADR 78).

Knows: iroh's incoming connections. Must not know: who asks, but for its transport key, and nothing is kept of that.
The answer is made from the very packets that ask, so what an asker's NAT did to its socket is in it.

The asker connects, sends one byte on one stream, gets `ip:port` back and closes. Only keys that are admitted are
answered; others are dropped after the handshake. A place is given to who proved its address (QUIC Retry, RFC 9000 8.1).
"""

import asyncio
import os
from collections.abc import Callable

import iroh
from iroh import iroh_ffi

from backuppeer.errors import LocalError
from backuppeer.ids import TransportId
from backuppeer.limits import OBSERVER_CONNECTIONS, OBSERVER_S
from backuppeer.transport.addresses import format_address, parse_address
from backuppeer.transport.iroh.asking import OBSERVER_ALPN, QUESTION
from backuppeer.transport.iroh.connection import IROH_ERRORS
from backuppeer.transport.iroh.endpoint import bind_endpoint, close_endpoint
from backuppeer.transport.iroh.patch import install_fast_write


async def open_observer(bind: str, *, may_ask: Callable[[bytes], bool]) -> "Observer":
    """Bind an observer with a fresh key to `ip:port`. may_ask: whether a 32-byte transport key is answered.

    Raises:
        LocalError: it can't be bound.

    """
    install_fast_write()
    iroh_ffi.uniffi_set_event_loop(asyncio.get_running_loop())  # type: ignore[arg-type] # annotated too narrowly
    try:
        endpoint = await bind_endpoint(os.urandom(32), [bind], [OBSERVER_ALPN])
    except IROH_ERRORS as exc:
        raise LocalError(f"can't bind {bind} for an observer") from exc
    return Observer(endpoint, bind, may_ask)


class Observer:
    """A bound observer, which answers in the background until it is closed."""

    def __init__(self, endpoint: iroh.Endpoint, bind: str, may_ask: Callable[[bytes], bool]) -> None:
        self._endpoint, self._may_ask = endpoint, may_ask
        self.transport_id = TransportId(endpoint.id().to_bytes())
        ip, _ = parse_address(bind)
        self.version = ip.version
        bound = [parse_address(text) for text in endpoint.bound_sockets()]
        self.port = next(port for found, port in bound if found == ip)
        self._answers: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.ensure_future(self._accept_all())

    async def close(self) -> None:
        """Stop answering and release the socket."""
        await close_endpoint(self._endpoint)
        # The closed endpoint ends what waits on it: cancelling would race with Rust.
        await asyncio.gather(self._accepting, *self._answers, return_exceptions=True)
        del self._endpoint

    async def _accept_all(self) -> None:
        while (incoming := await self._endpoint.accept_next()) is not None:
            if not await incoming.remote_addr_validated():
                await incoming.retry()  # else who writes other senders into datagrams takes all places
                continue
            if len(self._answers) >= OBSERVER_CONNECTIONS:
                await incoming.refuse()
                continue
            task = asyncio.ensure_future(self._answer(incoming))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _answer(self, incoming: iroh.Incoming) -> None:
        try:
            async with asyncio.timeout(OBSERVER_S):
                seen = await _seen_address(incoming)
                connection = await (await incoming.accept()).connect()
                if not seen or not self._may_ask(connection.remote_id().to_bytes()):
                    connection.close(1, b"")
                    return
                stream = await connection.accept_bi()
                await stream.recv().read(len(QUESTION))
                await stream.send().write_all(seen.encode())
                await stream.send().finish()
                await connection.closed()  # the receiver closes
        except (*IROH_ERRORS, TimeoutError):
            return


async def _seen_address(incoming: iroh.Incoming) -> str:
    """Return the address that an incoming connection comes from; empty when it came by a relay."""
    found = await incoming.remote_addr()
    if not isinstance(found, iroh.IncomingAddr.IP):
        return ""
    ip, port = parse_address(found.addr)
    return format_address(getattr(ip, "ipv4_mapped", None) or ip, port)
