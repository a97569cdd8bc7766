"""Reaching a known peer: the open session, else its remembered whereabouts, else a knock (DESIGN 1, 6).

Knows: where peers were last, which addresses may be dialled. Must not know: what the session is for. Partners meet
again with no server at all: transport id and addresses are remembered from the last Hello.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import Self

from backuppeer.agent.home.identity_alarms import Sort
from backuppeer.agent.home.records import PeerRecord
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.keeping import Keeping
from backuppeer.agent.peers.misbinding import raise_alarm
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.neighbours import Neighbours
from backuppeer.agent.peers.parting import Parting
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.sessions import Sessions
from backuppeer.agent.peers.turns import Turns
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.clock import Clock, SystemClock, slept_s
from backuppeer.errors import AuthenticationFault, BackupPeerError, ExitCode, IncompatibleVersion, PeerUnreachable
from backuppeer.ids import AgreementId, PeerId, TransportId, shorten_peer_id
from backuppeer.limits import CLOCK_SKEW_S, DIRECT_FIRST_S
from backuppeer.transport.addresses import select_dialable
from backuppeer.transport.base import Relayed, Transport


def remembered(state: State, peer: PeerId) -> Whereabouts | None:
    """Return where `peer` was last."""
    record = state.peer(peer)
    if record is None or not record.whereabouts:
        return None
    return Whereabouts.decode(record.whereabouts)


def addresses_of(state: State, peer: PeerId) -> tuple[str, ...]:
    """Return the addresses at which `peer` was last, as it said itself; none where that is not known."""
    there = remembered(state, peer)
    return there.addresses if there is not None else ()


def meet_at(state: State, peer: PeerId, said: bytes, now_ms: int, *, alias: str = "") -> None:
    """Remember that `peer` was met, and where it said it is, unless it said something else later.

    `said`: encoded Whereabouts, or empty. A server may hold a knock back for an hour; it must not undo what came since.
    """
    record = state.peer(peer)
    later = later_of(record.whereabouts if record else b"", said, now_ms)
    if record is not None and _has_moved(record.whereabouts, later) and _is_known(state, record):
        raise_alarm(state, peer, Sort.MOVED, now_ms=now_ms)
    state.meet(peer, now_ms, alias=alias, whereabouts=later)


def _has_moved(known: bytes, later: bytes) -> bool:
    """Return whether two encoded Whereabouts name two transport keys: one home has one, for as long as it lives."""
    return bool(known) and Whereabouts.decode(known).transport != Whereabouts.decode(later).transport


def _is_known(state: State, record: PeerRecord) -> bool:
    """Return whether a person has dealt with a peer: strangers may come from wherever they like."""
    is_host = any(host == record.peer for _, host, _ in state.agreements())
    return bool(is_host or record.is_verified or record.alias)


def later_of(known: bytes, said: bytes, now_ms: int) -> bytes:
    """Return the later one of two encoded Whereabouts, each may be empty.

    A time in the future beyond the skew tolerated counts for nothing: it would outlast all that comes.
    """
    if not known or not said:
        return said or known
    known_ms = Whereabouts.decode(known).time_ms
    is_later = Whereabouts.decode(said).time_ms >= known_ms
    return said if is_later or known_ms > now_ms + CLOCK_SKEW_S * 1000 else known


Knocker = Callable[[PeerId], Awaitable[Whereabouts]]
"""Ask a known host, through signaling, where it is now; raises Unavailable when it can't be asked."""


OnMissed = Callable[[PeerId, Sequence[str], BackupPeerError], None]
"""(peer, addresses dialled, why there is no session)."""


Dial = Callable[[Sessions], Awaitable[Session]]
"""Dials one peer at one place, in the given sessions: they may be another identity's."""
BeforeDial = Callable[[PeerId, Dial], Awaitable[None]]
"""(peer, how it is dialled)."""


async def _prepare_nothing(peer: PeerId, dial: Dial) -> None:
    del peer, dial


FindRoad = Callable[[str], Awaitable[str]]
"""The URL of a relay by its server's address; empty: it can't be used."""


async def _no_road(server: str) -> str:
    del server
    return ""


def _tell_nobody(peer: PeerId, addresses: Sequence[str], error: BackupPeerError) -> None:
    del peer, addresses, error


def _nobody(name: str) -> PeerUnreachable:
    return PeerUnreachable(
        f"no way to reach {name} is known",
        hint="it is found when it is on offer at a server that you use, too: `backup-peer browse` shows who is",
    )


