"""Commands about who is on offer and at which servers: browse, browse/live, servers (control.api routes).

Knows: when rows are worth telling. Must not know: how servers are asked, what a terminal shows.
"""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec

from backuppeer.agent.agent import Agent
from backuppeer.agent.peers.neighbours import use_lan
from backuppeer.agent.reporter import Emit
from backuppeer.clock import format_time
from backuppeer.control.api import BrowseRequest, BrowseRow, Nothing
from backuppeer.control.browsing import BrowseDone
from backuppeer.control.events import Event, EventName
from backuppeer.control.servers import ServerState
from backuppeer.limits import BROWSE_TELL_S
from backuppeer.signaling.health import ServerHealth, describe_faults


class BrowseCommands:
    """browse, browse/live, servers."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def browse(self, request: BrowseRequest, _: Emit) -> list[BrowseRow]:
        """Return hosts on offer."""
        use_lan(request.lan)
        return await self._agent.owner.market.browse(self._agent.servers(request.servers), request)

    async def live(self, request: BrowseRequest, emit: Emit) -> BrowseDone:
        """Return hosts on offer; what came while a server is still silent is told beforehand."""
        use_lan(request.lan)
        news: list[BrowseRow] = []
        servers = self._agent.servers(request.servers)
        asking = asyncio.create_task(self._agent.owner.market.browse(servers, request, on_rows=news.extend))
        try:
            while not (await asyncio.wait({asking}, timeout=BROWSE_TELL_S))[0]:
                rows, news[:] = list(news), []
                if rows:
                    await emit(_make_rows(rows))
            return BrowseDone(offers=await asking)
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(asking, return_exceptions=True)

    async def servers(self, request: Nothing, _: Emit) -> list[ServerState]:
        """Return how the servers do that a request names, or else those of this home."""
        return list_servers(self._agent, request.servers)


def list_servers(agent: Agent, given: list[str] | None) -> list[ServerState]:
    """Return how servers do: those of the slot on offer as they are now, others as they were met last."""
    pool = agent.host.hosting.pool
    now = {state.url: state for state in pool.states()} if pool is not None else {}
    urls = list(now) if given is None and now else agent.servers(given)
    now_ms, health = agent.parts.clock.now_ms(), agent.owner.market.health
    found = []
    for url in urls:
        made = _describe(health.get(url), now_ms)
        if url in now:
            made = msgspec.structs.replace(made, connected=now[url].connected, error=now[url].error)
        found.append(made)
    return found


def _describe(health: ServerHealth, now_ms: int) -> ServerState:
    return ServerState(
        url=health.url,
        connected=False,
        error=health.error,
        last_reached=format_time(health.reached_ms) if health.reached_ms else "",
        failures=health.failures,
        rows=health.rows,
        forged=health.forged,
        unreadable=health.unreadable,
        outdated=health.outdated,
        lagging=health.is_lagging(now_ms),
        forked=health.forked,
        faults=describe_faults(health, now_ms),
    )


def _make_rows(rows: list[BrowseRow]) -> Event:
    data: dict[str, Any] = {"rows": msgspec.to_builtins(rows)}
    return Event(event=EventName.ROWS, data=data)
