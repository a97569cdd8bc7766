"""Commands that look into backups: find, diff, stats, dump (control.inspection).

Knows: which job serves which route. Must not know: HTTP, how a job works.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.diff import DiffJob
from backuppeer.agent.jobs.dump import DumpJob, EmitAll
from backuppeer.agent.jobs.find import FindJob
from backuppeer.agent.jobs.stats import StatsJob
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.control.inspection import (
    DiffRequest,
    DiffResult,
    DumpRequest,
    DumpResult,
    FindRequest,
    FindResult,
    StatsRequest,
    StatsResult,
)
from backuppeer.errors import PeerUnreachable, Unavailable


class InspectCommands:
    """find, diff, stats, dump: they only read."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def find(self, request: FindRequest, emit: Emit) -> FindResult:
        """Look for names in snapshots."""
        async with returning_memory(), reporting(emit) as reporter, _one_code():
            return await FindJob(self._agent.owner.vault, request, emit, reporter).run()

    async def diff(self, request: DiffRequest, emit: Emit) -> DiffResult:
        """Compare two snapshots, or two places in them."""
        async with returning_memory(), reporting(emit) as reporter, _one_code():
            return await DiffJob(self._agent.owner.vault, request, emit, reporter).run()

    async def stats(self, request: StatsRequest, emit: Emit) -> StatsResult:
        """Count what snapshots take."""
        async with returning_memory(), reporting(emit) as reporter, _one_code():
            return await StatsJob(self._agent.owner.vault, request, reporter).run()

    async def dump(self, request: DumpRequest, emit: EmitAll) -> DumpResult:
        """Hand on a file's bytes, or a folder as an archive."""
        async with returning_memory(), reporting(emit) as reporter, _one_code():
            return await DumpJob(self._agent.owner.vault, request, emit, reporter).run()


@asynccontextmanager
async def _one_code() -> AsyncIterator[None]:
    """Tell all weather alike, as a restore does: whatever keeps us from a host, it can't be reached."""
    try:
        yield
    except Unavailable as exc:
        raise PeerUnreachable(exc.message, hint=exc.hint) from exc
