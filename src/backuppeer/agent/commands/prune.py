"""Commands that free space at hosts: prune/plan, prune (control.api routes).

Knows: that one prune runs at a time, beside backups. Must not know: HTTP, what is pruned.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.prune import PruneJob
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.pruning import PrunePlan, PruneRequest, PruneResult
from backuppeer.errors import UserError


class PruneCommands:
    """prune/plan, prune."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def plan(self, request: PruneRequest, emit: Emit) -> PrunePlan:
        """Say what a prune would do; nothing is changed."""
        async with self._job(request, emit) as job:
            return await job.plan()

    async def prune(self, request: PruneRequest, emit: Emit) -> PruneResult:
        """Drop what nothing needs."""
        if request.without:
            raise UserError("only a plan can be of snapshots that are not forgotten", hint="forget them first")
        if not request.agreed:
            raise UserError("pruning needs a yes", hint="answer the question, or give --yes")
        async with self._job(request, emit) as job:
            return await job.run()

    @asynccontextmanager
    async def _job(self, request: PruneRequest, emit: Emit) -> AsyncIterator[PruneJob]:
        vault = self._agent.owner.vault
        vault.check_writable()
        if vault.pruning.locked():
            raise UserError("another prune is running in this home", hint="wait for it")
        async with vault.pruning, returning_memory(), reporting(emit) as reporter:
            yield PruneJob(vault, request, reporter)
