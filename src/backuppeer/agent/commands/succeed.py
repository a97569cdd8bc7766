"""Commands of a new identity: recover/succeed/plan, recover/succeed (control.api routes).

Knows: that nothing else writes meanwhile, and that the agent ends when its home is somebody else. Must not know: HTTP,
the words.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.agent.agent import Agent
from backuppeer.agent.host.threads import in_thread
from backuppeer.agent.jobs.succession import OwnersPlan, SuccessionJob
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.succeeding import SuccessionPlan, SuccessionRequest, SuccessionTold
from backuppeer.errors import RefusedError, StoreUnavailable


class SucceedCommands:
    """recover/succeed/plan, recover/succeed."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def plan(self, _: SuccessionRequest, emit: Emit) -> SuccessionPlan:
        """Say what a new identity would mean."""
        owners = await self._plan_owners()
        async with self._job(emit) as job:
            return await job.plan(owners)

    async def tell(self, _: SuccessionRequest, emit: Emit) -> SuccessionTold:
        """Tell hosts of the succession that lies in this home; then this agent is the one of before, and ends."""
        async with self._job(emit) as job:
            told = await job.tell()
        # Also when the command was killed: no agent may go on under the keys that were.
        self._agent.stopping.set()
        return told

    async def _plan_owners(self) -> OwnersPlan:
        """Return who keeps backups here.

        Raises:
            RefusedError: the store is away, so that nobody knows whether they could follow.

        """
        host, parts = self._agent.host, self._agent.parts
        try:
            found = await in_thread(host.heirship.list_followers)
        except StoreUnavailable as exc:
            raise RefusedError(
                f"the store of this machine is away: {exc.message}",
                hint="plug it in first: what others keep in it must go over to the new identity",
            ) from exc
        absent = (owner for owner in found.able if parts.sessions.get(owner) is None)
        able, away, stuck = ([name_of(parts.state, one) for one in ones] for ones in (found.able, absent, found.stuck))
        return OwnersPlan(able, away, stuck, host.hosting.offer is not None)

    @asynccontextmanager
    async def _job(self, emit: Emit) -> AsyncIterator[SuccessionJob]:
        parts, owner = self._agent.parts, self._agent.owner
        owner.vault.check_idle()
        async with owner.vault.busy, reporting(emit) as reporter:
            yield SuccessionJob(
                parts.home, parts.keys, parts.state, owner.vault, announcing=owner.announcing, reporter=reporter
            )
