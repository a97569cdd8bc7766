"""Commands about this home itself: who am I, who is there, who is connected (control.api routes).

Knows: how parts' states look to a person. Must not know: HTTP.
"""

import asyncio
import os
import shlex
from functools import partial

from backuppeer import __version__
from backuppeer.agent.agent import Agent
from backuppeer.agent.commands.apart import remind_of_spare
from backuppeer.agent.commands.browsing import list_servers
from backuppeer.agent.commands.capping import set_cap
from backuppeer.agent.commands.kit import remind_of_kit
from backuppeer.agent.commands.room import Room, ended_room, find_open_room, room_at, room_for, storing_state
from backuppeer.agent.commands.sessions import describe_cap
from backuppeer.agent.commands.trial import is_trial
from backuppeer.agent.commands.wishes import describe_end, terms_with
from backuppeer.agent.home.config import describe_settings
from backuppeer.agent.home.identity_alarms import differed_as
from backuppeer.agent.home.records import Direction, PeerRecord, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.jobs.audit import describe_all
from backuppeer.agent.notifications.teller import describe_unsent
from backuppeer.agent.overview.overdue import list_overdue
from backuppeer.agent.owner.announcing import describe_seen, describe_waiting
from backuppeer.agent.owner.ending import describe_endings
from backuppeer.agent.owner.lagging import describe_lacking
from backuppeer.agent.owner.set_hosts import read_sets
from backuppeer.agent.peers import misbinding
from backuppeer.agent.peers.anew import describe_anew
from backuppeer.agent.peers.choosing import is_listed
from backuppeer.agent.peers.lineage import describe_heirs, say_lineage
from backuppeer.agent.peers.names import check_alias, name_of, resolve_peer
from backuppeer.agent.peers.paths import describe_network
from backuppeer.agent.peers.words import spell_safety_words
from backuppeer.agent.recovery.reminding import remind_of_terms
from backuppeer.agent.reporter import Emit
from backuppeer.clock import format_time
from backuppeer.control.alarms import SeenAlarms
from backuppeer.control.api import (
    HostingState,
    LanState,
    Nothing,
    PeerRow,
    PeerSetting,
    PingResult,
    StatusResult,
)
from backuppeer.control.scheduling import OverdueSet
from backuppeer.control.stopping import StopResult
from backuppeer.errors import BackupPeerError, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.proof.revisions import end_ms
from backuppeer.transport.base import PathKind
from backuppeer.trust.policy import UNCOMPARED
from backuppeer.trust.score import round_down


