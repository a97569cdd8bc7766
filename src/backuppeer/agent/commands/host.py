"""Commands of hosting: offer a slot, watch who asks, decide (control.api routes).

Knows: the host's view and its events. Must not know: HTTP, knocks.
"""

import asyncio
from typing import Final

import msgspec

from backuppeer.agent.agent import Agent, default_store
from backuppeer.agent.commands.home import hosting_state
from backuppeer.agent.commands.inviting import name_invite
from backuppeer.agent.commands.wishes import describe_beside
from backuppeer.agent.home.config import may_use_lan
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.host.alarms import MassDeletion, say_deletion
from backuppeer.agent.host.takeup import describe_taken_up
from backuppeer.agent.peers.choosing import choose_listed, find_offered, is_listed
from backuppeer.agent.peers.misbinding import NOTHING_NEW, refuse_doubted
from backuppeer.agent.peers.names import alias_of, name_of
from backuppeer.agent.peers.offers import Offer, check_storage, choose_promises, choose_terms
from backuppeer.agent.peers.wishes import name_of_request
from backuppeer.agent.peers.words import spell_safety_words
from backuppeer.agent.reporter import Emit, Reporter
from backuppeer.clock import format_time
from backuppeer.control.api import (
    HostingState,
    HostPlan,
    HostRequest,
    HostResult,
    Nothing,
    PendingRequest,
    RequestDecision,
)
from backuppeer.control.events import Agreed, Event, EventName, MassDeletionSeen, Note, State
from backuppeer.errors import NoSignaling, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.signaling.listing import bucket_availability, bucket_bytes, is_region
from backuppeer.signaling.servers import count_servers
from backuppeer.trust.policy import AcceptPolicy
from backuppeer.trust.tenants import Deed

_UNLISTED: Final = State(state="unlisted", text="no signaling server reachable, trying again …")
_LISTED: Final = State(state="listed", text="on offer again; waiting for requests …")
_PROVING: Final = "proving to {}, which does not know this peer yet, that it is no throwaway (some seconds, once) …"
_POLICIES: Final = {policy.value for policy in AcceptPolicy}


