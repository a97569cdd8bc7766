"""Door: who may come in (connection caps, the name the client dialled), and the plain HTTP answers.

Knows: addresses, but only as counters in memory: never in a log, an engine or an answer. Must not know: messages.

The name matters because an inbox proof is bound to it. A server that accepted any Host header would accept a proof
made for another server, passed on by that other. So a connection must name us: by a configured origin, by the host
given to listen on, by this machine's own name, or by the very address and port it reached. Names that every machine
has for itself (loopback, the unspecified address) name us on this machine only: or one stamp would do for all.
"""

import asyncio
import ipaddress
import socket
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, Final

from websockets.datastructures import MultipleValuesError
from websockets.frames import Frame
from websockets.http11 import Request, Response
from websockets.protocol import State

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.signaling.messages import SPEAKS, SUBPROTOCOL, RelayIs
from backuppeer.signaling.piecewise import says_nothing
from backuppeer.signaling.server.bans import Bans
from backuppeer.signaling.server.caps import Caps
from backuppeer.signaling.server.connection import Connection, Keeper
from backuppeer.signaling.server.crowding import Networks, network_of
from backuppeer.signaling.server.hops import FORWARDED, Hops, is_forwarded
from backuppeer.signaling.server.metrics import CONTENT_TYPE, Metrics
from backuppeer.signaling.server.page import show_page
from backuppeer.signaling.server.rate import TokenBucket
from backuppeer.signaling.server.relay import relay
from backuppeer.signaling.server.relay.relaying import Relaying
from backuppeer.signaling.servers import authority

_V6_PREFIX: Final = 64
_LOOPBACK_NAMES: Final = frozenset({"localhost", "ip6-localhost"})
_PATH: Final = "/"
_NAME_BYTES: Final = 16


