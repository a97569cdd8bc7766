"""Backoff for network steps: full jitter, a budget, and a word to the person while waiting (REQUIREMENTS U3, U5).

Knows: time and weather. Must not know: what is retried.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from backuppeer.agent.peers.lanes import LaneBroken
from backuppeer.clock import Clock, tell_hour
from backuppeer.errors import ExitCode, IncompatibleVersion, PeerUnreachable, Unavailable
from backuppeer.limits import HERALD_FIRST_S, RETRY_BUDGET_S, RETRY_FIRST_S, RETRY_MOST_S

T = TypeVar("T")
Waiting = Callable[[Unavailable | None, float], None]
Say = Callable[[str, str, float], None]
"""(state, text, seconds until the next try or 0) for the person, as in a `state` event."""


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


class Awaited(Protocol):
    """Who is waited for: a host, as `partners.Partner`."""

    @property
    def name(self) -> str:
        """How this home calls it."""
        ...

    def absent_since_ms(self) -> int:
        """Return when it was last seen; 0 if it is here, or never was."""
        ...


class Herald:
    """Tells a person who is waited for, since when, and when the next try is; and when work goes on.

    Each peer at once, and then not before the try that was told of.
    """

    def __init__(self, say: Say, clock: Clock) -> None:
        self._say, self._clock = say, clock
        self._next_s: dict[str, float] = {}

    def waiting_for(self, peer: Awaited) -> Waiting:
        """Return a `waiting` callback that speaks of `peer`."""

        def tell(error: Unavailable | None, pause_s: float) -> None:
            now_s = self._clock.monotonic_s()
            if error is None:
                self.over(peer.name)
            elif now_s >= self._next_s.get(peer.name, now_s):
                self._next_s[peer.name] = now_s + max(pause_s, HERALD_FIRST_S)
                self._say("waiting", self._describe(peer, error), pause_s)

        return tell

    async def meet(self, peer: Awaited, meeting: Awaitable[T]) -> T:
        """Return what a meeting with `peer` gives; the person is told when it takes longer than a moment."""
        was_told = peer.name in self._next_s
        late = asyncio.get_running_loop().call_later(HERALD_FIRST_S, self._say_silent, peer)
        try:
            result = await meeting
        finally:
            late.cancel()
        if not was_told:
            self.over(peer.name)
        return result

    def over(self, name: str, *, is_back: bool = True) -> None:
        """Tell that `name` is waited for no more: it is back, or given up. Says nothing if it was not waited for."""
        if self._next_s.pop(name, None) is None:
            return
        if others := list(self._next_s):  # a copy: threads and the loop both come here
            self._say("waiting", f"waiting for {', '.join(others)}", 0.0)
        elif is_back:
            self._say("connected", f"connected to {name} again", 0.0)
        else:
            self._say("working", f"going on without {name}", 0.0)

    def give_up(self) -> None:
        """Tell that nobody is waited for any more, if somebody was."""
        for name in list(self._next_s):
            self.over(name, is_back=False)

    def _say_silent(self, peer: Awaited) -> None:
        """Tell that a peer has not answered yet, unless it is waited for already: it may be there all the same."""
        if peer.name not in self._next_s:
            self._next_s[peer.name] = self._clock.monotonic_s()
            since_ms = peer.absent_since_ms()
            seen = f", last seen {tell_hour(since_ms, self._clock.now_ms())}" if since_ms else ""
            self._say("waiting", f"{peer.name} does not answer yet{seen}", 0.0)

    def _describe(self, peer: Awaited, error: Unavailable) -> str:
        since_ms = peer.absent_since_ms()
        # Not of who is here and says why not, nor where somebody else answers.
        if since_ms and isinstance(error, PeerUnreachable) and error.exit_code is ExitCode.UNREACHABLE:
            return f"{peer.name} is offline since {tell_hour(since_ms, self._clock.now_ms())}"
        return f"waiting for {peer.name}: {error.message}"