class Reach:
    """Sessions by peer id, however the peer has to be found."""

    def __init__(self, state: State, sessions: Sessions, *, loopback: bool, clock: Clock | None = None) -> None:
        self._state, self._sessions, self._loopback = state, sessions, loopback
        self.parting = Parting(clock or SystemClock())
        self.keeping = Keeping(self._redial, clock or SystemClock(), sessions=self._list)
        self._knock: Knocker | None = None
        self._turns = Turns()
        self.on_missed: OnMissed = _tell_nobody
        """Told of each dial that came to nothing. Set by who writes it down."""
        self.find_road: FindRoad = _no_road
        """How to a relay of a server that a peer named. Set by who knows relays."""
        self.neighbours: Neighbours | None = None
        """Who finds a partner in the same network whose address has changed. Set by who makes it."""
        self.on_misbound: Callable[[PeerId], None] = lambda _: None
        """Somebody answers in a peer's place who can't prove to be it. Set by who tells people."""
        self.before_dial: BeforeDial = _prepare_nothing
        """Called before a peer is dialled, by its relay or not. Set by who tells hosts of our new identity."""
        self.admit: Callable[[PeerId], None] = lambda _: None
        """Raises for a peer that is reached no more, as another goes on in its place. Set by who follows hosts."""
        self.check: Callable[[Session], None] = lambda _: None
        """Raises for a session that is of no use, as the peer goes on with another in our place. Set by who knows."""

    def use_knocker(self, knock: Knocker) -> None:
        """Set how to ask for a peer whose whereabouts are unknown or stale."""
        self._knock = knock

    def watch(self, transport: Transport) -> None:
        """Notice when this machine slept, or has other addresses, and when a peer's person ends a session."""
        self._sessions.on_parted = self.parting.hear
        self.keeping.slept_s = slept_s
        if isinstance(transport, Relayed) and not self._loopback:
            self.keeping.addresses = transport.interface_addresses

    async def keep(self, transport: Transport) -> None:
        """Notice that, and look for who was lost, until cancelled."""
        self.watch(transport)
        await self.keeping.run()

    async def _redial(self, peer: PeerId) -> Session:
        """Return a session with a peer that was lost, found where it was: knocks in vain would fill its inbox.

        Raises:
            PeerUnreachable: it is not there, or is to be left alone.
            AuthenticationFault: somebody else is; no alarm yet, as it may be found elsewhere.

        """
        session, where = self._sessions.get(peer), remembered(self._state, peer)
        if session is not None and not session.is_parting:
            return session
        self.parting.check(peer)
        if where is None:
            raise _nobody(name_of(self._state, peer))
        return await self._dial(peer, where)

    def _list(self) -> list[Session]:
        return self._sessions.all()

    def traffic_bytes(self, peers: AbstractSet[PeerId]) -> int:
        """Return the bytes that went both ways in the open sessions with `peers`."""
        sessions = [session for session in self._sessions.all() if session.peer in peers]
        return sum(session.sent_bytes + session.received_bytes for session in sessions)

    async def session(self, peer: PeerId) -> Session:
        """Return a session with `peer`.

        Raises:
            PeerUnreachable: not found where it was, nor through a server; with code 12: somebody else answers there.

        """
        self.admit(peer)
        session = self._sessions.get(peer)
        if session is not None and not session.is_parting:
            self.check(session)
            return session
        self.parting.check(peer)
        return await self._turns.share(peer, self._find)

    async def _find(self, peer: PeerId) -> Session:
        failure: PeerUnreachable | AuthenticationFault = _nobody(name_of(self._state, peer))
        where = remembered(self._state, peer)
        try:
            return await self._dial_or_look(peer, where)
        except IncompatibleVersion:
            raise  # found, and the same wherever else it is looked for
        except (PeerUnreachable, AuthenticationFault) as exc:
            failure = exc if where is not None else failure
        try:
            found = await self._ask(peer, failure)
        except BackupPeerError as exc:
            raise self._sound(peer, failure, exc) from exc
        is_same = where is not None and found.transport == where.transport
        # What has a relay now may have had none when it was tried: being asked where it is made it go there.
        if is_same and where is not None and set(found.addresses) == set(where.addresses) and not found.relay:
            raise self._sound(peer, failure, failure)
        return await self.dial(peer, found)

    async def _dial_or_look(self, peer: PeerId, where: Whereabouts | None) -> Session:
        """Dial a peer where it was; where the network may be asked, look beside that whether it is elsewhere in it."""
        if self.neighbours is None or not self.neighbours.is_allowed():
            if where is None:
                raise _nobody(name_of(self._state, peer))
            return await self._dial(peer, where)
        dialling = asyncio.create_task(self._dial(peer, where)) if where is not None else None
        try:
            return await self._dial_beside(dialling, self.neighbours, peer, where)
        finally:
            if dialling is not None:
                dialling.cancel()
                await asyncio.gather(dialling, return_exceptions=True)

    async def _dial_beside(
        self, dialling: asyncio.Task[Session] | None, neighbours: Neighbours, peer: PeerId, where: Whereabouts | None
    ) -> Session:
        if dialling is not None:
            await asyncio.wait({dialling}, timeout=DIRECT_FIRST_S)
            if dialling.done() and dialling.exception() is None:
                return dialling.result()
        near = await neighbours.find_partner(peer)
        if near is None and dialling is not None:
            await asyncio.wait({dialling})
            if dialling.exception() is None:
                return dialling.result()
            near = await neighbours.find_partner(peer)  # it may have been about to open its door
        # At an address that is being dialled it answers there, or not.
        is_news = near is not None and (where is None or set(near.addresses) - set(where.addresses))
        if near is not None and (is_news or dialling is None or dialling.done()):
            if dialling is not None:
                dialling.cancel()  # one dial of a peer at a time
                await asyncio.wait({dialling})
            return await self._dial(peer, near)
        if dialling is None:
            raise _nobody(name_of(self._state, peer))
        return await dialling

    async def _ask(self, peer: PeerId, failure: BackupPeerError) -> Whereabouts:
        if self._knock is None:
            raise failure
        return await self._knock(peer)

    def _sound(self, peer: PeerId, found: BackupPeerError, error: BackupPeerError) -> BackupPeerError:
        """Return the error to end with: `error`, unless somebody else was found in the peer's place.

        Only once the peer is not found anywhere else: an old address may have become another machine's.
        """
        return self._report(peer, found) if isinstance(found, AuthenticationFault) else error

    def _report(self, peer: PeerId, fault: AuthenticationFault) -> PeerUnreachable:
        """Raise the alarm, and return the error: nothing of the peer was heard, so whatever it keeps is not lost."""
        self.on_misbound(peer)
        error = PeerUnreachable(fault.message, hint=fault.hint)
        error.exit_code = ExitCode.AUTHENTICATION
        return error

    def absent_since_ms(self, peer: PeerId) -> int:
        """Return when a peer was last seen; 0 if it is here, or never was."""
        session, record = self._sessions.get(peer), self._state.peer(peer)
        is_here = session is not None and not session.is_parting
        return 0 if is_here or record is None else record.last_seen_ms

    async def wait_for(self, peer: PeerId, timeout_s: float) -> Session | None:
        """Return the session with `peer` as soon as it has dialled us; None after `timeout_s`."""
        return await self._sessions.wait_for(peer, timeout_s)

    async def dial(self, peer: PeerId, where: Whereabouts) -> Session:
        """Return a session with `peer` at the given place.

        Raises:
            PeerUnreachable: nobody there, or no address that we may dial; with code 12: somebody else answers there.

        """
        self.admit(peer)
        try:
            return await self._dial(peer, where)
        except AuthenticationFault as exc:
            raise self._report(peer, exc) from exc

    async def _dial(self, peer: PeerId, where: Whereabouts) -> Session:
        addresses = select_dialable(where.addresses, may_loopback=self._loopback)
        if not addresses and not where.relay:
            raise PeerUnreachable(
                f"{shorten_peer_id(peer)} gave no address that can be dialled from here",
                hint="is it online? it may listen on loopback only",
            )
        try:
            dial = partial(self._try, peer, where, addresses)
            await self.before_dial(peer, dial)
            session = await dial(self._sessions)
        except (PeerUnreachable, AuthenticationFault) as exc:
            self.on_missed(peer, addresses, exc)
            raise
        self.check(session)
        return session

    async def _try(self, peer: PeerId, where: Whereabouts, addresses: list[str], sessions: Sessions) -> Session:
        """Dial directly; after a moment, beside that, by the relay: so it hears nothing of those who don't need it."""
        dial = partial(sessions.dial, peer, TransportId(where.transport), addresses)
        if not where.relay:
            return await dial()
        failure: PeerUnreachable | None = None
        if addresses:
            try:
                async with asyncio.timeout(DIRECT_FIRST_S):
                    return await dial()
            except TimeoutError:
                pass
            except PeerUnreachable as exc:
                failure = exc
        road = await self.find_road(where.relay)
        if failure is not None and not road:
            raise failure
        return await dial(relay=road)


@dataclass(frozen=True, slots=True)
class Partner:
    """One host and the agreement under which it keeps our packs."""

    agreement: AgreementId
    peer: PeerId
    name: str
    reach: Reach

    async def session(self) -> Session:
        """Return an open session with this host.

        Raises:
            PeerUnreachable: it can't be reached now.

        """
        return await self.reach.session(self.peer)

    def absent_since_ms(self) -> int:
        """Return when this host was last seen; 0 if it is here, or never was."""
        return self.reach.absent_since_ms(self.peer)


@dataclass(frozen=True, slots=True)
class AbsentPartner(Partner):
    """A host that could not be asked a moment ago: it is not dialled again for each pack."""

    error: BackupPeerError

    @classmethod
    def of(cls, partner: Partner, error: BackupPeerError) -> Self:
        """Return a partner as one that is away."""
        return cls(partner.agreement, partner.peer, partner.name, partner.reach, error)

    async def session(self) -> Session:
        """Say why there is none.

        Raises:
            PeerUnreachable: always.

        """
        error = PeerUnreachable(self.error.message, hint=self.error.hint)
        error.exit_code = self.error.exit_code if isinstance(self.error, PeerUnreachable) else error.exit_code
        raise error