class HomeCommands:
    """ping, status, status/seen, stop, peers, peers/set."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._parts = agent, agent.parts

    async def ping(self, _: Nothing, __: Emit) -> PingResult:
        """Say who answers here."""
        return PingResult(version=__version__, pid=os.getpid(), peer_id=format_peer_id(self._parts.keys.peer))

    async def stop(self, _: Nothing, __: Emit) -> StopResult:
        """End the agent after this answer."""
        self._agent.stopping.set()
        return StopResult(stopped=True)

    async def status(self, request: Nothing, _: Emit) -> StatusResult:
        """Return the state of this home."""
        await self._agent.owner.revising.hear_answers(session.peer for session in self._parts.sessions.all())
        snapshots, notes = self._snapshots()
        return StatusResult(
            peer_id=format_peer_id(self._parts.keys.peer),
            agent=f"running, version {__version__}, process {os.getpid()}",
            servers=list_servers(self._agent, request.servers),
            sessions=len(self._parts.sessions.all()),
            hosting=hosting_state(self._agent),
            snapshots=snapshots,
            notes=[*describe_settings(self._parts.home), *notes, *self._notes()],
            waiting_in=self._count_waiting(Direction.IN),
            waiting_out=self._count_waiting(Direction.OUT),
            read_only=not self._agent.owner.vault.writer.may_write,
            storing=storing_state(self._agent),
            audits=describe_all(self._agent.owner.vault, self._agent.owner.auditor),
            relayed=sum(s.connection.path().kind is PathKind.RELAYED for s in self._parts.sessions.all()),
            overdue=await asyncio.to_thread(self._list_overdue),
            scheduled=await asyncio.to_thread(self._agent.owner.timekeeper.describe),
            pruned=self._agent.owner.timekeeper.housekeeping.describe(),
            network=describe_network(self._parts.relays.nat, self._parts.relays.home),
            lan=self._lan_state(),
            jobs=self._agent.board.live(),
            caps=[describe_cap(cap) for cap in self._parts.sessions.rates.list_caps()],
        )

    def _list_overdue(self) -> list[OverdueSet]:
        return list_overdue(self._parts.home, self._parts.state, self._agent.owner.vault)

    def _lan_state(self) -> LanState:
        neighbours = self._agent.owner.market.neighbours
        return LanState(
            on=neighbours.is_set(),
            announced=self._agent.host.presence.places(),
            seen=[format_peer_id(peer) for peer in neighbours.seen() if peer != self._parts.keys.peer],
        )

    async def see(self, _: Nothing, __: Emit) -> SeenAlarms:
        """Repeat the alarms that stand no more."""
        alarms, state = self._agent.host.sweeping.alarms, self._parts.state
        seen = misbinding.see(state) + [alarms.say(state, found) for found in alarms.see(state)]
        return SeenAlarms(seen=seen + self._agent.host.waiving.waived.see())

    async def peers(self, _: Nothing, __: Emit) -> list[PeerRow]:
        """Return own peers: hosts, owners, and whoever has a name here."""
        rows = [await self._peer_row(record) for record in self._parts.state.peers()]
        # Of one that goes on as another there is nothing left to see once nothing is agreed with it.
        over = {format_peer_id(heir.old) for heir in self._parts.views.heirs.list_all()}
        return [row for row in rows if row.role != "known" or row.peer_id not in over]

    async def set_peer(self, request: PeerSetting, _: Emit) -> PeerRow:
        """Record that a person compared id or safety words with a peer's, or what it is called here."""
        peer = resolve_peer(self._parts.state, request.peer)
        if peer == self._parts.keys.peer:
            raise UserError("that is your own id", hint="see `backup-peer peers` for the others")
        check_alias(self._parts.state, request.name, peer)
        if request.verified:
            misbinding.refuse_doubted(self._parts.state, peer, misbinding.NO_COMPARISON)
        now_ms = self._parts.clock.now_ms()
        if request.name:
            self._parts.state.call(peer, request.name, now_ms)
        if request.cap:
            set_cap(self._agent.owner.vault.exposing, peer, request.cap, name=name_of(self._parts.state, peer))
            self._parts.state.meet(peer, 0)
        if request.verified:
            self._parts.state.befriend(peer, now_ms)
        return await self._peer_row(next(record for record in self._parts.state.peers() if record.peer == peer))

    def _snapshots(self) -> tuple[int, list[str]]:
        """Return how many snapshots there are, and what a person should know if that can't be told."""
        vault = self._agent.owner.vault
        try:
            # A host that owns nothing has no repository, and its state must not depend on one.
            return len(vault.repository.index.snapshots()) if vault.exists_repository else 0, []
        except BackupPeerError as exc:
            return 0, [f"the snapshots can't be counted: {exc.message}"]

    def _count_waiting(self, direction: Direction) -> int:
        now_ms = self._parts.clock.now_ms()
        waiting = [r for r in self._parts.state.requests() if r.state is RequestState.WAITING and is_listed(r, now_ms)]
        return sum(record.direction is direction for record in waiting)

    def _notes(self) -> list[str]:
        here, state = self._agent.host, self._parts.state
        hosts = [host for _, host, _ in state.agreements()]
        notes = [
            *misbinding.describe(state),
            *describe_heirs(state, self._parts.views.heirs, here.premises.owners(), hosts),
            *self._agent.owner.following.describe(),
            *here.heirship.describe(),
            *describe_anew(state, self._parts.keys),
            *here.premises.notes,
            *here.sweeping.alarms.describe(state),
            *here.scrubbing.describe(state),
        ]
        notes += here.waiving.waived.describe() + here.ending.describe()
        if self._agent.owner.vault.is_unrecovered:
            notes.append("the recovery of this home is not finished: run `backup-peer recover` again")
        vault = self._agent.owner.vault
        notes += self._say_reading(has_hosts=bool(hosts))
        notes += describe_seen(state) + describe_waiting(state, self._agent.owner.announcing, self._parts.keys)
        notes += describe_endings(state)
        notes += describe_lacking(vault, state, read_sets(self._parts.home))
        notes += remind_of_terms(state, self._parts.clock.now_ms())
        notes += here.reciprocity.describe() + describe_unsent(self._parts.home, state)
        has_copies = vault.repository_id is not None and bool(vault.repository.index.snapshots())
        kit = remind_of_kit(state, self._parts.clock.now_ms()) if has_copies else ""
        notes += [kit] if kit else []
        keepers = vault.complete_hosts() if has_copies else ()
        notes += remind_of_spare(self._agent, keepers)
        heirs = self._parts.views.heirs
        for host, text in self._parts.standing.reminders(hosts, keepers, partial(name_of, state)):
            if text == UNCOMPARED and host is not None and heirs.was_friend(host):
                continue  # it is to be compared anew, which is said already
            notes.append(text if host is None else f"{name_of(state, host)}: {text}{_say_way_out(state, host, text)}")
        return notes

    def _say_reading(self, *, has_hosts: bool) -> list[str]:
        """Return why this home may only read, and what changes that, where there is anything to read.

        Who takes over asks its hosts: without any there is nothing to advise, and a home that only kept others' data
        has nothing to read either.
        """
        vault = self._agent.owner.vault
        if has_hosts:
            return [why] if (why := vault.writer.describe()) else []
        has_copies = vault.exists_repository and bool(vault.repository.index.snapshots())
        return [why] if has_copies and (why := vault.writer.explain()) else []

    async def _peer_row(self, record: PeerRecord) -> PeerRow:
        kept, given = room_at(self._agent, record.peer), room_for(self._agent, record.peer)
        room = kept or given or Room()
        trust, level = self._parts.standing.trust(record.peer)
        terms = terms_with(self._agent, record.peer)
        # Who is in session is there now; when it was over is noted.
        seen_ms = self._parts.clock.now_ms() if self._parts.sessions.get(record.peer) else record.last_seen_ms
        role = "both" if kept and given else "host" if kept else "owner" if given else "known"
        return PeerRow(
            peer_id=format_peer_id(record.peer),
            alias=record.alias,
            role=role,
            verified=self._parts.standing.is_friend(record.peer),
            quota_bytes=room.quota_bytes,
            used_bytes=room.used_bytes,
            safety_words=await spell_safety_words(self._parts.keys.peer, record.peer),
            last_seen=format_time(seen_ms) if seen_ms else "",
            trust=round_down(trust),
            trust_level=level.value,
            deleted_bytes=room.deleted_bytes,
            next_free_bytes=room.next_bytes,
            next_free=room.next_free,
            until=format_time(end_ms(terms)) if terms else "",
            revision=terms.revision if terms else 0,
            **describe_end(self._agent, record.peer),
            blocked=record.peer in self._parts.state.blocks,
            reason=self._parts.state.blocks.reason(record.peer) or "",
            hosted_bytes=given.quota_bytes if kept and given else 0,
            hosted_used_bytes=given.used_bytes if kept and given else 0,
            owed_to_us_bytes=self._agent.host.reciprocity.owed_to_us(record.peer).lacking_bytes,
            owed_by_us_bytes=self._agent.host.reciprocity.owed_by_us(record.peer).lacking_bytes,
            capped=self._parts.standing.caps(record.peer),
            differs=self._parts.standing.differs(record.peer),
            differed_as=format_peer_id(before) if (before := differed_as(self._parts.state, record.peer)) else "",
            lineage=say_lineage(self._parts.state, self._parts.views.heirs, record.peer),
            room_bytes=find_open_room(self._agent, record.peer) if kept else None,
            trial=bool(kept and terms and is_trial(terms)),
        )


