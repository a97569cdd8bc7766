"""Commands by which one host takes the place of another: peers/replace/plan, peers/replace (control.api routes).

Knows: that nobody else may write meanwhile. Must not know: HTTP, how packs are copied.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.replace import ReplaceJob
from backuppeer.agent.jobs.replace_plan import plan_replace
from backuppeer.agent.peers.names import name_of, resolve_peer
from backuppeer.agent.reporter import Emit, Reporter, reporting
from backuppeer.clock import format_time
from backuppeer.control.replacing import ReplacePlan, ReplaceRequest, ReplaceResult
from backuppeer.errors import UserError
from backuppeer.ids import PeerId, format_peer_id


class ReplaceCommands:
    """peers/replace/plan, peers/replace."""

    def __init__(self, agent: Agent) -> None:
        self._parts, self._vault, self._ending = agent.parts, agent.owner.vault, agent.owner.ending

    async def plan(self, request: ReplaceRequest, emit: Emit) -> ReplacePlan:
        """Say what would be copied and ended; nothing is changed."""
        old, new = self._find(request)
        async with self._writing(emit) as reporter:
            found = await plan_replace(self._vault, self._ending, reporter, old=old, new=new)
        return ReplacePlan(
            old=format_peer_id(old),
            new=format_peer_id(new),
            old_name=name_of(self._parts.state, old),
            new_name=name_of(self._parts.state, new),
            packs=found.packs,
            bytes=found.size_bytes,
            copy_packs=found.copy_packs,
            copy_bytes=found.copy_bytes,
            free_bytes=found.free_bytes,
            until=format_time(found.ended.until_ms),
            is_ended=found.is_ended,
            told=found.ended.told,
        )

    async def replace(self, request: ReplaceRequest, emit: Emit) -> ReplaceResult:
        """Copy all to the new host, have it answer for that, end with the old one."""
        old, new = self._find(request)
        if not request.confirmed:
            raise UserError("ending an agreement needs a yes", hint="answer the question, or give --yes")
        async with self._writing(emit) as reporter:
            packs, size_bytes, ended = await ReplaceJob(self._vault, self._ending, reporter).run(old, new)
        return ReplaceResult(
            old=format_peer_id(old),
            new=format_peer_id(new),
            packs=packs,
            bytes=size_bytes,
            until=format_time(ended.until_ms),
            told=ended.told,
        )

    def _find(self, request: ReplaceRequest) -> tuple[PeerId, PeerId]:
        return resolve_peer(self._parts.state, request.old), resolve_peer(self._parts.state, request.new)

    @asynccontextmanager
    async def _writing(self, emit: Emit) -> AsyncIterator[Reporter]:
        self._vault.check_idle()
        async with self._vault.busy, returning_memory(), reporting(emit) as reporter:
            yield reporter
