"""The owner's way to a host: knock, wait for its human, meet, agree (DESIGN 6, 7, 10 `connect`; W1 to W3, W6).

Knows: the outgoing request and its states. Must not know: listings' transport, packs. A request that a person has to
answer is kept and repeated by the agent for REQUEST_KEPT_S, also when nobody watches. At most one request to a host
waits: a new wish takes the place of the one before.
"""

import asyncio
import secrets
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NoReturn

import structlog

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.listening import ask_within
from backuppeer.agent.owner.writer import Writer
from backuppeer.agent.peers.choosing import UNDECIDED
from backuppeer.agent.peers.delivering import do_unseen
from backuppeer.agent.peers.knocking import Knocking
from backuppeer.agent.peers.names import alias_of, check_alias, name_of
from backuppeer.agent.peers.offers import (
    choose_promises,
    choose_terms,
    wish_for,
    write_duration,
    write_exact_size,
    write_options,
)
from backuppeer.agent.peers.partners import Reach
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.agent.peers.wishes import name_of_request
from backuppeer.clock import Clock
from backuppeer.control.api import ConnectRequest
from backuppeer.errors import BackupPeerError, NotFoundError, PendingError, ProtocolViolation, RefusedError
from backuppeer.ids import AgreementId, PeerId, RepositoryId, format_peer_id
from backuppeer.limits import KNOCK_AGAIN_S, NOTICE_DEFAULT_S, REQUEST_KEPT_S
from backuppeer.proof.promises import split_promises
from backuppeer.proof.revisions import Wish, name_authority
from backuppeer.proof.statements import ZERO_HASH, Agreement, sign_statement, statement_hash
from backuppeer.signaling.depositing import OnWork
from backuppeer.signaling.knock import Verdict
from backuppeer.signaling.servers import authority
from backuppeer.wire.messages import Agreed, Pending, ProposeAgreement

_log = structlog.get_logger()
Say = Callable[[str, str], Awaitable[None]]
"""(state, text) for the person."""
OnAgreed = Callable[[Session], Awaitable[None]]
ChooseAuthority = Callable[[PeerId, bytes], Awaitable[bytes]]
"""(host, the authority that it told): the one to name in an agreement; raises RefusedError if another is known."""
"""What is to be done in the session in which an agreement came into force, before anything else; raises nothing."""


