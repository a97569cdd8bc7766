"""Commands by which a home leaves: leave/plan, leave (control.api routes, ADR 90).

Knows: both roles of a home, what it has asked for. Must not know: HTTP, services, how a notice counts down. Each step
can be repeated: asked again it goes on where it was stopped, tells who was not told yet, and shows what remains.
"""

import asyncio
import os
from dataclasses import replace

from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.retiring import RetireCommands
from backuppeer.agent.commands.room import room_at
from backuppeer.agent.home.records import Direction, RequestState
from backuppeer.agent.owner.set_hosts import read_sets
from backuppeer.agent.peers.choosing import UNDECIDED
from backuppeer.agent.peers.names import alias_of
from backuppeer.agent.reporter import Emit
from backuppeer.clock import format_time
from backuppeer.control.ending import RetirePlan, RetireRequest, RetireResult
from backuppeer.control.leaving import LeavePlan, LeaveRequest, LeaveResult, LeftHost
from backuppeer.errors import RefusedError, StoreUnavailable, UserError
from backuppeer.ids import PeerId, format_peer_id

_WHY = "you left"


class LeaveCommands:
    """leave/plan, leave."""

    def __init__(self, agent: Agent, retire: RetireCommands) -> None:
        self._agent, self._parts, self._retire = agent, agent.parts, retire

    async def plan(self, request: LeaveRequest, emit: Emit) -> LeavePlan:
        """Say what leaving would mean, before a person agrees to it."""
        fault = ""
        try:
            here = await self._retire.plan(RetireRequest(servers=request.servers), emit)
        except StoreUnavailable as exc:
            here, fault = RetirePlan(owners=0, is_new=False, used_bytes=0, until=""), exc.message
        hosts = [self._foresee(host) for host in self._hosts()]
        is_offering, waiting = self._agent.host.hosting.offer is not None, len(self._waiting())
        return LeavePlan(
            hosts=hosts,
            owners=here.owners,
            used_bytes=here.used_bytes,
            until=here.until,
            is_new=bool(here.is_new or is_offering or waiting or not all(row.ended for row in hosts)),
            is_offering=is_offering,
            requests=waiting,
            sets=sorted(name for name, each in read_sets(self._parts.home).items() if each.schedule),
            store_fault=fault,
        )

    async def leave(self, request: LeaveRequest, emit: Emit) -> LeaveResult:
        """Ask for nothing more, give notice to all hosts and all owners, and say what remains."""
        if not request.confirmed:
            raise UserError("leaving needs a yes", hint="answer the question, or give --yes")
        self._take_back_requests()
        hosts = await asyncio.gather(*map(self._end, self._hosts()))
        here, fault = RetireResult(owners=[], until=""), ""
        try:
            here = await self._retire.retire(RetireRequest(servers=request.servers, confirmed=True), emit)
        except StoreUnavailable as exc:
            fault = exc.message
        directory = self._agent.host.premises.directory
        return LeaveResult(
            hosts=list(hosts),
            owners=here.owners,
            until=here.until,
            store=os.fsdecode(directory) if directory else "",
            store_fault=fault,
        )

    def _hosts(self) -> list[PeerId]:
        return list(dict.fromkeys(host for _, host, _ in self._parts.state.agreements()))

    def _waiting(self) -> list[str]:
        requests = self._parts.state.requests()
        return [r.request for r in requests if r.direction is Direction.OUT and r.state in UNDECIDED]

    def _take_back_requests(self) -> None:
        """Wait for no host any more; one that says yes later meets somebody who has asked for nothing."""
        now_ms, waiting = self._parts.clock.now_ms(), set(self._waiting())
        for record in self._parts.state.requests():
            if record.request in waiting:
                ended = replace(record, state=RequestState.EXPIRED, reason=_WHY, offer=None, since_ms=now_ms)
                self._parts.state.put_request(ended)

    def _foresee(self, host: PeerId) -> LeftHost:
        ending = self._agent.owner.ending
        foreseen = ending.foresee(host)
        return self._row(host, foreseen.until_ms, ended=ending.is_ended_by_us(host), told=foreseen.told)

    async def _end(self, host: PeerId) -> LeftHost:
        """Give notice to a host, or deliver the one that it has not heard of; its no must not keep the others."""
        ending = self._agent.owner.ending
        try:
            ended = await ending.give(host)
        except RefusedError as exc:
            return self._row(host, ending.foresee(host).until_ms, refused=exc.message)
        return self._row(host, ended.until_ms, ended=True, told=ended.told)

    def _row(
        self, host: PeerId, until_ms: int, *, ended: bool = False, told: bool = False, refused: str = ""
    ) -> LeftHost:
        room = room_at(self._agent, host)
        return LeftHost(
            peer_id=format_peer_id(host),
            alias=alias_of(self._parts.state, host),
            used_bytes=room.used_bytes if room else 0,
            until=format_time(until_ms),
            ended=ended,
            told=told,
            refused=refused,
        )
