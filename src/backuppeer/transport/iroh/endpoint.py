"""An iroh endpoint as a Transport: binding, dialling, accepting.

Knows: sockets' addresses, iroh's builder, the caps on strangers. Must not know: who may connect (the agent does).

iroh remembers every address it was ever given for a transport id and sends to all of them; the first that answers
decides, also with a wrong key. So one stale or planted address would make a peer undialable for as long as the endpoint
lives. Hence a dial that somebody else answered is tried again with each address alone, from a fresh socket.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import iroh
from iroh import iroh_ffi

from backuppeer.errors import AuthenticationFault, BackupPeerError, LocalError, PeerUnreachable, ProtocolViolation
from backuppeer.ids import TransportId
from backuppeer.limits import DIAL_S, ENDPOINT_CLOSE_S, HANDSHAKE_S, PEER_ADDRESSES, UNPROVEN_CONNECTIONS
from backuppeer.transport.addresses import format_address, parse_address
from backuppeer.transport.iroh.asking import ask_observer
from backuppeer.transport.iroh.connection import IROH_ERRORS, IrohConnection
from backuppeer.transport.iroh.patch import install_fast_write

ALPN: Final = b"bp/1"
"""Visible on the network, so it says nothing."""
_LOOPBACK: Final = {4: "127.0.0.1:0", 6: "[::1]:0"}


async def open_iroh(secret: bytes, *, bind: Sequence[str], alpn: bytes = ALPN) -> "IrohTransport":
    """Bind an endpoint with the 32-byte secret of its transport key to `bind`: at most one address for each IP version.

    A port that is taken is replaced by a free one: `is_rebound` says so. A machine without IPv6 gets IPv4 alone.

    Raises:
        LocalError: nothing can be bound, or `bind` is malformed.

    """
    install_fast_write()
    # Must come first in each new event loop, else callbacks from Rust threads are lost.
    iroh_ffi.uniffi_set_event_loop(asyncio.get_running_loop())  # type: ignore[arg-type] # annotated too narrowly
    failure: Exception | None = None
    for binds in _plan_binds(bind):
        try:
            endpoint = await bind_endpoint(secret, binds, [alpn], may_relay=True)
        except IROH_ERRORS as exc:
            failure = exc
            continue
        return IrohTransport(endpoint, secret=secret, asked=bind, alpn=alpn)
    raise LocalError(f"can't bind {' or '.join(bind)}", hint="is another agent running with this home?") from failure


def _plan_binds(bind: Sequence[str]) -> list[list[str]]:
    """Return what to try in turn: as asked, any port, as asked without IPv6, any port without IPv6."""
    try:
        asked = [parse_address(text) for text in bind]
    except ProtocolViolation as exc:
        raise LocalError(exc.message) from exc
    if not asked or len({ip.version for ip, _ in asked}) != len(asked):
        raise LocalError("bind takes one address for each IP version")
    exact = [format_address(ip, port) for ip, port in asked]
    any_port = [format_address(ip, 0) for ip, _ in asked]
    plans = [exact, any_port]
    plans += [[text for text in plan if not text.startswith("[")] for plan in (exact, any_port)]
    return [plan for index, plan in enumerate(plans) if plan and plan not in plans[:index]]


async def bind_endpoint(
    secret: bytes, binds: Sequence[str], alpns: list[bytes], *, may_relay: bool = False
) -> iroh.Endpoint:
    """Return an endpoint bound to just these `ip:port`; may_relay: whether it can be told to use relays.

    Raises:
        iroh.IrohError, iroh.InternalError: it can't be bound.

    """
    versions = {parse_address(text)[0].version for text in binds}
    # iroh opens a wildcard socket for the IP version that was not asked for; pin that one to loopback.
    pins = [_LOOPBACK[version] for version in (4, 6) if version not in versions]
    try:
        return await _make_builder(secret, [*binds, *pins], alpns, may_relay=may_relay).bind()
    except IROH_ERRORS:
        if pins != [_LOOPBACK[6]]:
            raise
    # Perhaps there is no IPv6 to pin at all; then iroh opens no such socket either.
    return await _make_builder(secret, binds, alpns, may_relay=may_relay).bind()


def _make_builder(secret: bytes, binds: Sequence[str], alpns: list[bytes], *, may_relay: bool) -> iroh.EndpointBuilder:
    builder = iroh.EndpointBuilder()  # type: ignore[no-untyped-call] # generated without a return type
    builder.apply_minimal()  # anything else means the vendor's relays and address publishing
    # Relays are added as servers admit us; before that there is none, and nothing goes anywhere.
    none_yet = iroh.RelayMode.custom(iroh.RelayMap.empty())
    builder.relay_mode(none_yet if may_relay else iroh.RelayMode.disabled())
    builder.secret_key(secret)
    builder.alpns(alpns)
    for text in binds:
        builder.bind_addr(text)
    return builder


class IrohTransport:
    """A bound endpoint: accepts in the background, at most UNPROVEN_CONNECTIONS that are not in use yet."""

    def __init__(self, endpoint: iroh.Endpoint, *, secret: bytes, asked: Sequence[str], alpn: bytes) -> None:
        self._endpoint: iroh.Endpoint | None = endpoint
        self._id = TransportId(endpoint.id().to_bytes())
        self._sockets = [parse_address(text) for text in endpoint.bound_sockets()]
        self._secret = secret
        self._asked = [parse_address(text) for text in asked]
        self._alpn = alpn
        self._external: tuple[str, ...] = ()
        self._incoming: asyncio.Queue[IrohConnection | None] = asyncio.Queue()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._helpers: dict[iroh.Endpoint, asyncio.Task[None]] = {}
        self._guards: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.ensure_future(self._accept_all(endpoint))

    @property
    def transport_id(self) -> TransportId:
        """Our own transport id."""
        return self._id

    @property
    def is_rebound(self) -> bool:
        """Whether a port that was asked for was taken, so that partners know us at the wrong address."""
        bound = [parse_address(text) for text in self.bound()]
        hosts = {ip for ip, _ in bound}
        return any(port and ip in hosts and (ip, port) not in bound for ip, port in self._asked)

    def bound(self) -> list[str]:
        """Return the addresses of our sockets, wildcards as such: what to bind again after a restart."""
        asked = {ip for ip, _ in self._asked}
        return [format_address(ip, port) for ip, port in self._sockets if ip in asked]

    def addresses(self) -> list[str]:
        """Return what others can dial: of a wildcard socket, the addresses of the interfaces. Nothing once closed."""
        own = self.interface_addresses()
        return [*self._external, *(text for text in own if text not in self._external)] if own else []

    def interface_addresses(self) -> list[str]:
        """Return what of `addresses` lies on this machine's interfaces; nothing once closed."""
        if self._endpoint is None:
            return []
        ports = {(ip.version, port) for ip, port in map(parse_address, self.bound())}
        found = [parse_address(text) for text in self._endpoint.addr().direct_addresses()]
        own = [format_address(ip, port) for ip, port in found if (ip.version, port) in ports]
        # iroh lists what it was told of, too; a port that a NAT kept would pass for one of ours.
        return [text for text in own if text not in self._external]

    @property
    def home_relay(self) -> str:
        """The URL of the relay at which we can be found now; empty: at none."""
        return (self._endpoint.addr().relay_url() or "") if self._endpoint is not None else ""

    async def use_relay(self, url: str) -> None:
        """Be found at a relay, too: `http://` or `https://`. There is no way back before the transport is closed."""
        if self._endpoint is not None:
            with suppress(*IROH_ERRORS):  # an address that iroh does not like: then we are not found there
                await self._endpoint.insert_relay(iroh.RelayConfig(url=url))

    async def observe(self, observer: TransportId, address: str) -> str:
        """Return where an observer at `address` sees our socket; empty when it does not say."""
        return await ask_observer(self._endpoint, observer, address) if self._endpoint is not None else ""

    async def set_external(self, addresses: Sequence[str]) -> None:
        """Have these, and no others, be tried by peers beside the addresses of our interfaces."""
        before, self._external = self._external, tuple(addresses)
        if self._endpoint is None:
            return
        with suppress(*IROH_ERRORS):
            for text in before:
                if text not in addresses:
                    await self._endpoint.remove_external_addr(text)
            for text in addresses:
                await self._endpoint.add_external_addr(text)

    async def dial(self, to: TransportId, addresses: Sequence[str], *, relay: str = "") -> IrohConnection:
        """Return a connection to the owner of `to` within DIAL_S; the first PEER_ADDRESSES addresses are tried.

        relay: URL of one where it is found, too; the connection leaves it as soon as there is a direct path.

        Raises:
            PeerUnreachable: nothing answers there, no address is well-formed, or it speaks something else.
            AuthenticationFault: only others than the owner of `to` answer.

        """
        if self._endpoint is None:
            raise PeerUnreachable("the transport is closed")
        targets = _well_formed(addresses)
        if not targets and not relay:
            raise PeerUnreachable("no address to dial")
        if to == self.transport_id:
            raise PeerUnreachable("a peer can't dial itself")
        try:
            async with asyncio.timeout(DIAL_S):
                try:
                    return await self._connect(self._endpoint, to, targets, relay)
                except BackupPeerError:
                    if not targets:
                        raise
                    return await self._dial_apart(to, targets)
        except TimeoutError as exc:
            where = ", ".join([*targets, *([relay] if relay else [])])
            raise PeerUnreachable(f"no answer from {where} within {DIAL_S:.0f} s") from exc

    async def accept(self) -> IrohConnection:
        """Return the next connection made to us."""
        connection = await self._incoming.get()
        if connection is None:
            self._incoming.put_nowait(None)  # for whoever else waits
            raise PeerUnreachable("the transport is closed")
        return connection

    async def close(self) -> None:
        """Close every connection and release the sockets."""
        if self._endpoint is None:
            return
        # The sockets are released with the last reference, not by the close: so none may stay.
        endpoint, self._endpoint = self._endpoint, None
        await asyncio.gather(*map(close_endpoint, (endpoint, *self._helpers)))
        del endpoint
        for guard in self._guards:
            guard.cancel()
        # The closed endpoint ends the accept loop and the handshakes by itself: cancelling would race with Rust.
        tasks = (self._accepting, *self._handshakes, *self._helpers.values(), *self._closing, *self._guards)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._helpers.clear()
        while not self._incoming.empty():
            self._incoming.get_nowait()
        self._incoming.put_nowait(None)

    async def _connect(
        self, endpoint: iroh.Endpoint, to: TransportId, targets: list[str], relay: str = ""
    ) -> IrohConnection:
        try:
            address = iroh.EndpointAddr(iroh.EndpointId.from_bytes(to), relay or None, targets)
            connection = await endpoint.connect(address, self._alpn)
        except IROH_ERRORS as exc:
            raise _dial_error(exc, [*targets, *([relay] if relay else [])]) from exc
        return IrohConnection(connection, is_dialler=True)

    async def _dial_apart(self, to: TransportId, targets: list[str]) -> IrohConnection:
        """Dial each address from an endpoint that has never heard of another one; the first success wins."""
        failures: list[BackupPeerError] = []
        winner: IrohConnection | None = None
        tries = [asyncio.ensure_future(self._dial_alone(to, target)) for target in targets]
        try:
            for attempt in asyncio.as_completed(tries):
                try:
                    winner = await attempt
                except BackupPeerError as exc:
                    failures.append(exc)
                else:
                    return winner
        finally:
            for task in tries:
                is_done = not task.cancel() and not task.cancelled() and task.exception() is None
                if is_done and (loser := task.result()) is not winner:
                    await loser.close(0, "")
        raise next((exc for exc in failures if isinstance(exc, AuthenticationFault)), failures[0])

    async def _dial_alone(self, to: TransportId, target: str) -> IrohConnection:
        version = parse_address(target)[0].version
        hosts = [format_address(ip, 0) for ip, _ in self._asked if ip.version == version]
        if not hosts:
            raise PeerUnreachable(f"no IPv{version} socket to dial {target} from")
        # No ALPN: this endpoint dials and accepts nothing.
        endpoint = await bind_endpoint(self._secret, hosts, [])
        try:
            connection = await self._connect(endpoint, to, [target])
        except BaseException:
            # In the background: an endpoint with an unanswered dial takes 3 s to close.
            task = asyncio.ensure_future(close_endpoint(endpoint))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            raise
        self._helpers[endpoint] = asyncio.ensure_future(self._close_after(endpoint, connection))
        return connection

    async def _close_after(self, endpoint: iroh.Endpoint, connection: IrohConnection) -> None:
        await connection.wait_closed()
        await close_endpoint(endpoint)
        self._helpers.pop(endpoint, None)

    async def _accept_all(self, endpoint: iroh.Endpoint) -> None:
        while (incoming := await endpoint.accept_next()) is not None:
            unused = max(len(self._guards), self._incoming.qsize())
            if len(self._handshakes) + unused >= UNPROVEN_CONNECTIONS:
                await incoming.refuse()
                continue
            task = asyncio.ensure_future(self._shake_hands(incoming))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, incoming: iroh.Incoming) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                accepting = await incoming.accept()
                connection = await accepting.connect()
        except (*IROH_ERRORS, TimeoutError):
            return  # a stranger's failed handshake concerns nobody
        if self._endpoint is not None:
            accepted = IrohConnection(connection, is_dialler=False)
            guard = asyncio.ensure_future(accepted.guard())
            self._guards.add(guard)
            guard.add_done_callback(self._guards.discard)
            self._incoming.put_nowait(accepted)


