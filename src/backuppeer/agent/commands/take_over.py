"""Commands that make this machine the writer: recover/take-over/plan, recover/take-over (control.api routes).

Knows: that nothing else writes meanwhile. Must not know: HTTP, the words.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.agent.agent import Agent
from backuppeer.agent.home.heir import finish_succession, is_begun
from backuppeer.agent.jobs.take_over import TakeOverJob
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.taking_over import TakeOverPlan, TakeOverRequest, TakeOverResult


class TakeOverCommands:
    """recover/take-over/plan, recover/take-over."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def plan(self, _: TakeOverRequest, emit: Emit) -> TakeOverPlan:
        """Say what taking over would mean."""
        async with self._job(emit) as job:
            return await job.plan()

    async def announce(self, _: TakeOverRequest, emit: Emit) -> TakeOverResult:
        """Tell hosts of the grant that lies in this home."""
        async with self._job(emit) as job:
            result = await job.announce() if self._has_hosts() else await job.settle()
        if self._agent.parts.keys.heir is None:
            finish_succession(self._agent.parts.home)
        return result

    def _has_hosts(self) -> bool:
        """Return whether there is anybody to tell; asked for nothing but the heir of a home that only keeps packs."""
        parts = self._agent.parts
        return bool(parts.state.agreements()) or not is_begun(parts.home)

    @asynccontextmanager
    async def _job(self, emit: Emit) -> AsyncIterator[TakeOverJob]:
        vault = self._agent.owner.vault
        vault.check_idle()
        async with vault.busy, reporting(emit) as reporter:
            yield TakeOverJob(vault, self._agent.parts.keys.peer, reporter)
