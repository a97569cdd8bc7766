"""The agent: the parts of one home joined, started, stopped (DESIGN 1).

Knows: which part tells which. Must not know: how any part works, the command line. cli.serve makes the parts and hands
them in; what is decided here is only who listens to whom.
"""

import asyncio
from collections.abc import Coroutine
from functools import partial
from pathlib import Path

import structlog

from backuppeer.agent.home.config import Config, environment_servers, read_config
from backuppeer.agent.home.heir import forget_former
from backuppeer.agent.home.home import Home, sweep_edits
from backuppeer.agent.home.identity_alarms import Sort
from backuppeer.agent.home.logbook import bookkeeping
from backuppeer.agent.home.records import RequestRecord
from backuppeer.agent.home.successions import SEEN
from backuppeer.agent.home.tenancy import end_without_home
from backuppeer.agent.host.authorities import follow_again
from backuppeer.agent.jobs.board import Board
from backuppeer.agent.jobs.drill import sweep_drills
from backuppeer.agent.owner.announcing import find_successor
from backuppeer.agent.peers.misbinding import raise_alarm
from backuppeer.agent.peers.partners import meet_at
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.whereabouts import Whereabouts, read_binding
from backuppeer.agent.recovery.adoption import adopt_agreements
from backuppeer.agent.sides import HostSide, OwnerSide, Parts, Repute
from backuppeer.agent.talks import talk_over
from backuppeer.errors import (
    BackupPeerError,
    DamagedStateError,
    UserError,
)
from backuppeer.ids import PeerId
from backuppeer.limits import KNOCK_BACKGROUND_S
from backuppeer.signaling.servers import resolve_servers
from backuppeer.trust.evidence import Kind
from backuppeer.wire.messages import Hello

_log = structlog.get_logger()


