"""Whose turn it is to write: one job at a time per home (ADR 86).

Knows: the brake of the job that writes. Must not know: what it writes.
"""

import asyncio
from typing import Literal

from backuppeer.agent.brake import Brake, brake_of_job
from backuppeer.errors import UserError


class Turn(asyncio.Lock):
    """A lock that knows which job holds it, so that who is refused learns what to do about it."""

    def __init__(self) -> None:
        super().__init__()
        self._holder: Brake | None = None

    async def acquire(self) -> Literal[True]:
        """Take the turn; returns when it is free."""
        await super().acquire()
        self._holder = brake_of_job()
        return True

    def release(self) -> None:
        """Let the next one have it."""
        self._holder = None
        super().release()

    def refuse(self) -> UserError:
        """Return what is told to who may not wait for it."""
        if self._holder is not None and self._holder.is_on and (number := self._holder.job):
            return UserError(
                f"job {number}, which is paused, is not done with the list of snapshots",
                hint=f"`backup-peer resume {number}` lets it go on, `backup-peer cancel {number}` ends it",
            )
        return UserError(
            "another backup, or a change of the list of snapshots, is running in this home",
            hint="wait for it, or see `backup-peer jobs`",
        )
