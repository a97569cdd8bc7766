"""Commands about audits: how hosts stand, and an audit now (control.auditing).

Knows: which job serves which route. Must not know: HTTP, how an audit goes.
"""

import asyncio

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.audit import AuditJob, describe_hosts
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.auditing import AuditRequest, AuditResult
from backuppeer.control.proven import AuditRow


class AuditCommands:
    """audit, audit/hosts."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def hosts(self, request: AuditRequest, _: Emit) -> list[AuditRow]:
        """Return how hosts stand."""
        owner = self._agent.owner
        return await asyncio.to_thread(describe_hosts, owner.vault, owner.auditor, request.peers)

    async def audit(self, request: AuditRequest, emit: Emit) -> AuditResult:
        """Audit hosts now."""
        owner = self._agent.owner
        async with returning_memory(), reporting(emit) as reporter:
            return await AuditJob(owner.vault, owner.auditor, request, reporter).run()
