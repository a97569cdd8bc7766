"""Commands by which one host takes the place of another: peers/replace (control.api routes).

Knows: that nobody else may write meanwhile. Must not know: HTTP, how packs are copied.
"""

from backuppeer.agent.agent import Agent
from backuppeer.agent.heap import returning_memory
from backuppeer.agent.jobs.replace import ReplaceJob
from backuppeer.agent.peers.names import resolve_peer
from backuppeer.agent.reporter import Emit, reporting
from backuppeer.clock import format_time
from backuppeer.control.replacing import ReplaceRequest, ReplaceResult
from backuppeer.errors import UserError
from backuppeer.ids import format_peer_id


class ReplaceCommands:
    """peers/replace."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts

    async def replace(self, request: ReplaceRequest, emit: Emit) -> ReplaceResult:
        """Copy all to the new host, have it answer for that, end with the old one."""
        old, new = (resolve_peer(self._parts.state, text) for text in (request.old, request.new))
        if not request.confirmed:
            raise UserError("ending an agreement needs a yes", hint="answer the question, or give --yes")
        vault = self._agent.owner.vault
        vault.check_idle()
        async with vault.busy, returning_memory(), reporting(emit) as reporter:
            packs, size_bytes, ended = await ReplaceJob(vault, self._agent.owner.ending, reporter).run(old, new)
        return ReplaceResult(
            old=format_peer_id(old),
            new=format_peer_id(new),
            packs=packs,
            bytes=size_bytes,
            until=format_time(ended.until_ms),
            told=ended.told,
        )