class Connecting:
    """Requests to hosts, from the first knock to the co-signed agreement."""

    def __init__(self, state: State, keys: HomeKeys, clock: Clock, *, reach: Reach, knocking: Knocking) -> None:
        self._state, self._keys, self._clock = state, keys, clock
        self._reach, self._knocking, self._writer = reach, knocking, Writer(state, keys)
        self._agreeing: dict[PeerId, asyncio.Lock] = {}
        self.on_agreed: OnAgreed = _do_nothing
        self.choose_authority: ChooseAuthority = take_as_told

    def agreement_with(self, host: PeerId) -> Agreement | None:
        """Return the agreement in force with a host."""
        for _, peer, signed in self._state.agreements():
            if peer == host:
                return self._keys.open_terms(signed, host)
        return None

    def is_host(self, peer: PeerId) -> bool:
        """Whether a peer has agreed to keep packs of ours."""
        return any(host == peer for _, host, _ in self._state.agreements())

    def may_answer(self, peer: PeerId) -> bool:
        """Whether a host that dials us is answered: we asked it, or have an agreement with it."""
        if self.is_host(peer):
            return True
        known = self._state.find_request(Direction.OUT, peer)
        return known is not None and known.state in UNDECIDED

    async def connect(self, host: PeerId, request: ConnectRequest, servers: list[str], say: Say) -> Session:
        """Agree with a host, and return the session with it.

        Raises:
            PendingError: nobody has answered within `wait_s`; the agent goes on asking.
            RefusedError: the host said no, or agreed to less already, or another wish took this one's place.
            PeerUnreachable: it is not on offer anywhere, or vanished.

        """
        check_alias(self._state, request.name, host)
        if host == self._keys.peer:
            raise RefusedError("that is your own id", hint="choose another peer: `backup-peer browse`")
        agreement = self.agreement_with(host)
        if agreement is not None:
            if request.storage > agreement.size_bytes:
                self._refuse_growth(agreement)
            name = name_of(self._state, host)
            return await ask_within(request.wait_s, self._meet_again(host, request, say), name)
        record = self._remember(host, request)
        waiting = asyncio.timeout(request.wait_s)
        try:
            async with waiting:
                session = await self._pursue(record, servers, say)
        except TimeoutError as exc:
            if not waiting.expired():
                raise
            raise PendingError(
                f"{name_of(self._state, host)} has not answered yet",
                hint="the request is kept for 7 days; `backup-peer requests` shows it, run connect again to wait",
            ) from exc
        self._state.meet(host, self._clock.now_ms(), alias=request.name, verified=request.verified)
        agreement = self.agreement_with(host)
        if agreement is not None and request.storage > agreement.size_bytes:
            self._refuse_growth(agreement)  # an agreement of before, which this home had lost and the host handed back
        return session

    async def follow_up(self, servers: list[str]) -> None:
        """Knock again for every request that still waits; called by the agent from time to time."""
        for record in self._state.requests():
            if record.direction is not Direction.OUT or record.state not in UNDECIDED or record.revises:
                continue
            is_late = record.since_ms + REQUEST_KEPT_S * 1000 < self._clock.now_ms()
            if is_late or self.agreement_with(record.peer) is not None:
                self._end(record, RequestState.EXPIRED)
                continue
            try:
                verdict, where = await self._ask(record, servers)
                if verdict is Verdict.ACCEPTED and where is not None:
                    await self.agree(await self._reach.dial(record.peer, where))
            except BackupPeerError as exc:
                _log.info("request not answered yet", reason=exc.message[:200])

    async def agree(self, session: Session) -> bool:
        """Propose the agreement that was asked for, if one was; True when it stands. Called for every session.

        Raises:
            RefusedError: the host wants no more of it, or it is known by another authority.

        """
        async with self._agreeing.setdefault(session.peer, asyncio.Lock()):
            if self.agreement_with(session.peer) is not None:
                return True
            record = self._state.find_request(Direction.OUT, session.peer)
            if record is None or record.state not in UNDECIDED or record.revises or self._keys.repository is None:
                return False
            authority = await self.choose_authority(session.peer, session.hello.authority)
            proposal = self._proposal(record, self._keys.repository, authority)
            beside = self._writer.sign_beside(Agreement, proposal)
            async with session.request(ProposeAgreement(signed=proposal, device_sig=beside)) as channel:
                answer = await channel.receive(Agreed, Pending)
            if isinstance(answer, Pending):
                return False
            self._settle(record, proposal, answer.signed)
            await self.on_agreed(session)
            return True

    async def _meet_again(self, host: PeerId, request: ConnectRequest, say: Say) -> Session:
        await say("dialling", f"dialling {name_of(self._state, host)}")
        session = await self._reach.session(host)
        self._state.meet(host, self._clock.now_ms(), alias=request.name, verified=request.verified)
        return session

    def _refuse_growth(self, agreement: Agreement) -> NoReturn:
        size = write_exact_size(agreement.size_bytes)
        name = name_of(self._state, PeerId(agreement.host))
        raise RefusedError(
            f"{name} agreed to {size}",
            hint=f"connect with --storage {size}, or ask for more: `backup-peer peers resize {shlex.quote(name)} SIZE`",
        )

    def _remember(self, host: PeerId, request: ConnectRequest) -> RequestRecord:
        if request.name:
            # At once, and for good: the person may use the name while the host's person has not answered, or said no.
            self._state.call(host, request.name, self._clock.now_ms())
        wish = Wish(request.storage, *choose_terms(request.term_s, request.lock_s), choose_promises(request.promises))
        known = self._state.find_request(Direction.OUT, host)
        if known is not None and known.state in UNDECIDED and known.wish == wish:
            record = replace(
                known, alias=request.name or known.alias, is_verified=request.verified or known.is_verified
            )
        else:
            self._end_waiting(host)
            record = RequestRecord(
                request=secrets.token_hex(16),  # becomes the agreement's id: random, stable over tries and revisions
                direction=Direction.OUT,
                peer=host,
                **wish._asdict(),
                state=RequestState.WAITING,
                since_ms=self._clock.now_ms(),
                alias=request.name or alias_of(self._state, host),
                is_verified=request.verified,
            )
        self._state.put_request(record)
        return record

    async def _pursue(self, record: RequestRecord, servers: list[str], say: Say) -> Session:
        """Knock until the host lets us in, or comes to us itself."""
        host = record.peer
        name = name_of(self._state, host)
        pause_s = KNOCK_AGAIN_S
        while True:
            if session := await self._overtaken(record):
                return session
            await say("knocking", f"asking {name}")
            verdict, where = await self._ask(record, servers, on_work=_teller(name, say))
            if verdict is Verdict.ACCEPTED and where is not None:
                if session := await self._enter(host, where, say):
                    return session
            else:
                self._check_offer(record)
                await say("waiting", f"waiting for {name} to answer")
            if session := await self._wait_for_host(host, pause_s):
                return session

    async def _ask(
        self, record: RequestRecord, servers: list[str], *, on_work: OnWork = do_unseen
    ) -> tuple[Verdict, Whereabouts | None]:
        """Knock as `Knocking.knock`; a no ends the request."""
        try:
            return await self._knocking.knock(record, servers, on_work=on_work)
        except RefusedError as exc:
            self._end(record, RequestState.REJECTED, reason=exc.message)
            raise

    async def _overtaken(self, record: RequestRecord) -> Session | None:
        """Return a session when the request was agreed to on another way; None while it waits.

        Raises:
            RefusedError: the host said no, another wish took its place, or it lapsed.

        """
        now = self._current(record)
        if now is not None and now.state in UNDECIDED:
            return None
        if now is not None and now.state is RequestState.AGREED:
            return await self._reach.session(record.peer)
        if now is not None and now.state is RequestState.REJECTED:
            raise RefusedError(
                now.reason, hint="ask for less, or for a shorter time; or find another host: `backup-peer browse`"
            )
        raise RefusedError(
            "another request to this peer took the place of this one, or it lapsed",
            hint="see `backup-peer requests`, then connect again",
        )

    def _check_offer(self, record: RequestRecord) -> None:
        """Refuse to wait on for a host whose person offers other terms: that is for ours to decide.

        Raises:
            RefusedError: it does.

        """
        now = self._current(record)
        if now is None or now.offer is None:
            return
        offer = now.offer
        terms = f"--term {write_duration(offer.term_s)} --lock {write_duration(offer.lock_s)}{write_options(offer)}"
        name, request = name_of(self._state, record.peer), name_of_request(self._keys.peer, now)[:8]
        raise RefusedError(
            f"{name} offers other terms instead: --storage {write_exact_size(offer.size_bytes)} {terms}",
            hint=f"`backup-peer requests` shows both; `backup-peer requests accept {request}` takes them",
        )

    async def take_offer(self, record: RequestRecord, servers: list[str]) -> None:
        """Ask for just what a host offered instead of what was asked for: that it has agreed to already.

        Raises:
            NotFoundError: it offers nothing.
            PendingError: it offers something else by now, or is not there to agree.
            RefusedError: it changed its mind.
            PeerUnreachable: it can't be reached.

        """
        offer = record.offer
        if offer is None:
            raise NotFoundError("nothing is offered for this request", hint="see `backup-peer requests`")
        request = ConnectRequest(
            peer=format_peer_id(record.peer),
            storage=offer.size_bytes,
            term_s=offer.term_s,
            lock_s=offer.lock_s,
            promises=wish_for(offer.promises),
            name=record.alias,
            verified=record.is_verified,
            wait_s=KNOCK_AGAIN_S,
        )
        await self.connect(record.peer, request, servers, _quietly)

    def _current(self, record: RequestRecord) -> RequestRecord | None:
        return next((r for r in self._state.requests() if r.request == record.request), None)

    def _end(self, record: RequestRecord, state: RequestState, *, reason: str = "") -> None:
        """End a request that still waits; one that ended otherwise meanwhile stays as it is."""
        now = self._current(record)
        if now is not None and now.state in UNDECIDED:
            self._state.put_request(replace(now, offer=None, state=state, reason=reason, since_ms=self._clock.now_ms()))

    def _end_waiting(self, host: PeerId) -> None:
        """End what waits for a host: another wish takes its place, or an agreement stands."""
        for record in self._state.requests():
            is_ours = record.direction is Direction.OUT and record.peer == host and not record.revises
            if is_ours and record.state in UNDECIDED:
                # Keeps its time: the newest request of a peer is the one that counts.
                self._state.put_request(replace(record, state=RequestState.SUPERSEDED))

    async def _enter(self, host: PeerId, where: Whereabouts, say: Say) -> Session | None:
        await say("dialling", f"dialling {name_of(self._state, host)}")
        session = await self._reach.dial(host, where)
        await say("verifying", f"{name_of(self._state, host)} proved its identity")
        return session if await self.agree(session) else None

    async def _wait_for_host(self, host: PeerId, pause_s: float) -> Session | None:
        """Wait a while for the host to dial us: it does once its human has accepted."""
        deadline = self._clock.monotonic_s() + pause_s
        while (left_s := deadline - self._clock.monotonic_s()) > 0:
            session = await self._reach.wait_for(host, left_s)
            if session is not None and await self.agree(session):
                return session
            if session is not None:
                await asyncio.sleep(min(1.0, left_s))
        return None

    def _proposal(self, record: RequestRecord, repository: RepositoryId, host_authority: bytes = b"") -> bytes:
        availability, promised = split_promises(record.promises)
        agreement = Agreement(
            agreement=AgreementId(bytes.fromhex(record.request)),
            revision=1,
            previous=ZERO_HASH,
            owner=self._keys.peer,
            host=record.peer,
            authority=self._keys.authority,
            repository=repository,
            size_bytes=record.size_bytes,
            start_ms=record.since_ms,  # so that a repeated proposal is the same bytes
            term_s=record.term_s,
            lock_s=record.lock_s,
            availability=availability,
            notice_s=NOTICE_DEFAULT_S,
            ext=promised,
        )
        return sign_statement(name_authority(agreement, host_authority), self._keys.identity)

    def _settle(self, record: RequestRecord, proposal: bytes, signed: bytes) -> None:
        """Check the host's half and put the agreement into force.

        Raises:
            PeerFault: it signed something else.

        """
        agreement = self._keys.open_terms(signed, record.peer)
        if statement_hash(signed) != statement_hash(proposal):
            raise ProtocolViolation("the host answered with another agreement than was proposed")
        self._state.put_agreement(AgreementId(agreement.agreement), record.peer, signed)
        self._end_waiting(record.peer)
        self._state.put_request(replace(record, state=RequestState.AGREED, since_ms=self._clock.now_ms()))
        self._state.meet(record.peer, self._clock.now_ms(), alias=record.alias, verified=record.is_verified)


async def take_as_told(host: PeerId, authority: bytes) -> bytes:
    """Return the authority that a host told."""
    del host
    return authority


def _teller(name: str, say: Say) -> OnWork:
    """Return what tells the person that their computer works for a flooded server, and how long."""

    async def tell(url: str, seconds: float) -> None:
        if seconds:
            await say("working", f"{authority(url)} is busy: working {max(1, round(seconds))} s to be heard")
        else:
            await say("knocking", f"asking {name}")

    return tell


async def _do_nothing(session: Session) -> None:
    del session


async def _quietly(state: str, text: str) -> None:
    del state, text
