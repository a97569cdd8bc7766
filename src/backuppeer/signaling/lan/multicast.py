"""Multicast DNS: a door is announced in one network, and those of others are heard (RFC 6762, 6763; ADR 81).

Knows: zeroconf, of which it is the only importer. Must not know: what is asked at a door, who stands behind it.

An announcement says an address and a port, under a name that is random each time: nothing of a person, a machine, a
peer id. It is made for each network alone and says its addresses only. zeroconf hears packets from anywhere, on all
cards and from beyond routers, and answers some of them directly: so those from elsewhere are dropped before it sees
them, and no network hears of another one.

What is heard is anybody's word: it costs at most that so many places of the same network are asked. zeroconf keeps at
most 10,000 records of what others say, and takes no packet above 8,966 bytes.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final, cast

from backuppeer.errors import Unavailable
from backuppeer.limits import LAN_PLACE_ADDRESSES, LAN_PLACES
from backuppeer.signaling.lan.interfaces import Interface, Ip, find_interface, is_near

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncZeroconf

SERVICE: Final = "_backuppeer._tcp.local."
_RESOLVE_MS: Final = 500
_NAME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody says that a door is: addresses in our own networks, one port."""

    addresses: tuple[str, ...]
    port: int


class Announcement:
    """A door that is announced until this is closed."""

    def __init__(self, zeroconf: "AsyncZeroconf") -> None:
        self._zeroconf = zeroconf

    async def close(self) -> None:
        """Say that it is gone, and be silent."""
        with suppress(OSError):  # the network may be gone already
            await self._zeroconf.async_close()


async def announce(interface: Interface, port: int, *, service: str = SERVICE) -> Announcement:
    """Announce a door in the network of one interface, under a fresh random name; takes half a second.

    Raises:
        Unavailable: the network takes no multicast.

    """
    from zeroconf import ServiceInfo  # noqa: PLC0415 - start-up time, and only for who wants it

    name = secrets.token_hex(_NAME_BYTES)
    info = ServiceInfo(
        service,
        f"{name}.{service}",
        port=port,
        addresses=[own.ip.packed for own in interface.addresses],
        server=f"{name}.local.",
    )
    zeroconf = await _open([interface])
    announcement = Announcement(zeroconf)
    try:
        # Nobody else has a name of 64 random bits, so nobody is asked.
        await (await zeroconf.async_register_service(info, cooperating_responders=True))
    except BaseException as exc:
        await announcement.close()
        if isinstance(exc, OSError):
            raise _failure(exc) from exc
        raise
    return announcement


async def hear(
    interfaces: Sequence[Interface], on_place: Callable[[Place], None], *, for_s: float, service: str = SERVICE
) -> None:
    """Ask who is there, and tell of places as they answer, each once, LAN_PLACES at most; until `for_s` or cancelled.

    Raises:
        Unavailable: no network takes multicast.

    """
    from zeroconf.asyncio import AsyncServiceBrowser  # noqa: PLC0415 - start-up time, and only for who wants it

    if not interfaces:
        raise Unavailable("this machine is in no local network")
    zeroconf = await _open(interfaces)
    ear = _Ear(interfaces, on_place)
    try:
        browser = AsyncServiceBrowser(zeroconf.zeroconf, service, handlers=[ear.on_change])
        try:
            await asyncio.sleep(for_s)
        finally:
            await browser.async_cancel()
            await ear.close()
    finally:
        await Announcement(zeroconf).close()


