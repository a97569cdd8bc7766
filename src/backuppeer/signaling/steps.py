"""Which step towards a server is the broken one: its name, the connection, TLS, or what it speaks.

Knows: one address, one connection that says nothing. Must not know: the server's protocol, what is told to a person.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from enum import StrEnum
from urllib.parse import urlsplit

from backuppeer import limits

PORTS = {"ws": 80, "wss": 443}


class Step(StrEnum):
    """The steps in their order; NONE: all of them went well, or nobody can tell, as through a proxy."""

    NONE = ""
    NAME = "name"
    CONNECTION = "connection"
    TLS = "tls"
    PROTOCOL = "protocol"


async def find_broken_step(url: str) -> Step:
    """Return the first step that fails towards a server that did not work; PROTOCOL if all before it go well.

    Takes SERVER_STEP_S at most for each, and raises nothing.
    """
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    try:
        async with asyncio.timeout(limits.SERVER_STEP_S):
            await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return Step.NAME
    if not await _opens(host, port, None):
        return Step.CONNECTION
    if parts.scheme == "wss" and not await _opens(host, port, ssl.create_default_context()):
        return Step.TLS
    return Step.PROTOCOL


async def _opens(host: str, port: int, secure: ssl.SSLContext | None) -> bool:
    with suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(limits.SERVER_STEP_S):
            _, writer = await asyncio.open_connection(host, port, ssl=secure)
        writer.transport.abort()
        return True
    return False
