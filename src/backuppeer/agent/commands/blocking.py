"""Commands that shut a peer out: block, unblock (control.api routes).

Knows: what a block means for either side of an agreement. Must not know: HTTP. No new data, no new requests: what there
is ends with notice, and until that is over it can be read. Nothing is erased by blocking.
"""

import asyncio

import msgspec

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.ending import HOST, OWNER, EndCommands
from backuppeer.agent.commands.wishes import end_at, end_for
from backuppeer.agent.home.records import Direction
from backuppeer.agent.peers.choosing import OPEN
from backuppeer.agent.peers.misbinding import settle_heirs
from backuppeer.agent.peers.names import alias_of, name_of, resolve_peer
from backuppeer.agent.reporter import Emit
from backuppeer.control.api import PeerRequest
from backuppeer.control.blocking import BlockPlan, BlockRequest, BlockResult, EndingLeft, EndingSide
from backuppeer.control.ending import EndPlan, EndRequest
from backuppeer.errors import BackupPeerError, LocalError, NotFoundError, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import BLOCK_REASON_CHARS

_TOLD = "this host wants no more of you"


class BlockCommands:
    """block, unblock."""

    def __init__(self, agent: Agent, ends: EndCommands) -> None:
        self._agent, self._parts, self._ends = agent, agent.parts, ends

    async def plan(self, request: BlockRequest, _: Emit) -> BlockPlan:
        """Say which agreements blocking would end."""
        peer = self._resolve(request.peer)
        ends = [end for side in (OWNER, HOST) if (end := await self._plan_end(peer, side)) is not None]
        return BlockPlan(peer_id=format_peer_id(peer), name=name_of(self._parts.state, peer), ends=ends)

    async def block(self, request: BlockRequest, _: Emit) -> BlockResult:
        """Take nothing new from a peer, bring nothing new to it, and end what there is."""
        peer = self._resolve(request.peer)
        if len(request.reason) > BLOCK_REASON_CHARS:
            raise UserError(f"a reason has up to {BLOCK_REASON_CHARS} characters", hint="say it shorter")
        if not request.confirmed and (await self.plan(request, _)).ends:
            raise UserError("blocking this peer ends an agreement", hint="answer the question, or give --yes")
        now_ms = self._parts.clock.now_ms()
        # First: whatever the rest comes to, nothing new is taken from now on.
        self._parts.state.blocks.put(peer, request.reason, now_ms)
        settle_heirs(self._parts.state, peer, now_ms=now_ms)
        self._parts.state.call(peer, "", now_ms)
        await asyncio.to_thread(self._shut, peer)
        left = await self._end(peer)
        return msgspec.structs.replace(self._result(peer), left=left)

    async def unblock(self, request: PeerRequest, _: Emit) -> BlockResult:
        """Take a block back; agreements that ended by it are another matter, and the answer names them."""
        peer = self._resolve(request.peer)
        reason = self._parts.state.blocks.reason(peer)
        if reason is None:
            raise UserError("this peer is not blocked", hint="see `backup-peer peers`")
        self._parts.state.blocks.drop(peer)
        await asyncio.to_thread(self._agent.host.premises.thaw, peer)
        return msgspec.structs.replace(self._result(peer), reason=reason)

    def _shut(self, peer: PeerId) -> None:
        self._agent.host.premises.freeze(peer)
        for record in self._parts.state.requests_of(Direction.IN, peer):
            if record.state in OPEN:
                self._agent.host.requests.turn_down(record, _TOLD)

    async def _end(self, peer: PeerId) -> list[EndingLeft]:
        """Give notice on both sides, and return what could not be ended; what was given already stands as it is.

        Raises:
            LocalError: something on this machine is wrong, and notice as owner could not be given.

        """
        left, host = [], self._agent.host.ending
        # Ours first: whatever a blocked peer answers as host, it can't keep its notice as owner from being given.
        try:
            await self._ends.tell_owner(peer, await asyncio.to_thread(host.end, peer))
        except UserError:
            pass  # no owner here
        except BackupPeerError as exc:
            left.append(EndingLeft(side=HOST, why=exc.message))
        try:
            await self._agent.owner.ending.end(peer)
        except UserError:
            pass  # no host of ours, or ended already
        except LocalError:
            raise
        except BackupPeerError as exc:
            if self._goes_on(peer):
                left.append(EndingLeft(side=OWNER, why=exc.message))
        return left

    def _goes_on(self, host: PeerId) -> bool:
        """Return whether an agreement of ours with a host stands without any notice."""
        state = self._parts.state
        return any(peer == host and state.deeds.ending(agreement) is None for agreement, peer, _ in state.agreements())

    async def _plan_end(self, peer: PeerId, side: str) -> EndPlan | None:
        """Return what ending would mean, None: nothing is agreed there, or it ended already."""
        request = EndRequest(peer=format_peer_id(peer), side=side)
        try:
            return await self._ends.plan(request, _ignore)
        except (NotFoundError, UserError):
            return None

    def _resolve(self, text: str) -> PeerId:
        peer = resolve_peer(self._parts.state, text)
        if peer == self._parts.keys.peer:
            raise UserError("that is your own id", hint="see `backup-peer peers` for the others")
        return peer

    def _result(self, peer: PeerId) -> BlockResult:
        reason = self._parts.state.blocks.reason(peer)
        sides = ((OWNER, end_at(self._agent, peer)), (HOST, end_for(self._agent, peer)))
        return BlockResult(
            peer_id=format_peer_id(peer),
            alias=alias_of(self._parts.state, peer),
            blocked=reason is not None,
            reason=reason or "",
            until=next((end["ends"] for _, end in sides if end), ""),
            ends=[
                EndingSide(side=side, until=end["ends"], ended_by_us=end["ended_by_us"]) for side, end in sides if end
            ],
        )


async def _ignore(*_: object) -> None:
    """Nobody hears how a plan is made."""