class _Ear:
    """What was heard in one look."""

    def __init__(self, interfaces: Sequence[Interface], on_place: Callable[[Place], None]) -> None:
        self._interfaces, self._on_place = interfaces, on_place
        self._names: set[str] = set()
        self._places: set[Place] = set()
        self._resolving: set[asyncio.Task[None]] = set()

    def on_change(self, zeroconf: "Zeroconf", service_type: str, name: str, state_change: "ServiceStateChange") -> None:
        """Follow up a name that is new, while there is room; called by zeroconf with these names."""
        del state_change
        if name not in self._names and len(self._names) < LAN_PLACES:
            self._names.add(name)
            task = asyncio.get_running_loop().create_task(self._resolve(zeroconf, service_type, name))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    async def close(self) -> None:
        for task in list(self._resolving):
            task.cancel()
        await asyncio.gather(*self._resolving, return_exceptions=True)

    async def _resolve(self, zeroconf: "Zeroconf", service_type: str, name: str) -> None:
        from zeroconf import Error  # noqa: PLC0415 - as above
        from zeroconf.asyncio import AsyncServiceInfo  # noqa: PLC0415 - as above

        try:
            info = AsyncServiceInfo(service_type, name)
            if not info.load_from_cache(zeroconf) and not await info.async_request(zeroconf, _RESOLVE_MS):
                return
            heard = info.parsed_addresses()
        except (Error, OSError, ValueError):
            return  # a name or a record that is none
        near = [text for text in heard if find_interface(ip_address(text), self._interfaces) is not None]
        place = Place(tuple(near[:LAN_PLACE_ADDRESSES]), info.port or 0)
        if place.addresses and place.port and place not in self._places:
            self._places.add(place)
            self._on_place(place)


class _Near(asyncio.DatagramProtocol):
    """Lets zeroconf hear what is from these networks alone."""

    def __init__(self, heard: asyncio.DatagramProtocol, interfaces: Sequence[Interface]) -> None:
        self._heard, self._interfaces = heard, interfaces

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if is_near(addr, self._interfaces):
            self._heard.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._heard.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard.connection_lost(exc)


async def _open(interfaces: Sequence[Interface]) -> "AsyncZeroconf":
    """Return zeroconf on the cards of these networks, deaf to all others."""
    zeroconf = _begin(interfaces)
    from zeroconf import Error  # noqa: PLC0415 - as above

    try:
        # Nothing is registered and nobody browses until it returns: what comes before the filter is not answered.
        await zeroconf.zeroconf.async_wait_for_start()
    except BaseException as exc:
        await Announcement(zeroconf).close()
        if isinstance(exc, Error | OSError):
            raise _failure(exc) from exc
        raise
    for reader in zeroconf.zeroconf.engine.readers:
        heard = cast("asyncio.DatagramProtocol", reader.transport.get_protocol())
        reader.transport.set_protocol(_Near(heard, interfaces))
    return zeroconf


def _begin(interfaces: Sequence[Interface]) -> "AsyncZeroconf":
    from zeroconf import IPVersion  # noqa: PLC0415 - as above
    from zeroconf.asyncio import AsyncZeroconf  # noqa: PLC0415 - as above

    # Networks go at any moment; zeroconf leaves a socket open when one of its addresses is gone.
    own = [ip for interface in interfaces for ip in (address.ip for address in interface.addresses) if _is_here(ip)]
    if not own:
        raise Unavailable("the local network can't be asked: it is gone")
    versions = {ip.version for ip in own}
    which = IPVersion.All if len(versions) > 1 else IPVersion.V6Only if 6 in versions else IPVersion.V4Only
    # Whoever sends broken packets would fill the terminal of `agent run`.
    logging.getLogger("zeroconf").setLevel(logging.CRITICAL)
    try:
        return AsyncZeroconf(interfaces=[str(ip) for ip in own], ip_version=which)
    except (OSError, RuntimeError) as exc:
        raise _failure(exc) from exc


def _is_here(ip: Ip) -> bool:
    """Tell whether an address is this machine's now."""
    with socket.socket(socket.AF_INET6 if isinstance(ip, IPv6Address) else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(ip), 0))
        except OSError:
            return False
    return True


def _failure(exc: Exception) -> Unavailable:
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return Unavailable(f"the local network can't be asked: {reason}")
