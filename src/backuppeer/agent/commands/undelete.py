"""Commands that bring back what was deleted: peers/deleted, peers/undelete (control.api routes).

Knows: that nobody else may write or prune meanwhile. Must not know: HTTP, how packs come back.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.undelete import UndeleteJob
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.undeleting import UndeletePlan, UndeleteRequest, UndeleteResult
from backuppeer.errors import UserError


class UndeleteCommands:
    """peers/deleted, peers/undelete."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def list_all(self, request: UndeleteRequest, emit: Emit) -> UndeletePlan:
        """Say what a host holds as deleted."""
        async with self._job(request, emit) as job:
            return await job.list_all()

    async def undelete(self, request: UndeleteRequest, emit: Emit) -> UndeleteResult:
        """Have snapshots back."""
        if request.all == bool(request.snapshots):
            raise UserError("name the snapshots that you want back, or all", hint="--list shows which there are")
        async with self._job(request, emit) as job:
            return await job.run()

    @asynccontextmanager
    async def _job(self, request: UndeleteRequest, emit: Emit) -> AsyncIterator[UndeleteJob]:
        vault = self._agent.owner.vault
        vault.check_idle()
        if vault.pruning.locked():
            raise UserError("a prune is running in this home", hint="wait for it, or cancel it with Ctrl-C")
        # What is entered as dropped, and named again, must not meet a prune that drops, nor a backup that relies.
        async with vault.pruning, vault.busy, returning_memory(), reporting(emit) as reporter:
            yield UndeleteJob(vault, request, reporter)