class Door:
    """Counts connections and knows our names."""

    def __init__(
        self,
        caps: Caps,
        *,
        clock: Clock,
        origins: Iterable[str],
        listen_host: str | None,
        hops: Hops | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.caps = caps
        self.hops = hops or Hops()
        self.bans = Bans(caps, clock=clock)
        self._metrics = metrics or Metrics()
        self._clock = clock
        self._noting: OrderedDict[str, TokenBucket] = OrderedDict()
        self._networks = Networks()
        self._count = 0
        self._per_address: Counter[str] = Counter()
        self._origins = frozenset(authority(url) for url in origins)
        names = [name.lower() for name in (listen_host, socket.gethostname()) if name]
        self._names = frozenset(name for name in names if not _is_everybodys(name))
        self.is_ready = False
        self.relaying: Relaying | None = None

    def enter(self) -> HTTPStatus | None:
        """Count a connection; return why it may not stay, or None."""
        self._count += 1
        self._metrics.connections.set(self._count)
        return HTTPStatus.SERVICE_UNAVAILABLE if self._count > self.caps.connections else None

    def enter_from(self, address: str) -> HTTPStatus | None:
        """Count where a connection comes from (coarse); return why it may not stay, or None."""
        self._per_address[address] += 1
        is_crowded = self._per_address[address] > self.caps.connections_per_address
        return HTTPStatus.TOO_MANY_REQUESTS if is_crowded or self.bans.holds(address) else None

    def is_crowded(self, address: str) -> bool:
        """Tell whether even polite refusals have become too many."""
        own = self._per_address[address] > self.caps.connections_per_address + self.caps.refusals
        return own or self._count > self.caps.connections + self.caps.refusals

    def name_noter(self, address: str) -> bytes | None:
        """Count a note left from an address (coarse); return the name of its network, None when there are too many."""
        bucket = self._noting.pop(address, None)
        if bucket is None:
            per_s = self.caps.notes_per_hour / 3600
            bucket = TokenBucket(per_s, self.caps.notes_burst, clock=self._clock)
        self._noting[address] = bucket  # at the end: those that left something lately are remembered longest
        while len(self._noting) > limits.SERVER_NOTE_ADDRESSES:
            self._noting.popitem(last=False)
        return self._networks.name(address) if bucket.take_at_once() else None

    def count_frames(self) -> TokenBucket:
        """Return what a connection may send of frames that say nothing."""
        rate = self.caps.control_frames
        return TokenBucket(rate.per_s, rate.burst, clock=self._clock)

    def cut(self, address: str) -> None:
        """Count a connection cut for such frames, as a breach of the protocol."""
        self._metrics.refused.labels("control").inc()
        self.bans.strike(address)

    def leave(self) -> None:
        """Count a connection out."""
        self._count -= 1
        self._metrics.connections.set(self._count)

    def leave_from(self, address: str) -> None:
        """Count it out where it came from."""
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]

    def answer(self, connection: "Visitor", request: Request) -> Response | None:
        """Answer the HTTP request, or return None to let the WebSocket opening go on."""
        connection.arrive(request)
        path = request.path.partition("?")[0]
        if (told := self._tell(connection, request, path)) is not None:
            return told
        if connection.refusal is not None:
            self._metrics.refused.labels("crowded").inc()
            return connection.respond(connection.refusal, "too many connections\n")
        if self.relaying is not None and path in _PROBES:
            return connection.respond(*_PROBES[path])
        if self.relaying is not None and path == relay.PATH:
            return self._answer_relay(connection, request)
        if path != _PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")
        if "Upgrade" not in request.headers:
            return show_page()
        return self._answer_opening(connection, request)

    def _tell(self, connection: "Visitor", request: Request, path: str) -> Response | None:
        """Return how the server does, for whoever watches it, also when crowded; None: something else is asked."""
        if path == "/health":
            return connection.respond(HTTPStatus.OK, "ok\n")
        if path == "/ready":
            is_open = self.is_ready and connection.refusal is None
            return connection.respond(*_READY[is_open])
        if path == "/metrics" and connection.is_local(request):
            return self._show_metrics(connection)
        return None

    def _show_metrics(self, connection: "Visitor") -> Response:
        response = connection.respond(HTTPStatus.OK, self._metrics.render().decode())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = CONTENT_TYPE
        return response

    def _answer_opening(self, connection: "Visitor", request: Request) -> Response | None:
        try:
            host = request.headers.get("Host", "").lower()
            offered = request.headers.get_all("Sec-WebSocket-Protocol")
        except MultipleValuesError:
            return connection.respond(HTTPStatus.BAD_REQUEST, "one Host header, please\n")
        if not self._is_our_name(host, connection.peer_ip, connection.local_address):
            text = "this server does not know itself by that name; its operator must name it as an origin\n"
            return connection.respond(HTTPStatus.MISDIRECTED_REQUEST, text)
        if SUBPROTOCOL not in _split_tokens(offered):
            return connection.respond(HTTPStatus.BAD_REQUEST, SPEAKS)
        connection.origin = sys.intern(host)
        return None

    def _answer_relay(self, connection: "Visitor", request: Request) -> Response | None:
        if "Upgrade" in request.headers and not set(relay.SUBPROTOCOLS) & _split_tokens(
            request.headers.get_all("Sec-WebSocket-Protocol")
        ):
            return connection.respond(HTTPStatus.BAD_REQUEST, f"this relay speaks {relay.SUBPROTOCOLS[0]}\n")
        connection.is_for_relay = True
        connection.limit_messages(relay.FRAME_BYTES)
        return None

    def _is_our_name(self, host: str, peer_ip: str, local: tuple[str, int]) -> bool:
        if host in self._origins:
            return True
        name, port = _split_host(host)
        local_ip, local_port = local
        if port not in (local_port, None) or (port is None and local_port not in (80, 443)):
            return False
        if name in self._names or _same_ip(name, local_ip):
            return True
        # Nothing but this machine answers at loopback: who dials from here by such a name can't mean another server.
        return _is_everybodys(name) and (_is_loopback(peer_ip) or _is_loopback(local_ip))


