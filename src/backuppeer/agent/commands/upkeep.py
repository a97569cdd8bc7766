"""What every command begins with: the files of this home looked at, before anything is written to one that is gone.

Knows: whose files there are. Must not know: what a command does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from backuppeer.agent.agent import Agent
from backuppeer.agent.home.tenancy import is_gone
from backuppeer.control.routes import ROUTES
from backuppeer.errors import LocalError

P = ParamSpec("P")
T = TypeVar("T")
_BARE: Final = frozenset({"ping", "stop"})
"""Whatever became of its files, the agent must be found, and stopped."""

_LOOKS: Final = ("doctor/", "jobs/")
"""Who looks whether all is well, or how work goes, wants nothing anew: peers that are left alone stay so."""


def look_first(agent: Agent, route: str, handler: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Return the handler of a route that first takes up anew, or writes again, what was deleted under the agent."""
    if route in _BARE:
        return handler

    @wraps(handler)
    async def guarded(*given: P.args, **options: P.kwargs) -> T:
        if await asyncio.to_thread(is_gone, agent.parts.home):
            agent.stopping.set()
            raise LocalError(
                f"{agent.parts.home.path} was moved or removed while its agent was running: the agent ends now",
                hint="run the same again, with --home DIR where the home lies elsewhere",
            )
        await asyncio.to_thread(agent.parts.state.look_after)
        # In the loop, so that no job begins to write in between; four looks at a folder.
        agent.owner.vault.look_after()
        wants = ROUTES[route].work or ROUTES[route].bulk or ROUTES[route].feed
        if wants and not route.startswith(_LOOKS):
            agent.parts.reach.parting.lift()  # a person wants something anew
        return await handler(*given, **options)

    return guarded
