"""Asking an observer where it sees our socket (`observer`, ADR 78).

Knows: the question and the answer. Must not know: which observers there are, what the answer is good for.
"""

import asyncio
from typing import Final

import iroh

from backuppeer.errors import ProtocolViolation
from backuppeer.ids import TransportId
from backuppeer.limits import ADDRESS_CHARS, OBSERVER_S
from backuppeer.transport.addresses import format_address, parse_address
from backuppeer.transport.iroh.connection import IROH_ERRORS

OBSERVER_ALPN: Final = b"bo/1"
QUESTION: Final = b"?"


async def ask_observer(endpoint: iroh.Endpoint, observer: TransportId, address: str) -> str:
    """Return the `ip:port` that an observer at `address` sees `endpoint` at; empty when it does not say within 5 s."""
    try:
        async with asyncio.timeout(OBSERVER_S):
            target = iroh.EndpointAddr(iroh.EndpointId.from_bytes(observer), None, [address])
            connection = await endpoint.connect(target, OBSERVER_ALPN)
            stream = await connection.open_bi()
            await stream.send().write_all(QUESTION)
            said = await stream.recv().read_to_end(ADDRESS_CHARS)
            connection.close(0, b"")
            ip, port = parse_address(bytes(said).decode("ascii", "replace"))
    except (*IROH_ERRORS, TimeoutError, ProtocolViolation):
        return ""
    return format_address(ip, port) if port else ""
