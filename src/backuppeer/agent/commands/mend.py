"""Commands that look for damage and mend it: check, repair (control.checking).

Knows: which job serves which route. Must not know: HTTP, how a job works.
"""

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.check import CheckJob
from backuppeer.agent.jobs.repair import RepairJob
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.checking import CheckRequest, CheckResult, RepairRequest, RepairResult


class MendCommands:
    """check, repair."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def check(self, request: CheckRequest, emit: Emit) -> CheckResult:
        """Look at everything; change nothing."""
        async with returning_memory(), reporting(emit) as reporter:
            return await CheckJob(self._agent.owner.vault, request, reporter).run()

    async def repair(self, request: RepairRequest, emit: Emit) -> RepairResult:
        """Mend what a person agreed to."""
        vault = self._agent.owner.vault
        vault.check_idle()
        async with vault.busy, returning_memory(), reporting(emit) as reporter:
            return await RepairJob(vault, self._agent.owner.auditor, request, reporter).run()