def _say_way_out(state: State, host: PeerId, text: str) -> str:
    """Return how a person ends what they are reminded of, where the reminder does not say it."""
    typed = shlex.quote(name_of(state, host))
    return f"; `backup-peer peers verify {typed}` compares them" if text == UNCOMPARED else ""


def hosting_state(agent: Agent) -> HostingState:
    """Return what this home hosts; a store that can't be used is said so, not shown as empty."""
    premises, offer = agent.host.premises, agent.host.hosting.offer
    state = HostingState(offering=offer is not None, store=str(premises.directory or ""))
    state.invites = agent.host.requests.invites.count_live()
    if offer is not None:
        state.storage_bytes, state.min_trust = offer.storage_bytes, offer.min_trust
        state.expires = format_time(offer.expires_ms) if offer.expires_ms else ""
        state.unlisted = offer.unlisted
    if premises.directory is None:
        return state
    state.noted = agent.host.noting.count_noted()
    try:
        store = premises.open()
        totals, state.deleted_bytes = store.totals(), store.removals.deleted_bytes()
        erased, state.ended_bytes = store.removals.next_free(), ended_room(agent)
    except BackupPeerError as exc:
        state.store_state = f"unavailable: {exc.message}"
        return state
    state.store_state = "ready"
    state.agreed_bytes, state.used_bytes = totals.agreed_bytes, totals.used_bytes
    state.agreements = totals.agreements
    if erased.size_bytes:
        state.next_free_bytes = erased.size_bytes
        state.next_free = format_time(agent.parts.clock.now_ms() + erased.left_s * 1000)
    return state
