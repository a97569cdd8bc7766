"""Hosts asked beside the one that is listened to, whether they answer at all: one patience for all of them.

Knows: partners, time. Must not know: packs, what an answer says. Three frozen hosts, each listened to in its turn, cost
three times what a person wanted to wait. So while one says nothing, the others are asked for next to nothing; who was
silent then is not listened to a second time. An answer counts as a sign of life only, it is not looked at.

As soon as one of the others answers, who still says nothing is left for it: a killed host is found dead after a quarter
of a minute, and one that is off after a minute of dials and knocks, which go on beside the work (ADR 39).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from backuppeer.agent.owner.pacing import SilentError
from backuppeer.errors import BackupPeerError, Unavailable
from backuppeer.ids import AgreementId
from backuppeer.limits import SOUND_AFTER_S

T = TypeVar("T")
Ask = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class _Sounding:
    task: asyncio.Task[Unavailable | None]
    began_s: float


class Heard:
    """What came from a host since it was met for a request; nothing before."""

    def __init__(self) -> None:
        self._all: Callable[[], int] = int
        self._before = 0

    def begin(self, all_bytes: Callable[[], int]) -> None:
        """Count from now on. all_bytes: what came in the session so far."""
        self._all, self._before = all_bytes, all_bytes()

    def count(self) -> int:
        """Return the bytes."""
        return self._all() - self._before


class Soundings:
    """Used in the event loop alone, but for `knows`."""

    def __init__(self) -> None:
        self._soundings: Final[dict[AgreementId, _Sounding]] = {}

    def knows(self, agreement: AgreementId) -> bool:
        """Say whether a host was ever asked, from any thread: most never are, and need no turn of the loop."""
        return agreement in self._soundings

    def begin(self, agreement: AgreementId, ask: Ask, now_s: float) -> None:
        """Ask a host, unless it is being asked; `ask` raises Unavailable when it does not answer in time."""
        under_way = self._soundings.get(agreement)
        if under_way is None or under_way.task.done():
            self._soundings[agreement] = _Sounding(asyncio.create_task(_listen(ask)), now_s)

    async def outcome(
        self, agreement: AgreementId, since_s: float, others: Collection[AgreementId] = ()
    ) -> Unavailable | None:
        """Return why a host did not answer; None if it did, or was not asked since (monotonic seconds).

        others: if one of them answers first, this one is not waited for, and said to be silent.
        """
        sounding = self._soundings.get(agreement)
        if sounding is None or (sounding.task.done() and sounding.began_s < since_s):
            return None
        # Others wait for the same answer.
        if await self.has_answer(others, unless=sounding.task) and not sounding.task.done():
            return SilentError("it says nothing, and another host that has the same answers")
        return await asyncio.shield(sounding.task)

    async def has_answer(self, agreements: Collection[AgreementId], *, unless: asyncio.Future[T]) -> bool:
        """Wait until one of the hosts that were asked answers, or `unless` is done, which is left alone.

        Return whether one did; False, too, where none of them will.
        """
        asked = {sounding.task for one in agreements if (sounding := self._soundings.get(one)) is not None}
        while asked and not unless.done():
            waited: set[asyncio.Future[Any]] = {*asked, unless}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() and not task.cancelled() and task.result() is None for task in asked):
                return True
            asked = {task for task in asked if not task.done()}
        return False

    def cancel(self) -> None:
        """Ask nobody any longer."""
        for sounding in self._soundings.values():
            sounding.task.cancel()


async def while_alone(
    step: Coroutine[None, None, T],
    heard_bytes: Callable[[], int],
    has_answer: Callable[[asyncio.Future[T]], Awaitable[bool]],
    name: str,
) -> T:
    """Return what a request to a host gives, unless nothing comes from it while another host answers.

    heard_bytes: all that came from it so far, 0 as long as it was not met. has_answer: asks the others, and waits for
    one, or for the request. The step has ended when this returns or raises.

    Raises:
        SilentError: another one answered; nothing came for SOUND_AFTER_S before, nor since.

    """
    task = asyncio.ensure_future(step)
    try:
        while True:
            heard = heard_bytes()
            if (await asyncio.wait([task], timeout=SOUND_AFTER_S))[0]:
                return task.result()
            if heard_bytes() != heard:
                continue
            if not await has_answer(task):
                return await task
            if heard_bytes() == heard and not task.done():
                raise SilentError(f"{name} says nothing, and another host that has the same answers")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _listen(ask: Ask) -> Unavailable | None:
    try:
        await ask()
    except Unavailable as exc:
        return exc
    except BackupPeerError:
        return None  # it is there; what is wrong with its answers, reading tells
    return None