_READY: Final[dict[bool, tuple[HTTPStatus, str]]] = {
    True: (HTTPStatus.OK, "ready\n"),
    False: (HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n"),
}


_PROBES: Final[dict[str, tuple[HTTPStatus, str]]] = {
    "/ping": (HTTPStatus.OK, "pong\n"),
    "/generate_204": (HTTPStatus.NO_CONTENT, ""),
}
"""What iroh asks a relay before it uses it: how far it is, and whether a portal answers in its place."""


class Visitor(Connection):
    """A connection that the door has counted in, from the first TCP byte on."""

    __slots__ = (
        "_address",
        "_asked_bytes",
        "_door",
        "_frames",
        "_is_counted",
        "_serve",
        "is_for_relay",
        "origin",
        "peer_ip",
        "refusal",
    )

    def __init__(self, keeper: Keeper, door: Door, serve: Callable[["Visitor"], None]) -> None:
        super().__init__(keeper)
        self._door, self._serve = door, serve
        self._frames: TokenBucket | None = None
        self._address = self.origin = self.peer_ip = ""
        self.refusal: HTTPStatus | None = None
        self.is_for_relay = False
        self._asked_bytes = 0
        self._is_counted = False

    def reach(self, transport: Any) -> None:
        """Count in, from the first TCP byte on; cut at once when even the refusals are too many."""
        self._is_counted = True
        peer = transport.get_extra_info("peername")
        self.peer_ip = str(peer[0]) if peer else ""
        self.refusal = self._door.enter()
        if not self._door.hops.trusts(self.peer_ip):
            self._count_from(self.peer_ip)
        if self.refusal is not None and self._door.is_crowded(self._address):
            transport.abort()

    def miss(self) -> None:
        """Count out."""
        self._door.leave()
        if self._address:
            self._door.leave_from(self._address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count in, unless that was done when its TLS handshake began."""
        if not self._is_counted:
            self.reach(transport)
        super().connection_made(transport)

    @property
    def local_address(self) -> tuple[str, int]:
        """The ip and port that were reached."""
        local = self.transport.get_extra_info("sockname")
        return (str(local[0]), int(local[1])) if local else ("", 0)

    def answer(self, request: Request) -> Response | None:
        """Let the door answer."""
        return self._door.answer(self, request)

    def data_received(self, data: bytes) -> None:
        """Read on; cut whose request has no end."""
        self._asked_bytes += len(data) if self.state is State.CONNECTING else 0
        if self._asked_bytes > limits.SERVER_REQUEST_BYTES:
            self.transport.abort()
            return
        super().data_received(data)

    def serve(self) -> None:
        """Go where whoever made it says."""
        self._serve(self)

    def is_heard(self, frame: Frame) -> bool:
        """Count what costs work and says nothing, which the library answers or throws away; cut who sends too much."""
        if not says_nothing(frame) or self.is_answer(frame):
            return True
        self._frames = self._frames or self._door.count_frames()
        if self._frames.take_at_once():
            return True
        if not self.transport.is_closing():
            self._door.cut(self._address)
            self.transport.abort()
        return False

    def arrive(self, request: Request) -> None:
        """Learn from the request where a connection that a proxy of ours passed on comes from."""
        if not self._address:
            self.peer_ip = self._door.hops.origin_of(self.peer_ip, request.headers.get_all(FORWARDED))
            self._count_from(self.peer_ip)

    def is_local(self, request: Request) -> bool:
        """Tell whether a request comes from this very machine, and from nobody through it."""
        return _is_loopback(self.peer_ip) and not is_forwarded(request.headers)

    def _count_from(self, ip: str) -> None:
        self._address = coarse_address(ip)
        self.refusal = self._door.enter_from(self._address) or self.refusal

    def name_noter(self) -> bytes | None:
        """Count a note against the network that this connection comes from; see `Door.name_noter`."""
        return self._door.name_noter(self._address)

    def name_network(self, key: bytes) -> bytes:
        """Return the name of the network that this connection comes from, under a key."""
        return blake2b(network_of(self._address).encode(), key=key, digest_size=_NAME_BYTES).digest()

    def admit(self, transport: bytes) -> RelayIs:
        """Admit a transport key to the relay, if there is one, on the account of the network."""
        relaying = self._door.relaying
        return relaying.answer(self.network, transport) if relaying is not None else RelayIs()

    def strike(self) -> bool:
        """Count a breach of the protocol; return whether the address is kept out from now on."""
        return self._door.bans.strike(self._address)

    @property
    def network(self) -> str:
        """The network that it comes from (/24 of IPv4, /48 of IPv6); for counting."""
        return network_of(self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count out."""
        self.miss()
        super().connection_lost(exc)


def coarse_address(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or a /64 of IPv6 (one customer has at least that)."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, _V6_PREFIX), strict=False))
    text = str(ip)
    return address if text == address else text  # the very string: ten thousands are held


def _split_tokens(values: list[str]) -> set[str]:
    return {token.strip() for value in values for token in value.split(",")}


def _split_host(host: str) -> tuple[str, int | None]:
    """Split a Host header into name (brackets off) and port; a malformed port gives -1, which matches nothing."""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host, ""
    name = name.removeprefix("[").removesuffix("]")
    if not port:
        return name, None
    return name, int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1


def _is_everybodys(name: str) -> bool:
    """Return whether every machine has this name for itself."""
    ip = _ip(name)
    return name in _LOOPBACK_NAMES or (ip is not None and (ip.is_loopback or ip.is_unspecified))


def _is_loopback(name: str) -> bool:
    ip = _ip(name)
    return ip is not None and ip.is_loopback


def _same_ip(name: str, local: str) -> bool:
    ip = _ip(name)
    return ip is not None and ip == _ip(local.partition("%")[0])


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, as IPv4 if it is one mapped to IPv6; None: a name."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip
