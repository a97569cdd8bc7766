"""Commands by which a host retires: host/retire/plan, host/retire (control.api routes).

Knows: slot, requests, agreements of this host. Must not know: HTTP, how a notice counts down. Asked again it shows
where it stands: who was not told is tried again.
"""

import asyncio

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.ending import EndCommands
from backuppeer.agent.commands.room import room_for
from backuppeer.agent.home.records import Direction
from backuppeer.agent.peers.choosing import OPEN
from backuppeer.agent.peers.names import alias_of
from backuppeer.agent.reporter import Emit
from backuppeer.clock import format_time
from backuppeer.control.ending import RetiredOwner, RetirePlan, RetireRequest, RetireResult
from backuppeer.errors import UserError
from backuppeer.host.leases import Lease
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.proof.notices import kept_s
from backuppeer.proof.revisions import SECOND_MS

_WHY = "this host retires"


class RetireCommands:
    """host/retire/plan, host/retire."""

    def __init__(self, agent: Agent, ends: EndCommands) -> None:
        self._agent, self._parts, self._ends = agent, agent.parts, ends

    async def plan(self, _: RetireRequest, __: Emit) -> RetirePlan:
        """Say what retiring would mean, before a person agrees to it."""
        leases = await asyncio.to_thread(self._leases)
        left_s = [self._left_s(lease) for lease in leases]
        used = [room_for(self._agent, owner) for owner in {lease.owner for lease in leases}]
        premises = self._agent.host.premises
        mine = [premises.open().notices.is_ended_by_host(lease.agreement) for lease in leases]
        return RetirePlan(
            owners=len(used),
            is_new=not all(mine),
            used_bytes=sum(room.used_bytes for room in used if room),
            until=self._date(max(left_s)) if left_s else "",
        )

    async def retire(self, request: RetireRequest, _: Emit) -> RetireResult:
        """Withdraw the slot, turn down who still asks, give notice to all owners."""
        if not request.confirmed:
            raise UserError("retiring needs a yes", hint="answer the question, or give --yes")
        await self._agent.host.hosting.withdraw()
        await asyncio.to_thread(self._turn_down)
        found = dict.fromkeys(lease.owner for lease in await asyncio.to_thread(self._leases))
        owners = await asyncio.gather(*map(self._end, found))
        return RetireResult(owners=list(owners), until=max((row.until for row in owners), default=""))

    async def _end(self, owner: PeerId) -> RetiredOwner:
        ending = self._agent.host.ending
        await asyncio.to_thread(ending.end, owner)
        agreements = [lease.agreement for lease in self._agent.host.premises.leases_of(owner)]
        told = await self._ends.tell_owner(owner, agreements)
        left_s = await asyncio.to_thread(ending.left_for, owner) or 0
        room = room_for(self._agent, owner)
        return RetiredOwner(
            peer_id=format_peer_id(owner),
            alias=alias_of(self._parts.state, owner),
            used_bytes=room.used_bytes if room else 0,
            until=self._date(left_s),
            told=told,
        )

    def _turn_down(self) -> None:
        for record in self._parts.state.requests():
            if record.direction is Direction.IN and record.state in OPEN:
                self._agent.host.requests.turn_down(record, _WHY)

    def _leases(self) -> list[Lease]:
        premises = self._agent.host.premises
        return premises.open().leases.list_all() if premises.directory is not None else []

    def _left_s(self, lease: Lease) -> int:
        left_s = self._agent.host.premises.open().notices.left_s(lease.agreement)
        return kept_s(lease.terms, lease.terms.host) if left_s is None else left_s

    def _date(self, left_s: int) -> str:
        return format_time(self._parts.clock.now_ms() + left_s * SECOND_MS)
