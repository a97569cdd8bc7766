"""Commands that end agreements, and take that back: peers/end/plan, peers/end (control.api routes).

Knows: which side of an agreement is meant, how the other side is told. Must not know: HTTP, how a notice counts down.
"""

import asyncio

import structlog

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.room import room_at, room_for
from backuppeer.agent.owner.set_hosts import find_naming, read_sets
from backuppeer.agent.peers.names import alias_of, name_of, resolve_peer
from backuppeer.agent.reporter import Emit
from backuppeer.clock import format_time
from backuppeer.control.ending import EndPlan, EndRequest, EndResult
from backuppeer.errors import BackupPeerError, NotFoundError, UserError
from backuppeer.ids import AgreementId, PeerId, format_peer_id
from backuppeer.proof.revisions import SECOND_MS
from backuppeer.wire.terms import GiveNotice, NoticeTaken

_log = structlog.get_logger()
OWNER, HOST = "owner", "host"


class EndCommands:
    """peers/end/plan, peers/end."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts

    async def plan(self, request: EndRequest, _: Emit) -> EndPlan:
        """Say what ending would mean, before a person agrees to it."""
        peer = resolve_peer(self._parts.state, request.peer)
        side = self.find_side(peer, request.side)
        if side == OWNER:
            until_ms, room = self._agent.owner.ending.plan(peer), room_at(self._agent, peer)
        else:
            left_s = await asyncio.to_thread(self._agent.host.ending.plan, peer)
            until_ms, room = self._parts.clock.now_ms() + left_s * SECOND_MS, room_for(self._agent, peer)
        return EndPlan(
            peer_id=format_peer_id(peer),
            name=name_of(self._parts.state, peer),
            side=side,
            used_bytes=room.used_bytes if room else 0,
            until=format_time(until_ms),
            sets=find_naming(read_sets(self._parts.home), self._parts.state, peer) if side == OWNER else [],
        )

    async def end(self, request: EndRequest, _: Emit) -> EndResult:
        """Give notice."""
        peer = resolve_peer(self._parts.state, request.peer)
        side = self.find_side(peer, request.side)
        if not request.confirmed:
            raise UserError("ending an agreement needs a yes", hint="answer the question, or give --yes")
        if side == OWNER:
            ended = await self._agent.owner.ending.end(peer)
            return self._result(peer, side, ended.until_ms, told=ended.told)
        await asyncio.to_thread(self._agent.host.ending.plan, peer)
        agreements = await asyncio.to_thread(self._agent.host.ending.end, peer)
        told = await self.tell_owner(peer, agreements)
        left_s = await asyncio.to_thread(self._agent.host.ending.left_for, peer) or 0
        return self._result(peer, side, self._parts.clock.now_ms() + left_s * SECOND_MS, told=told)

    def find_side(self, peer: PeerId, given: str) -> str:
        """Return which side of the agreement with a peer this home is.

        Raises:
            NotFoundError: neither.
            UserError: both, and none is named; or what is named is no side.

        """
        if given not in {"", OWNER, HOST}:
            raise UserError(f"--as {given[:20]!r}", hint="one of: owner, host")
        is_owner = any(host == peer for _, host, _ in self._parts.state.agreements())
        is_host = bool(self._agent.host.premises.leases_of(peer))
        sides = [side for side, holds in ((OWNER, is_owner), (HOST, is_host)) if holds and given in {"", side}]
        name = name_of(self._parts.state, peer)
        if not sides:
            raise NotFoundError(f"there is no such agreement with {name}", hint="see `backup-peer peers`")
        if len(sides) > 1:
            raise UserError(
                f"{name} keeps your data, and you keep its",
                hint="say as what: --as owner (it keeps yours) or --as host (you keep its)",
            )
        return sides[0]

    async def tell_owner(self, owner: PeerId, agreements: list[AgreementId]) -> bool:
        """Tell an owner of our notices; one that can't be reached is told in the next session."""
        ending = self._agent.host.ending
        try:
            session = await self._parts.reach.session(owner)
            for agreement in agreements:
                signed, _ = await asyncio.to_thread(ending.notice_of, agreement)
                # From now on it counts at its usual length, which is what the owner is told.
                left_s = await asyncio.to_thread(ending.note_told, agreement)
                message = GiveNotice(agreement=agreement, signed=signed, left_s=left_s)
                async with session.request(message) as channel:
                    await channel.receive(NoticeTaken)
        except BackupPeerError as exc:
            _log.info("owner not told of a notice yet", reason=exc.message[:200])
            return False
        return True

    def _result(self, peer: PeerId, side: str, until_ms: int, *, told: bool) -> EndResult:
        return EndResult(
            peer_id=format_peer_id(peer),
            alias=alias_of(self._parts.state, peer),
            side=side,
            until=format_time(until_ms),
            told=told,
        )
