"""How a server ends: it takes nobody in any more, and sends those who are here elsewhere, not all in one moment.

Knows: connections. Must not know: what they are for. A thousand hosts that lose their server at once fall upon the next
one together; their own jitter spreads seconds, this spreads the rest. Bounded: whoever stops a server waits for it.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from backuppeer import limits
from backuppeer.signaling.server.connection import Connection
from backuppeer.signaling.server.listener import Listener

_GOING_AWAY: Final = 1001
_ROUND_S: Final = 0.05


async def drain(listener: Listener, *, over_s: float) -> None:
    """Stop accepting, close every connection with 1001 within `over_s`, and return when their handlers have ended.

    Few connections go at once: at least DRAIN_LEAST_PER_S go each second. Who does not answer is cut.
    """
    listener.stop()
    connections = listener.open_connections()
    per_round = max(limits.DRAIN_LEAST_PER_S, len(connections) / max(over_s, _ROUND_S)) * _ROUND_S
    closings: list[asyncio.Task[None]] = []
    try:
        for number, connection in enumerate(connections, start=1):
            closings.append(asyncio.create_task(connection.close(_GOING_AWAY, "going away: use another server")))
            if number % max(1, round(per_round)) == 0 and number < len(connections):
                await asyncio.sleep(_ROUND_S)
        if closings:
            await asyncio.wait(closings, timeout=limits.SERVER_CLOSE_S)
    finally:
        _cut(list(listener.connections))
        await listener.wait_closed()


def _cut(connections: Iterable[Connection]) -> None:
    for connection in connections:
        connection.transport.abort()