def _well_formed(addresses: Sequence[str]) -> list[str]:
    targets: list[str] = []
    for text in addresses[:PEER_ADDRESSES]:
        try:
            ip, port = parse_address(text)
        except ProtocolViolation:
            continue
        if port:
            targets.append(format_address(ip, port))
    return targets


def _dial_error(exc: Exception, targets: Sequence[str]) -> BackupPeerError:
    """Return ours for a failed connect. iroh's words are a debug dump with build paths: read, never shown."""
    words = exc.message() if isinstance(exc, iroh.IrohError) else ""
    where = ", ".join(targets)
    # Our own TLS refused the certificate: somebody answered, with another key. If instead the peer aborted
    # ("aborted by peer: the cryptographic …"), it speaks another protocol, and its key was never seen.
    if "the cryptographic handshake failed" in words and "aborted by peer" not in words:
        return AuthenticationFault(f"another key than the peer's answers at {where}", hint="the address may be stale")
    return PeerUnreachable(f"can't connect to {where}")


async def close_endpoint(endpoint: iroh.Endpoint) -> None:
    """Close an endpoint; its sockets go with the last reference to it."""
    try:
        async with asyncio.timeout(ENDPOINT_CLOSE_S):
            await endpoint.close()
    except (*IROH_ERRORS, TimeoutError):
        return  # the sockets go with the last reference