class Agent:
    """One running home."""

    def __init__(self, parts: Parts, host: HostSide, owner: OwnerSide, repute: Repute) -> None:
        self.parts, self.host, self.owner, self.repute = parts, host, owner, repute
        self.board = Board(parts.clock)
        self.stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Accept sessions, resume the slot, go on with requests."""
        parts = self.parts
        self._wire()
        if self.host.premises.directory is not None:
            try:
                await asyncio.to_thread(self.host.heirship.open)
                self.spawn(self._clear_old())
            except BackupPeerError as exc:
                self.host.premises.note_absence(": ".join(filter(None, (exc.message, exc.hint))))
        # Before any can run: this agent is the only one of the home.
        await asyncio.to_thread(sweep_drills, parts.home)
        await asyncio.to_thread(sweep_edits, parts.home, parts.clock.now_ms())
        is_needed = await asyncio.to_thread(self.host.heirship.is_needed)
        if not (self.owner.vault.is_unrecovered or self.owner.announcing.waiting() or is_needed):
            forget_former(parts.home, parts.keys.working)
        self.spawn(end_without_home(parts.home, self.stopping))
        self.spawn(parts.sessions.run())
        self.spawn(parts.reach.keep(parts.transport))
        self.spawn(self.host.hosting.resume())
        if self.host.premises.directory is not None and self.host.hosting.offer is None:
            self.spawn(parts.relays.attach())  # owners can't knock here: they come to the relay, or not at all
        for work in (self.host.sweeping.run(), self.host.scrubbing.run(), self.host.noting.run()):
            self.spawn(work)
        self.spawn(self._follow_again())
        self.spawn(self._follow_requests())
        self.spawn(self.host.heirship.call())
        self.spawn(self.host.inviting.run())
        self.spawn(self.owner.rounds.run())
        self.spawn(self.owner.timekeeper.run())
        lookout = self.owner.lookout
        for work in (lookout.run(), lookout.call(), lookout.condense(), self.host.presence.run()):
            self.spawn(work)

    def _wire(self) -> None:
        """Tell each part of the others that it has to do with."""
        parts = self.parts
        self.owner.timekeeper.board = self.owner.rounds.board = self.board
        parts.reach.use_knocker(self._locate)
        parts.reach.find_road = parts.relays.road
        parts.relays.servers = self.own_servers
        self.host.hosting.be_reachable = parts.relays.attach
        parts.reach.on_misbound = self._sound_alarm
        self.owner.connecting.on_agreed = self.owner.slots.hand
        self.owner.slots.servers = partial(self.servers, None)
        self.host.noting.servers = self.own_servers
        self.host.premises.on_news = self.host.noting.touch
        self.host.requests.on_accepted = self._on_accepted

    async def _clear_old(self) -> None:
        """Remove what a move of the store that was killed left in the old place."""
        with bookkeeping("move"):
            await asyncio.to_thread(self.host.moving.clear)

    async def _follow_again(self) -> None:
        """Follow whom agreements name as heirs: the table may have been lost with the state of this home."""
        with bookkeeping("successions"):
            await asyncio.to_thread(follow_again, self.parts.views.heirs, self.parts.state, self.host.premises)

    async def close(self) -> None:
        """Say goodbye to servers and peers, end all tasks, close the databases."""
        parts = self.parts
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.board.close()
        await self.host.presence.close()
        await self.host.hosting.close()
        await parts.sessions.close_all()
        await parts.relays.close()
        await parts.transport.close()
        self.owner.vault.close()
        await asyncio.to_thread(self.host.premises.close)
        self.repute.shelf.close()
        parts.state.close()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something beside everything else, until it ends or the agent stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def servers(self, given: list[str] | None) -> list[str]:
        """Return the servers a request names, else those of environment, config or default."""
        if given is not None:
            self.parts.relays.know(given)
            return given
        try:
            configured = self.config().servers
        except (UserError, DamagedStateError) as exc:
            # None at all rather than the default one: which servers may hear of this home is the person's choice.
            _log.warning("the settings can't be read: no signaling server is used", reason=exc.message)
            configured = []
        return resolve_servers(None, environment_servers(), configured)

    def own_servers(self) -> list[str]:
        """Return the servers of the slot on offer, else those that this home is set to use."""
        offer = self.host.hosting.offer
        return list(offer.servers) if offer is not None else self.servers(None)

    def config(self) -> Config:
        """Return the settings as they are now."""
        return read_config(self.parts.home)

    async def on_hello(self, session: Session) -> None:
        """Learn what a new session tells: where the peer is, what we have with each other."""
        parts = self.parts
        now_ms = parts.clock.now_ms()
        where = read_binding(session.hello.binding, session.peer) if session.hello.binding else None
        with bookkeeping("meeting"):
            meet_at(parts.state, session.peer, where.encode() if where else b"", now_ms)
            if find_successor(parts.keys, session.hello) is not None:
                parts.state.put_setting(SEEN, session.hello.succeeded)
            await self.owner.following.meet(session)
            if not self.owner.following.is_left(session.peer):
                adopt_agreements(parts.state, parts.keys, session)
                self.owner.vault.writer.notice(session.hello.heads)
        if not self.owner.following.is_left(session.peer):
            parts.standing.saw(session.peer, Kind.CONNECTED)
            self.owner.rounds.wake(session.peer)
        self.spawn(talk_over(session, self.owner, self.repute, parts.standing))
        self.spawn(self._see_off(session))

    async def prepare(self) -> None:
        """Open a store that came back before it is asked for: a large one takes seconds, too long for the loop."""
        await asyncio.to_thread(self.host.requests.prepare)

    def make_hello(self, peer: PeerId) -> Hello:
        """Return what we tell a proven peer: its agreements and heads here, and where we are; or who goes on for it."""
        if succeeded := self.host.succeeding.hello(peer):
            return Hello(succeeded=succeeded)
        return self.host.heirship.make_hello(peer, self.parts.keys.peer)

    def may_answer(self, peer: PeerId) -> bool:
        """Whether a dialler is somebody we answer (DESIGN 6); both questions are always asked."""
        as_host = self.host.requests.may_answer(peer)
        as_owner = self.owner.connecting.may_answer(peer) | (peer in self.owner.following.waiting())
        return as_host | as_owner

    def is_newcomer(self, peer: PeerId) -> bool:
        """Whether a peer neither keeps packs of ours nor has any here."""
        return not self.owner.connecting.is_host(peer) and self.host.premises.is_newcomer(peer)

    async def _see_off(self, session: Session) -> None:
        """Note when a session was over, also when it is this agent that ends: its peer was there until then."""
        try:
            await session.ended.wait()
        finally:
            with bookkeeping("parting"):
                meet_at(self.parts.state, session.peer, b"", self.parts.clock.now_ms())
            self.parts.contacting.ended(session)
        self.parts.reach.keeping.lost(session)

    def _sound_alarm(self, peer: PeerId) -> None:
        with bookkeeping("alarms"):
            raise_alarm(self.parts.state, peer, Sort.ANSWERED, now_ms=self.parts.clock.now_ms())
        self.parts.standing.saw(peer, Kind.AUTH_FAULT, detail="somebody else answered in its place")

    async def _locate(self, peer: PeerId) -> Whereabouts:
        return await self.owner.knocking.locate(peer, self.servers(None))

    def _on_accepted(self, record: RequestRecord) -> None:
        """Dial the owner: its terminal is waiting, and it said where it is."""
        if record.whereabouts:
            self.spawn(self._dial_owner(record))

    async def _dial_owner(self, record: RequestRecord) -> None:
        where = Whereabouts.decode(record.whereabouts)
        for _ in range(3):
            try:
                await self.parts.reach.dial(record.peer, where)
            except BackupPeerError as exc:
                _log.info("owner not reached", reason=exc.message[:200])
                await asyncio.sleep(2)
            else:
                return

    async def _follow_requests(self) -> None:
        while True:
            self.let_go()
            await asyncio.sleep(KNOCK_BACKGROUND_S)
            await self.owner.connecting.follow_up(self.servers(None))
            await self.owner.revising.follow_up()
            with bookkeeping("reciprocity"):
                await asyncio.to_thread(self.host.reciprocity.look_at_all)

    def let_go(self) -> None:
        """Count no more on what hosts kept under agreements that have ended."""
        vault = self.owner.vault
        with bookkeeping("endings"):
            for agreement in self.owner.ending.settle():
                if vault.repository_id is not None:
                    vault.repository.ledger.drop_agreement(agreement)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a background task failed", exc_info=task.exception())


def default_store(home: Home, given: str, known: Path | None = None) -> Path:
    """Return where hosted packs are to lie: as given, else where they lie (`known`), else in the home."""
    return Path(given) if given else known or home.default_store
