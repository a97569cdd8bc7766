"""Hosts asked beside the one that is listened to, whether they answer at all: one patience for all of them.

Knows: partners, time. Must not know: packs, what an answer says. Three frozen hosts, each listened to in its turn, cost
three times what a person wanted to wait. So while one says nothing, the others are asked for next to nothing; who was
silent then is not listened to a second time. An answer counts as a sign of life only, it is not looked at.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from backuppeer.errors import BackupPeerError, Unavailable
from backuppeer.ids import AgreementId

Ask = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class _Sounding:
    task: asyncio.Task[Unavailable | None]
    began_s: float


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

    async def outcome(self, agreement: AgreementId, since_s: float) -> Unavailable | None:
        """Return why a host did not answer; None if it did, or was not asked since (monotonic seconds)."""
        sounding = self._soundings.get(agreement)
        if sounding is None or (sounding.task.done() and sounding.began_s < since_s):
            return None
        # Others wait for the same answer.
        return await asyncio.shield(sounding.task)

    def cancel(self) -> None:
        """Ask nobody any longer."""
        for sounding in self._soundings.values():
            sounding.task.cancel()


async def _listen(ask: Ask) -> Unavailable | None:
    try:
        await ask()
    except Unavailable as exc:
        return exc
    except BackupPeerError:
        return None  # it is there; what is wrong with its answers, reading tells
    return None