class HostCommands:
    """host, host/plan, host/stop, requests, requests/accept, requests/reject."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts
        self._loop = asyncio.get_running_loop()
        self._watchers: set[asyncio.Queue[Event]] = set()
        self._agent.host.requests.on_request = self._tell_request
        self._agent.host.requests.on_agreed = self._tell_agreed
        self._agent.host.hosting.on_servers = self._tell_servers
        self._agent.host.sweeping.alarms.on_alarm = self._tell_alarm
        self._agent.host.scrubbing.proving.on_loss = self._tell_losses
        self._agent.host.ending.on_notice = self._tell_notice
        self._agent.host.waiving.on_waived = self._tell_waived
        self._is_lost = False

    async def host(self, request: HostRequest, emit: Emit) -> HostResult:
        """Offer a slot, then show who asks until the offer ends; leaving the view leaves the offer standing."""
        offer = self._make_offer(request)
        premises, reporter = self._agent.host.premises, Reporter(emit)
        store = default_store(self._parts.home, request.store, premises.directory)
        is_known = premises.directory is not None
        opened = await asyncio.to_thread(self._agent.host.heirship.take_up, store, request.storage)
        found = () if is_known else describe_taken_up(opened, unlisted=offer.unlisted)
        for note in () if is_known else [*found, *premises.describe_opened(opened)]:
            reporter.note(note)
        asked = count_servers(len(offer.servers)) if offer.servers else "this network"
        await reporter.state("publishing", f"asking {asked} to show the offer")
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            accepted = await self._publish(offer, reporter)
            self._is_lost = False
            result = HostResult(
                peer_id=format_peer_id(self._parts.keys.peer),
                storage_bytes=request.storage,
                expires=format_time(offer.expires_ms) if offer.expires_ms else "",
                servers=accepted,
                unlisted=offer.unlisted,
                lan=self._agent.host.presence.places() if self._agent.host.presence.is_shown() else [],
            )
            await emit(Event(event=EventName.OFFERED, data=msgspec.to_builtins(result)))
            if not request.detach:
                await self._show(queue, emit)
            return result
        finally:
            self._watchers.discard(queue)

    async def plan(self, request: HostRequest, _: Emit) -> HostPlan:
        """Say what a slot would look like, before a person agrees to it; what can't be offered is refused."""
        offer = self._make_offer(request)
        store = default_store(self._parts.home, request.store, self._agent.host.premises.directory)
        agreed = await asyncio.to_thread(self._agent.host.premises.survey, store, request.storage)
        return HostPlan(
            listed_bytes=bucket_bytes(max(0, offer.storage_bytes - agreed)),
            agreed_bytes=agreed,
            lan=self._is_near(request),
        )

    async def stop(self, _: Nothing, __: Emit) -> HostingState:
        """Withdraw the slot; agreements go on."""
        await self._agent.host.hosting.withdraw()
        await self._agent.host.presence.settle()
        for queue in self._watchers:
            queue.put_nowait(Event(event=EventName.DONE))
        return hosting_state(self._agent)

    async def requests(self, _: Nothing, __: Emit) -> list[PendingRequest]:
        """Return requests in both directions that are open, and those settled lately."""
        await self._agent.owner.revising.hear_answers(session.peer for session in self._parts.sessions.all())
        listed = choose_listed(self._parts.state.requests(), self._parts.clock.now_ms())
        return [await self._row(record) for record in listed]

    async def accept(self, request: RequestDecision, _: Emit) -> PendingRequest:
        """Accept a request; of one of our own, the terms that its host offers instead."""
        own = find_offered(self._parts.state, self._parts.keys.peer, request.request, self._parts.clock.now_ms())
        if own is not None:
            return await self._take(own, self._agent.servers(request.servers))
        asked = self._agent.host.requests.find(request.request, accept=True)
        refuse_doubted(self._parts.state, asked.peer, NOTHING_NEW)
        return await self._row(self._agent.host.requests.decide(request.request, accept=True, alias=request.alias))

    async def reject(self, request: RequestDecision, _: Emit) -> PendingRequest:
        """Reject a request."""
        return await self._row(self._agent.host.requests.decide(request.request, accept=False, reason=request.reason))

    async def _take(self, record: RequestRecord, servers: list[str]) -> PendingRequest:
        if record.revises:
            await self._agent.owner.revising.take_offer(record, _quietly)
        else:
            await self._agent.owner.connecting.take_offer(record, servers)
        return await self._row(self._parts.state.find_request(Direction.OUT, record.peer) or record)

    async def describe(self, record: RequestRecord) -> PendingRequest:
        """Return a request as people are shown it."""
        return await self._row(record)

    def _make_offer(self, request: HostRequest) -> Offer:
        if request.accept not in _POLICIES:
            raise UserError(f"--accept {request.accept[:20]!r}", hint="one of: ask, trusted, all")
        check_storage(request.storage, example="backup-peer host --storage 50GB")
        servers = self._agent.servers(request.servers)
        if not servers and not self._is_near(request):
            raise NoSignaling(
                "no signaling server is set, so nobody could find the slot",
                hint="name one with --server URL; or --lan shows it to machines in the same network",
            )
        region = request.region or self._agent.config().region or ""
        if not is_region(region):
            raise UserError(f"--region {region[:20]!r} is no region", hint="for example: --region EU or --region US-W")
        if request.duration_s is not None and request.duration_s < 1:
            raise UserError("a duration of 0 offers nothing", hint="for example: --duration 2h")
        if not 0 <= request.min_trust <= 1:
            raise UserError("--min-trust is a share", hint="for example: --min-trust 0.6")
        term_s, lock_s = choose_terms(request.term_s, request.lock_s)
        promises = choose_promises(request.promises)
        now_ms = self._parts.clock.now_ms()
        return Offer(
            storage_bytes=request.storage,
            expires_ms=now_ms + request.duration_s * 1000 if request.duration_s else 0,
            term_s=term_s,
            lock_s=lock_s,
            accept=request.accept,
            region=region,
            min_trust=request.min_trust,
            servers=tuple(servers),
            promises=promises._replace(availability=bucket_availability(promises.availability)),
            unlisted=request.unlisted,
            lan=request.lan,
        )

    def _is_near(self, request: HostRequest) -> bool:
        """Tell whether a slot is to be shown in the local network."""
        return not request.unlisted and (may_use_lan(self._parts.home) if request.lan is None else request.lan)

    async def _publish(self, offer: Offer, reporter: Reporter) -> list[str]:
        hosting = self._agent.host.hosting
        hosting.on_proving = lambda url: self._agent.spawn(reporter.state("proving", _PROVING.format(url)))
        try:
            return [row.url for row in await hosting.start(offer) if row.accepted]
        finally:
            hosting.on_proving = lambda _: None

    async def _show(self, queue: "asyncio.Queue[Event]", emit: Emit) -> None:
        """Pass on what happens until the offer ends: alarms not seen yet, losses and requests that wait come first."""
        for found in await asyncio.to_thread(self._agent.host.sweeping.alarms.list_new, self._parts.state):
            await emit(self._alarm_event(found))
        for note in await asyncio.to_thread(self._list_losses):
            await emit(note)
        side = self._agent.host
        for text in await asyncio.to_thread(lambda: [*side.waiving.waived.list_new(), *side.ending.describe()]):
            await emit(_note_event(text))
        for record in self._parts.state.requests():
            is_waiting = record.direction is Direction.IN and record.state is RequestState.WAITING
            if is_waiting and is_listed(record, self._parts.clock.now_ms()):
                await emit(await self._event(record))
        offer = self._agent.host.hosting.offer
        left_s = (offer.expires_ms - self._parts.clock.now_ms()) / 1000 if offer and offer.expires_ms else None
        try:
            async with asyncio.timeout(left_s):
                while (event := await queue.get()).event != EventName.DONE:
                    await emit(event)
        except TimeoutError:
            return

    def _tell_request(self, record: RequestRecord) -> None:
        if self._watchers:  # else nobody would see what the words cost
            self._agent.spawn(self._pass_on(record))

    async def _pass_on(self, record: RequestRecord) -> None:
        now = self._parts.state.find_request(Direction.IN, record.peer)
        if now is None or now.request != record.request:
            return  # another took its place while the words of others were computed
        event = await self._event(record)
        for queue in self._watchers:
            queue.put_nowait(event)

    def _tell_servers(self, is_shown: bool) -> None:  # noqa: FBT001 - hosting.OnServers
        """Tell those who watch when the last server is lost, and when the first one is back."""
        if is_shown is not self._is_lost:
            return
        self._is_lost = not is_shown
        said = _LISTED if is_shown else _UNLISTED
        for queue in self._watchers:
            queue.put_nowait(Event(event=EventName.STATE, data=msgspec.to_builtins(said)))

    def _tell_agreed(self, record: RequestRecord) -> None:
        # Agreements are signed in a disk thread; queues and tasks belong to the loop.
        self._loop.call_soon_threadsafe(self._announce, record)

    def _tell_notice(self, owner: PeerId, left_s: int) -> None:
        # Taken in a disk thread.
        text = self._agent.host.ending.say(owner, left_s)
        self._loop.call_soon_threadsafe(self._note, text)

    def _tell_waived(self, text: str) -> None:
        # Taken in a disk thread; what is due now is not waited for.
        self._loop.call_soon_threadsafe(self._note, text)
        self._loop.call_soon_threadsafe(self._agent.host.sweeping.wake)

    def _note(self, text: str) -> None:
        for queue in self._watchers:
            queue.put_nowait(_note_event(text))

    def _tell_alarm(self, found: MassDeletion) -> None:
        # Found in the sweep's thread.
        self._parts.standing.note_deed(found.owner, Deed.MASS_DELETED)
        self._loop.call_soon_threadsafe(self._alarm, found)

    def _alarm(self, found: MassDeletion) -> None:
        for queue in self._watchers:
            queue.put_nowait(self._alarm_event(found))

    def _alarm_event(self, found: MassDeletion) -> Event:
        now_ms, name = self._parts.clock.now_ms(), name_of(self._parts.state, found.owner)
        alarm = MassDeletionSeen(
            peer_id=format_peer_id(found.owner),
            alias=alias_of(self._parts.state, found.owner),
            percent=found.percent,
            asked_bytes=found.asked_bytes,
            kept_bytes=found.kept_bytes,
            time=format_time(found.asked_ms),
            until=format_time(now_ms + found.left_s * 1000),
            text=say_deletion(found, name, now_ms),
        )
        return Event(event=EventName.ALARM, data=msgspec.to_builtins(alarm))

    def _tell_losses(self) -> None:
        # Found in a disk thread, and read there as well.
        if self._watchers:
            self._loop.call_soon_threadsafe(self._pass_notes, self._list_losses())

    def _pass_notes(self, notes: list[Event]) -> None:
        for note in notes:
            for queue in self._watchers:
                queue.put_nowait(note)

    def _list_losses(self) -> list[Event]:
        texts = self._agent.host.scrubbing.describe(self._parts.state)
        return [Event(event=EventName.NOTE, data=msgspec.to_builtins(Note(text=text))) for text in texts]

    def _announce(self, record: RequestRecord) -> None:
        self._agent.spawn(self._tell_whom(record))
        self._agent.spawn(self._agent.host.hosting.republish())

    async def _tell_whom(self, record: RequestRecord) -> None:
        """Tell of an agreement; who came by an invite was seen by nobody yet, so the words to compare come with it."""
        if not self._watchers:
            return
        invite = name_invite(self._agent, record.peer)
        agreed = Agreed(
            peer_id=format_peer_id(record.peer),
            alias=alias_of(self._parts.state, record.peer),
            quota_bytes=record.size_bytes,
            invite=invite,
            safety_words=await spell_safety_words(self._parts.keys.peer, record.peer) if invite else "",
        )
        for queue in self._watchers:
            queue.put_nowait(Event(event=EventName.AGREED, data=msgspec.to_builtins(agreed)))

    async def _event(self, record: RequestRecord) -> Event:
        return Event(event=EventName.REQUEST, data=msgspec.to_builtins(await self._row(record)))

    async def _row(self, record: RequestRecord) -> PendingRequest:
        words = await spell_safety_words(self._parts.keys.peer, record.peer)
        regard = self._parts.views.explaining.regard(record.peer)
        return PendingRequest(
            request_id=name_of_request(self._parts.keys.peer, record),
            direction=record.direction.value,
            peer_id=format_peer_id(record.peer),
            alias=record.alias or alias_of(self._parts.state, record.peer),
            safety_words=words,
            storage_bytes=record.size_bytes,
            term_s=record.term_s,
            lock_s=record.lock_s,
            state=record.state.value,
            since=format_time(record.since_ms),
            trust=regard.trust,
            trust_level=regard.level,
            trust_reason=regard.reason,
            capped=regard.capped,
            reason=record.reason,
            invite=name_invite(self._agent, record.peer) if record.direction is Direction.IN else "",
            **describe_beside(self._agent, record),
        )


def _note_event(text: str) -> Event:
    return Event(event=EventName.NOTE, data=msgspec.to_builtins(Note(text=text)))


async def _quietly(state: str, text: str) -> None:
    del state, text
