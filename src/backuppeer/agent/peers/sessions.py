"""Sessions with proven peers: dialled, accepted, kept alive, closed (DESIGN 6).

Knows: handshake driver, Hello, heartbeat, request streams, one session per peer. Must not know: what requests mean
(Serving does), where peers are found (Reach does).

Theory of operation. A connection becomes a session by the handshake on its first stream, then both say Hello. From
then on three tasks live in one group: the control loop, the acceptor of request streams, the heartbeat. The first of
them that ends, ends the session; the connection is closed with one of the codes of wire and the peer's entry removed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial

import structlog

from backuppeer.agent.peers.attempts import VERIFYING, Attempts
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.crowd import Crowd
from backuppeer.agent.peers.dialling import explain_dial, is_duplicate, shake_hands
from backuppeer.agent.peers.leaving import Leaving, finish, first_of, part, say_goodbye
from backuppeer.agent.peers.parting import THERE
from backuppeer.agent.peers.rates import Rates
from backuppeer.agent.peers.rivals import are_at_once, displaces
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.work import Deed
from backuppeer.clock import Clock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import (
    BackupPeerError,
    PeerFault,
    PeerUnreachable,
    ProtocolViolation,
    StoreBusy,
    Unavailable,
)
from backuppeer.ids import PeerId, TransportId, shorten_peer_id
from backuppeer.limits import DIAL_AGAIN_S, DIAL_S, HANDSHAKE_S, OPEN_SESSIONS, REQUEST_STREAMS, UNPROVEN_CONNECTIONS
from backuppeer.transport.base import Connection, Stream, Transport
from backuppeer.wire.codec import UnknownMessage
from backuppeer.wire.codes import CloseCode
from backuppeer.wire.messages import Goodbye, Hello, LaneOffer, LaneWish, Ping, Pong, Unsupported
from backuppeer.wire.numbers import NUMBERS
from backuppeer.wire.session import (
    Handshake,
    HeartbeatAction,
    Pulse,
    TransportEnds,
    choose_close,
    is_idle,
    plan_heartbeat,
)

_log = structlog.get_logger()
Serve = Callable[[PeerId, Channel], Awaitable[None]]
MakeHello = Callable[[PeerId], Hello]
OnHello = Callable[["Session"], Awaitable[None]]
OnFault = Callable[[PeerId, BackupPeerError], None]


async def _nothing() -> None:
    """Need no preparation."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What sessions ask of the rest of the agent."""

    may_answer: Callable[[PeerId], bool]
    make_hello: MakeHello
    on_hello: OnHello
    """Called once per session, before it is used; must not wait for the peer."""
    serve: Serve
    on_fault: OnFault
    is_newcomer: Callable[[PeerId], bool] = lambda _: False
    """Whether a peer has nothing to lose here: the first to go when there are too many sessions."""
    prepare: Callable[[], Awaitable[None]] = _nothing
    """Called before `make_hello`, for what takes too long in the loop."""


