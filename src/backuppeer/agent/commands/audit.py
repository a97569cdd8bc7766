"""Commands about audits: how hosts stand, and an audit now (control.auditing).

Knows: which job serves which route. Must not know: HTTP, how an audit goes.
"""

import asyncio

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.audit import AuditJob, describe_hosts
from backuppeer.agent.jobs.drill import DrillJob
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.auditing import AuditRequest, AuditResult, DrillResult
from backuppeer.control.proven import AuditRow


class AuditCommands:
    """audit, audit/hosts, audit/drill."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._drilling = asyncio.Lock()
        """One drill at a time: each removes what another left that was killed."""

    async def hosts(self, request: AuditRequest, _: Emit) -> list[AuditRow]:
        """Return how hosts stand."""
        owner = self._agent.owner
        return await asyncio.to_thread(describe_hosts, owner.vault, owner.auditor, request.peers)

    async def audit(self, request: AuditRequest, emit: Emit) -> AuditResult:
        """Audit hosts now."""
        owner = self._agent.owner
        async with returning_memory(), reporting(emit) as reporter:
            return await AuditJob(owner.vault, owner.auditor, request, reporter).run()

    async def drill(self, request: AuditRequest, emit: Emit) -> DrillResult:
        """Restore some files from each host alone, compare them, and throw them away."""
        vault, home = self._agent.owner.vault, self._agent.parts.home
        async with self._drilling, returning_memory(), reporting(emit) as reporter:
            return await DrillJob(vault, home, request, reporter).run()
