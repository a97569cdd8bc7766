"""Backoff for network steps: full jitter, a budget, and a word to the person while waiting (REQUIREMENTS U3, U5).

Knows: time and weather. Must not know: what is retried.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from backuppeer.agent.peers.lanes import LaneBroken
from backuppeer.clock import Clock
from backuppeer.errors import IncompatibleVersion, PeerUnreachable, Unavailable
from backuppeer.limits import HERALD_FIRST_S, HERALD_S, RETRY_BUDGET_S, RETRY_FIRST_S, RETRY_MOST_S

T = TypeVar("T")
Waiting = Callable[[Unavailable | None, float], None]
Say = Callable[[str, str], None]
"""(state, text) for the person, as in a `state` event."""


async def retry(
    step: Callable[[], Awaitable[T]], clock: Clock, *, waiting: Waiting | None = None, budget_s: float = RETRY_BUDGET_S
) -> T:
    """Run `step` until it succeeds; `Unavailable` is retried within the budget, every other error passes at once.

    So does that of a peer with whose version nothing can be said.
    `waiting(error, pause_s)` is called before each pause, and `waiting(None, 0)` when a step succeeds after one.

    Raises:
        Unavailable: the last one, when the budget is used up.

    """
    started, attempt = clock.monotonic_s(), 0
    while True:
        try:
            result = await step()
        except LaneBroken:
            # Not the peer: the session stands, and gives up on lanes by itself when they break again and again.
            continue
        except IncompatibleVersion:
            raise  # not weather of this hour: somebody has to upgrade
        except Unavailable as exc:
            # Full jitter, so that many owners of a host that comes back don't call in step; not a secret.
            pause_s = random.uniform(0, min(RETRY_MOST_S, RETRY_FIRST_S * 2**attempt))  # noqa: S311
            if clock.monotonic_s() - started + pause_s > budget_s:
                raise
            if waiting is not None:
                waiting(exc, pause_s)
            attempt += 1
            await asyncio.sleep(pause_s)
        else:
            if waiting is not None and attempt:
                waiting(None, 0.0)
            return result


class Herald:
    """Tells a person who is waited for, each peer at once and then not again for HERALD_S, and when work goes on."""

    def __init__(self, say: Say, clock: Clock) -> None:
        self._say, self._clock = say, clock
        self._next_s: dict[str, float] = {}

    def waiting_for(self, name: str) -> Waiting:
        """Return a `waiting` callback that speaks of `name`."""

        def tell(error: Unavailable | None, pause_s: float) -> None:
            del pause_s
            now = self._clock.monotonic_s()
            if error is None:
                self.over(name)
            elif now >= self._next_s.get(name, now):
                self._next_s[name] = now + HERALD_S
                self._say("waiting", f"waiting for {name}: {error.message}")

        return tell

    async def meet(self, name: str, meeting: Awaitable[T]) -> T:
        """Return what a meeting with `name` gives; the person is told when it takes longer than a moment."""
        was_told = name in self._next_s
        tell = self.waiting_for(name)
        late = asyncio.get_running_loop().call_later(HERALD_FIRST_S, tell, PeerUnreachable("no answer yet"), 0.0)
        try:
            result = await meeting
        finally:
            late.cancel()
        if not was_told:
            self.over(name)
        return result

    def over(self, name: str, *, is_back: bool = True) -> None:
        """Tell that `name` is waited for no more: it is back, or given up. Says nothing if it was not waited for."""
        if self._next_s.pop(name, None) is None:
            return
        if others := list(self._next_s):  # a copy: threads and the loop both come here
            self._say("waiting", f"waiting for {', '.join(others)}")
        elif is_back:
            self._say("connected", f"connected to {name} again")
        else:
            self._say("working", f"going on without {name}")