class Sessions:
    """All sessions of this agent; at most one per peer."""

    def __init__(
        self,
        transport: Transport,
        identity: SigningKey,
        clock: Clock,
        hooks: Hooks,
        *,
        lane_binds: Sequence[str] = (),
    ) -> None:
        self.own, self.former = PeerId(identity.public), tuple[Sessions, ...]()
        """former: the sessions of identities of before, for which this one accepts, too (ADR 69)."""
        self._transport, self._identity, self._clock, self._hooks = transport, identity, clock, hooks
        self._lane_binds = lane_binds
        self._open: dict[PeerId, Session] = {}
        self._dialling: dict[PeerId, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._changed = asyncio.Condition()
        self._unproven: set[asyncio.Task[object]] = set()
        self._leaving = Leaving()
        self._crowd = Crowd()
        self.attempts, self.rates = Attempts(), Rates(clock)
        self.on_parted: Callable[[PeerId], None] = lambda _: None
        """Called when a peer's person ended a session. Set by who leaves it alone then."""

    def all(self) -> list[Session]:
        """Return the open sessions, oldest first."""
        return sorted(self._open.values(), key=lambda session: session.since_ms)

    def get(self, peer: PeerId) -> Session | None:
        """Return the open session with `peer`, if any."""
        return self._open.get(peer)

    async def wait_for(self, peer: PeerId, timeout_s: float) -> Session | None:
        """Return the session with `peer` as soon as there is one; None after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                return await self._changed.wait_for(lambda: self._open.get(peer))
        except TimeoutError:
            return None

    async def run(self) -> None:
        """Accept connections until the transport is closed."""
        with suppress(PeerUnreachable):
            while True:
                connection = await self._transport.accept()
                # Counted here and not in the task, which has not run yet when the next connection of a burst is there.
                if len(self._unproven) >= UNPROVEN_CONNECTIONS:
                    await connection.close(CloseCode.REJECTED, "")
                    continue
                task = self._spawn(self._welcome(connection))
                self._unproven.add(task)
                task.add_done_callback(self._unproven.discard)

    async def dial(self, peer: PeerId, transport: TransportId, addresses: list[str], *, relay: str = "") -> Session:
        """Return the session with `peer`, dialling it if there is none; relay: the URL of one to try, too.

        Raises:
            PeerUnreachable: nobody there, or it does not answer us.
            AuthenticationFault: somebody else is there.

        """
        async with self._dialling.setdefault(peer, asyncio.Lock()):
            until_s = self._clock.monotonic_s() + DIAL_S
            while (session := self._open.get(peer)) is None:
                with self.attempts.begin(peer, self._clock.now_ms()) as attempt:
                    connection = await self._transport.dial(transport, addresses, relay=relay)
                    attempt.state = VERIFYING
                    try:
                        return await self._prove(connection, peer, transport)
                    except (BackupPeerError, TimeoutError) as exc:
                        # It has a session with us: one that it just dialled; or one that an agent of ours had that was
                        # killed, which a peer of before ADR 41 goes by for DIAL_S.
                        if not is_duplicate(connection) or self._clock.monotonic_s() > until_s:
                            raise explain_dial(exc, peer) from exc
                await self.wait_for(peer, DIAL_AGAIN_S)
            return session

    async def _prove(self, connection: Connection, peer: PeerId, learned: TransportId) -> Session:
        """Make a session of a connection that we dialled."""
        ends = TransportEnds(dialler=self._transport.transport_id, acceptor=connection.remote)
        async with AsyncExitStack() as unproven:
            unproven.push_async_callback(connection.close, CloseCode.REJECTED, "")
            handshake = Handshake.dial(self._identity, peer, ends=ends, learned=learned)
            async with asyncio.timeout(HANDSHAKE_S):
                stream = await connection.open_stream()
                proven = await shake_hands(handshake, stream)
                made = Session(connection, proven, stream, handshake.reader, self._lane_binds)
                established = await self.enter(made)
            unproven.pop_all()
        return established

    async def close(self, peer: PeerId) -> bool:
        """Say goodbye to `peer` and wait until it has closed; False when there was no session."""
        await self._leaving.cut(peer)
        session = self._open.get(peer)
        if session is None:
            return False
        await say_goodbye(session, CloseCode.DONE)
        return True

    async def part(self, peer: PeerId, *, at_once: bool) -> int | None:
        """End the session with `peer` as a person wishes; return how many requests were broken off.

        None: there is no session. What is under way ends first, PARTING_S at most, unless `at_once`. Goes on to the end
        though nobody waits for it any more.
        """
        await self._leaving.cut(peer)
        session = self._open.get(peer)
        if session is None:
            return None
        ending = asyncio.get_running_loop().create_task(part(session, at_once=at_once))
        self._tasks.add(ending)
        ending.add_done_callback(self._tasks.discard)
        return await asyncio.shield(ending)

    async def close_all(self) -> None:
        """Say goodbye to everybody, then end every task."""
        await asyncio.gather(*(say_goodbye(session, CloseCode.SHUTDOWN) for session in self.all()))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for former in self.former:
            await former.close_all()

    @property
    def answering(self) -> tuple[SigningKey, Callable[[PeerId], bool]]:
        """Return as whom is answered here, and whom."""
        return self._identity, self._hooks.may_answer

    async def _welcome(self, connection: Connection) -> None:
        """Prove a stranger, or close with the one code that tells nothing."""
        ends = TransportEnds(dialler=connection.remote, acceptor=self._transport.transport_id)
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                stream = await connection.accept_stream()
                handshake = Handshake.accept(*self.answering, ends=ends, former=[one.answering for one in self.former])
                proven = await shake_hands(handshake, stream)
                named = next((one for one in self.former if one.own == handshake.own), self)
                await named.enter(Session(connection, proven, stream, handshake.reader, self._lane_binds))
        except (BackupPeerError, TimeoutError) as exc:
            _log.info("connection turned away", transport=connection.remote.hex()[:8], reason=str(exc)[:200])
            await connection.close(CloseCode.REJECTED, "")

    async def enter(self, session: Session) -> Session:
        """Exchange Hello, keep one session per peer, and let it live."""
        await self._make_room(session)
        await self._hooks.prepare()
        await session.say(self._hooks.make_hello(session.peer))
        hello = await session.hear()
        if not isinstance(hello, Hello):
            raise ProtocolViolation("a session began without Hello")
        session.hello = hello
        if (ending := self._crowd.enter(session, self._open.get(session.peer))) is not None:
            self._spawn(ending.connection.close(CloseCode.DUPLICATE, ""))
        session.start_clock(self._clock, self.rates)
        rival = self._open.get(session.peer)
        if rival is not None and rival.is_open:
            stays, goes = (session, rival) if displaces(session, rival, self.own) else (rival, session)
            self._spawn(self._see_off(goes, is_lost=not are_at_once(session, rival)))
            if goes is session:
                self._spawn(self._live(session))
                return stays
        self._open[session.peer] = session
        try:
            async with self._changed:
                self._changed.notify_all()
        except asyncio.CancelledError:
            self._forget(session)
            self._crowd.leave(session)
            raise
        self._spawn(self._live(session))
        await self._hooks.on_hello(session)
        return session

    async def _see_off(self, session: Session, *, is_lost: bool) -> None:
        """Let one of two sessions with a peer go; `is_lost`: the peer seems to have it no more."""
        if is_lost and not await self._leaving.is_in_use(session):
            await say_goodbye(session, CloseCode.DUPLICATE)
        else:
            await self._leaving.see_off(session)

    async def _make_room(self, newcomer: Session) -> None:
        """Let a peer that dialled us in while there is room, or in place of the newest that has nothing here.

        Raises:
            StoreBusy: there is none.

        """
        if newcomer.connection.is_dialler or newcomer.peer in self._open or len(self._open) < OPEN_SESSIONS:
            return
        strangers = (session for session in reversed(self.all()) if self._hooks.is_newcomer(session.peer))
        guest = None if self._hooks.is_newcomer(newcomer.peer) else next(strangers, None)
        if guest is None:
            await newcomer.connection.close(CloseCode.OVERLOADED, "")
            raise StoreBusy("too many sessions are open", hint="try again in a moment")
        del self._open[guest.peer]
        self._spawn(say_goodbye(guest, CloseCode.OVERLOADED))

    async def _live(self, session: Session) -> None:
        code = CloseCode.DONE
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._control_loop(session))
                group.create_task(self._accept_loop(session, group))
                group.create_task(self._heartbeat(session))
                group.create_task(session.lanes.watch())
        except* BackupPeerError as group_exc:
            error = first_of(group_exc)
            code = choose_close(error, is_proven=True)
            info = session.connection.close_info
            session.course.fail(error, info)
            if info is not None and info.by_peer and info.code == CloseCode.CUT:
                self._hear_parting(session)
            if isinstance(error, PeerFault):
                self._hooks.on_fault(session.peer, error)
            _log.info("session ended", peer=shorten_peer_id(session.peer), reason=str(error)[:200])
        except* _EndedError:
            pass
        finally:
            session.is_open = False
            session.course.note_path(session.connection.path())
            session.lanes.close()
            self._forget(session)
            self._crowd.leave(session)
            await session.connection.close(code, "")
            session.ended.set()

    def _forget(self, session: Session) -> None:
        """Give a session to nobody any more."""
        if self._open.get(session.peer) is session:
            del self._open[session.peer]

    def _hear_parting(self, session: Session) -> None:
        """Note that the peer's person ended a session."""
        session.is_parting, session.failure = True, THERE
        self.on_parted(session.peer)

    async def _control_loop(self, session: Session) -> None:
        while True:
            message = await session.hear()
            match message:
                case Ping():
                    await session.say(Pong(number=message.number))
                case LaneWish():
                    await session.lanes.hear_wish(message, partial(self._serve_stream, session))
                case LaneOffer():
                    session.lanes.hear_offer(message)
                case Unsupported(type=number) if number == NUMBERS[LaneWish]:
                    session.lanes.hear_unsupported()
                case UnknownMessage():
                    await session.say(Unsupported(type=message.number))
                case Goodbye(reason=reason):
                    self._forget(session)
                    session.course.end(reason, by_peer=True)
                    if reason == CloseCode.PARTED:
                        self._hear_parting(session)
                    if reason in {CloseCode.DUPLICATE, CloseCode.PARTED}:
                        await finish(session)
                    raise _EndedError
                case _:
                    pass

    async def _accept_loop(self, session: Session, group: asyncio.TaskGroup) -> None:
        places = asyncio.Semaphore(REQUEST_STREAMS)
        while True:
            await places.acquire()
            stream = await session.connection.accept_stream()
            task = group.create_task(self._serve_stream(session, stream))
            task.add_done_callback(lambda _: places.release())

    async def _serve_stream(self, session: Session, stream: Stream) -> None:
        """Serve one request, of a stream of the connection or of a lane."""
        channel = session.hear_request(stream)
        try:
            with session.busy(lambda: Deed(channel.asked, by_us=False)):
                await self._hooks.serve(session.peer, channel)
        except (Unavailable, TimeoutError) as exc:
            _log.info("request ended early", peer=shorten_peer_id(session.peer), reason=str(exc)[:200])
            await channel.abort()

    async def _heartbeat(self, session: Session) -> None:
        now = self._clock.monotonic_s()
        pulse, heard_bytes, number = Pulse(now, now, now), 0, 0
        while True:
            now = self._clock.monotonic_s()
            session.course.note_path(session.connection.path())
            session.look()
            if session.received_bytes != heard_bytes:
                heard_bytes = session.received_bytes
                pulse, session.heard_s = pulse.hear(now), now
            if session.is_parting:  # neither side says anything any more, and the end is near in any case
                pulse = pulse.hear(now)
            action, pulse, wait_s = plan_heartbeat(pulse, now)
            if action is HeartbeatAction.DEAD:
                session.failure = "it stopped answering"
                raise PeerUnreachable(session.failure)
            if action is HeartbeatAction.PING:
                number += 1
                await session.say(Ping(number=number))
            if not session.in_flight and is_idle(used_s=session.used_s, now_s=now):
                self._spawn(say_goodbye(session, CloseCode.IDLE))
            await asyncio.sleep(wait_s)

    def _spawn(self, work: Coroutine[None, None, object]) -> asyncio.Task[object]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _EndedError(Exception):
    """The peer said goodbye."""
