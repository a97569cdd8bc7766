"""Commands of a new identity: recover/succeed/plan, recover/succeed (control.api routes).

Knows: that nothing else writes meanwhile, and that the agent ends when its home is somebody else. Must not know: HTTP,
the words.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.agent.agent import Agent
from backuppeer.agent.jobs.succession import SuccessionJob
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.succeeding import SuccessionPlan, SuccessionRequest, SuccessionTold


class SucceedCommands:
    """recover/succeed/plan, recover/succeed."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def plan(self, _: SuccessionRequest, emit: Emit) -> SuccessionPlan:
        """Say what a new identity would mean."""
        async with self._job(emit) as job:
            return await job.plan(len(self._agent.host.premises.owners()))

    async def tell(self, _: SuccessionRequest, emit: Emit) -> SuccessionTold:
        """Tell hosts of the succession that lies in this home; then this agent is the one of before, and ends."""
        async with self._job(emit) as job:
            told = await job.tell()
        # Also when the command was killed: no agent may go on under the keys that were.
        self._agent.stopping.set()
        return told

    @asynccontextmanager
    async def _job(self, emit: Emit) -> AsyncIterator[SuccessionJob]:
        parts, owner = self._agent.parts, self._agent.owner
        owner.vault.check_idle()
        async with owner.vault.busy, reporting(emit) as reporter:
            yield SuccessionJob(
                parts.home, parts.keys, parts.state, owner.vault, announcing=owner.announcing, reporter=reporter
            )
