"""Look at one server as a newcomer would: is it there, is it what it should be, does its clock agree, how fast is it.

Knows: links, one look at `/health` (its time, its certificate). Must not know: other servers, how results are shown.
A look asks for a page of offers as every browse does, and for the relay with a random key: it tells a server nothing.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from backuppeer import limits
from backuppeer.clock import Clock
from backuppeer.errors import PeerFault, Unavailable
from backuppeer.signaling.asking import is_proxied
from backuppeer.signaling.client import UNTRUSTED, open_link
from backuppeer.signaling.messages import AskRelay, Browse, Page, RelayIs
from backuppeer.signaling.servers import authority
from backuppeer.signaling.steps import PORTS, Step, find_broken_step

TRANSPORT_KEY_BYTES: Final = 32
_NO_SERVER: Final = "something else answers there: is this the address of a signaling server?"
_PROXIED: Final = "it is dialled through a proxy and not around it: is that running, and its address right?"
_ADVICE: Final = (
    ("not dialled", "`backup-peer config list` says what is wrong with them"),
    (UNTRUSTED, "somebody may be posing as the server; if it is your own, name its authority's file in SSL_CERT_FILE"),
    (
        "hung up",
        "the server may speak no TLS at this port, or not this program's language: is it ws:// or another port?",
    ),
    ("TLS", "the server may speak no TLS at this port: is it ws:// or another port?"),
    ("valid HTTP response", "the server may want TLS at this port: is it wss:// or another port?"),
    ("refused", "nothing listens there: is the server running, and the port right?"),
    ("did not answer", "it hangs, or a firewall drops what is sent: try again, then ask its operator"),
    ("know itself", "its operator starts it with `backup-peer server --origin ADDRESS`, this very address"),
    ("too many connections", "try again in a minute"),
    ("full or shutting down", "try again in a minute"),
    ("of another version", "the older of the two is to be upgraded: this program, or the server by its operator"),
    ("HTTP status", _NO_SERVER),
    ("HTTP", _NO_SERVER),
    ("answered", _NO_SERVER),
    ("name or service", "check the spelling of its name, and that this machine is online"),
)


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a look at a server. error, hint: empty where it works. Unknown is None."""

    url: str
    error: str = ""
    hint: str = ""
    connect_ms: float | None = None
    """Until the socket was open, TLS included."""
    round_trip_ms: float | None = None
    """Until a question was answered on the open socket."""
    skew_s: float | None = None
    """Its clock less ours, to about a second."""
    certificate_ends_ms: int | None = None
    offers: int | None = None
    """Listings that it says it has."""
    relay: bool | None = None
    """Whether it passes bytes on where no direct connection is possible; None: a server of before."""
    observes: bool | None = None
    """Whether it tells peers behind a NAT where they are seen."""
    step: str = ""
    """Which step is the broken one: name, connection, tls or protocol; empty: none, or through a proxy."""


class Look(NamedTuple):
    """Its clock less ours (s), and the end of its certificate (ms)."""

    skew_s: float | None = None
    certificate_ends_ms: int | None = None


async def probe_server(url: str, clock: Clock, *, timer: Callable[[], float] = perf_counter) -> Probe:
    """Return what came of a look at a server; it is no error if it does not work."""
    began_s = timer()
    try:
        async with open_link(url) as link:
            opened_s = timer()
            page = await link.ask(Browse(b"", 1), Page)
            answered_s = timer()
    except (Unavailable, PeerFault) as exc:
        # What goes by a proxy, or nowhere, is never tried around it.
        step = Step.NONE if is_proxied(url) else await find_broken_step(url)
        error = exc.message.removeprefix(url).lstrip(": ")
        return Probe(url=url, error=error, hint=_advise(url, exc.message), step=step.value)
    look, offer = await _look(url, clock), await _ask_relay(url)
    return Probe(
        url=url,
        connect_ms=round((opened_s - began_s) * 1000, 1),
        round_trip_ms=round((answered_s - opened_s) * 1000, 1),
        skew_s=look.skew_s,
        certificate_ends_ms=look.certificate_ends_ms,
        offers=page.total,
        relay=None if offer is None else offer.life_s > 0,
        observes=None if offer is None else bool(offer.observers),
        error="" if is_skew_tolerated(look.skew_s) else f"its clock is {_say_skew(look.skew_s)} this machine's",
        hint="" if is_skew_tolerated(look.skew_s) else "set this machine's clock right; if it is, tell its operator",
    )


async def _ask_relay(url: str) -> RelayIs | None:
    """Ask for admission to the relay with a key that nobody has; None where a server does not know of relays."""
    try:
        async with open_link(url) as link:
            return await link.ask(AskRelay(os.urandom(TRANSPORT_KEY_BYTES)), RelayIs)
    except (Unavailable, PeerFault):
        return None


def is_skew_tolerated(skew_s: float | None) -> bool:
    """Tell whether two clocks are near enough for listings to be taken."""
    return skew_s is None or abs(skew_s) < limits.CLOCK_SKEW_S


def advise(error: str) -> str:
    """Return what to do about a server that does not work."""
    return next(
        (advice for part, advice in _ADVICE if part.lower() in error.lower()), "check the address and the network"
    )


def _advise(url: str, error: str) -> str:
    is_way_known = "not dialled" in error or not is_proxied(url)
    return advise(error) if is_way_known else _PROXIED


def _say_skew(skew_s: float | None) -> str:
    hours = abs(skew_s or 0) / 3600
    return f"{hours:.1f} h {'ahead of' if (skew_s or 0) > 0 else 'behind'}"


async def _look(url: str, clock: Clock) -> Look:
    """Ask for `/health`, for the sake of the clock; a proxy on the way may make that impossible: then nothing is known.

    Raises nothing: that the server works was seen already. Never around a proxy of ours.
    """
    if is_proxied(url):
        return Look()
    parts = urlsplit(url)
    secure = ssl.create_default_context() if parts.scheme == "wss" else None
    try:
        async with asyncio.timeout(limits.SERVER_CONNECT_S):
            port = parts.port or PORTS[parts.scheme]
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure, limit=limits.HEALTH_BYTES)
            try:
                request = f"GET /health HTTP/1.1\r\nHost: {authority(url)}\r\nConnection: close\r\n\r\n"
                asked_ms = clock.now_ms()
                writer.write(request.encode())
                head = await reader.readuntil(b"\r\n\r\n")
                middle_ms = (asked_ms + clock.now_ms()) / 2
                ends_ms = _read_end(writer.get_extra_info("peercert"))
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError, ValueError):
        return Look()
    return Look(_read_skew(head, middle_ms), ends_ms)


def _read_skew(head: bytes, now_ms: float) -> float | None:
    """Return by how much the Date of an answer is ahead of us; it names whole seconds, hence the half."""
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "date":
            try:
                return round(parsedate_to_datetime(value.strip()).timestamp() + 0.5 - now_ms / 1000, 1)
            except (ValueError, OverflowError):
                return None
    return None


def _read_end(certificate: dict[str, str] | None) -> int | None:
    ends = (certificate or {}).get("notAfter")
    return int(ssl.cert_time_to_seconds(ends) * 1000) if isinstance(ends, str) else None
