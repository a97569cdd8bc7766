"""Board: what each of several servers said to one request, and the wait for it.

Knows: outcomes. Must not know: sockets, what was asked.
"""

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from backuppeer import limits
from backuppeer.signaling.messages import Published, explain_refusal


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one server did last. `error` may stand beside a connection: a refused listing."""

    url: str
    connected: bool
    error: str = ""


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """What one server said. `error` is empty when accepted."""

    url: str
    accepted: bool
    error: str = ""


class Board:
    """One place per server; the newest outcome stands."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._outcomes: dict[str, Acceptance | None] = dict.fromkeys(urls)
        self._changed = asyncio.Event()
        self._proving: set[str] = set()

    def prolong(self, url: str, *, goes_on: bool) -> None:
        """Note that work for a server goes on, or is over: until then it can't have spoken."""
        (self._proving.add if goes_on else self._proving.discard)(url)
        self._changed.set()

    def put(self, url: str, *, accepted: bool, error: str) -> None:
        """Note an outcome of a server on the board; others are ignored."""
        if url in self._outcomes:
            self._outcomes[url] = Acceptance(url=url, accepted=accepted, error=error)
            self._changed.set()

    def taker(self, url: str) -> Callable[["asyncio.Future[Published]"], None]:
        """Return a done-callback that notes a publication's verdict."""

        def take(verdict: "asyncio.Future[Published]") -> None:
            if not verdict.cancelled():
                answer = verdict.result()
                error = "" if answer.accepted else f"{url} refused the listing: {explain_refusal(answer.code)}"
                self.put(url, accepted=answer.accepted, error=error)

        return take

    def outcomes(self) -> list[Acceptance]:
        """Return one outcome per server, in order; a silent one counts as not accepted."""
        return [
            o or Acceptance(url=url, accepted=False, error=f"{url} gave no answer") for url, o in self._outcomes.items()
        ]

    async def settle(self, within_s: float) -> None:
        """Wait until all have spoken; after `within_s` one success is enough; after SERVER_CONNECT_S nothing is.

        Where there is no success yet and work for a server goes on, its word is waited for, for STAMP_S at most.
        """
        if not await self._wait(within_s, is_enough=self._have_all_spoken):
            await self._wait(max(0.0, limits.SERVER_CONNECT_S - within_s), is_enough=self._is_settled)
            if self._proving and not self._is_settled():
                await self._wait(limits.STAMP_S, is_enough=self._is_settled)

    def _have_all_spoken(self) -> bool:
        return all(outcome is not None for outcome in self._outcomes.values())

    def _is_settled(self) -> bool:
        return self._have_all_spoken() or any(o is not None and o.accepted for o in self._outcomes.values())

    async def _wait(self, timeout_s: float, *, is_enough: Callable[[], bool]) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not is_enough():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
