"""Commands by which one host takes the place of another: peers/replace/plan, peers/replace (control.api routes).

Knows: that nobody else may write meanwhile. Must not know: HTTP, how packs are copied.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.replace import ReplaceJob
from backuppeer.agent.jobs.replace_plan import plan_replace
from backuppeer.agent.owner.set_hosts import find_naming, put_in_place, read_sets
from backuppeer.agent.peers.names import name_of, resolve_peer
from backuppeer.agent.reporter import Emit, Reporter, reporting
from backuppeer.clock import format_time
from backuppeer.control.replacing import ReplacePlan, ReplaceRequest, ReplaceResult
from backuppeer.errors import BackupPeerError, UserError
from backuppeer.ids import PeerId, format_peer_id


class ReplaceCommands:
    """peers/replace/plan, peers/replace."""

    def __init__(self, agent: Agent) -> None:
        self._parts, self._vault, self._ending = agent.parts, agent.owner.vault, agent.owner.ending
        self._revising = agent.owner.revising

    async def plan(self, request: ReplaceRequest, emit: Emit) -> ReplacePlan:
        """Say what would be copied and ended; nothing is changed."""
        old, new = self._find(request)
        async with self._writing(emit) as reporter:
            # It may have agreed to more room a moment ago.
            await self._revising.hear_answers([new])
            is_asked = self._revising.is_waiting(new)
            found = await plan_replace(self._vault, self._ending, reporter, old=old, new=new, is_asked=is_asked)
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
            sets=find_naming(read_sets(self._parts.home), self._parts.state, old),
        )

    async def replace(self, request: ReplaceRequest, emit: Emit) -> ReplaceResult:
        """Copy all to the new host, have it answer for that, end with the old one."""
        old, new = self._find(request)
        if not request.confirmed:
            raise UserError("ending an agreement needs a yes", hint="answer the question, or give --yes")
        async with self._writing(emit) as reporter:
            packs, size_bytes, ended = await ReplaceJob(self._vault, self._ending, reporter).run(old, new)
            sets = self._put_in_place(reporter, old, new)
        return ReplaceResult(
            old=format_peer_id(old),
            new=format_peer_id(new),
            packs=packs,
            bytes=size_bytes,
            until=format_time(ended.until_ms),
            told=ended.told,
            sets=sets,
        )

    def _put_in_place(self, reporter: Reporter, old: PeerId, new: PeerId) -> list[str]:
        """Let sets name the new host; where they can't be written, a person does it, as the agreement ended already."""
        try:
            return put_in_place(self._parts.home, self._parts.state, old, new)
        except BackupPeerError as exc:
            reporter.note(f"sets that name {name_of(self._parts.state, old)} still do: {exc.message}")
            return []

    def _find(self, request: ReplaceRequest) -> tuple[PeerId, PeerId]:
        return resolve_peer(self._parts.state, request.old), resolve_peer(self._parts.state, request.new)

    @asynccontextmanager
    async def _writing(self, emit: Emit) -> AsyncIterator[Reporter]:
        self._vault.check_idle()
        async with self._vault.busy, returning_memory(), reporting(emit) as reporter:
            yield reporter
