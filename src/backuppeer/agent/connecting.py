"""The owner's way to a host: knock, wait for its human, meet, agree (DESIGN 6, 7, 10 `connect`; W1 to W3, W6).

Knows: the outgoing request and its states. Must not know: listings' transport, packs. A request that a person has to
answer is kept and repeated by the agent for REQUEST_KEPT_S, also when nobody watches.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog

from backuppeer.agent.keyring import HomeKeys
from backuppeer.agent.knocking import Knocking
from backuppeer.agent.names import check_alias, name_of
from backuppeer.agent.partners import Reach, Whereabouts
from backuppeer.agent.session import Session
from backuppeer.agent.state import Direction, RequestRecord, RequestState, State
from backuppeer.clock import Clock
from backuppeer.control.api import ConnectRequest
from backuppeer.errors import BackupPeerError, PendingError, ProtocolViolation, RefusedError
from backuppeer.ids import AgreementId, PeerId, RepositoryId
from backuppeer.limits import KNOCK_AGAIN_S, LOCK_DEFAULT_S, REQUEST_KEPT_S, TERM_DEFAULT_S
from backuppeer.proof.statements import ZERO_HASH, Agreement, open_statement, sign_statement, statement_hash
from backuppeer.signaling.knock import Verdict
from backuppeer.wire.messages import Agreed, Pending, ProposeAgreement

_log = structlog.get_logger()
_NOTICE_S: Final = 30 * 86400
Say = Callable[[str, str], Awaitable[None]]
"""(state, text) for the person."""


class Connecting:
    """Requests to hosts, from the first knock to the co-signed agreement."""

    def __init__(self, state: State, keys: HomeKeys, clock: Clock, *, reach: Reach, knocking: Knocking) -> None:
        self._state, self._keys, self._clock = state, keys, clock
        self._reach, self._knocking = reach, knocking
        self._agreeing: dict[PeerId, asyncio.Lock] = {}

    def agreement_with(self, host: PeerId) -> Agreement | None:
        """Return the agreement in force with a host."""
        for _, peer, signed in self._state.agreements():
            if peer == host:
                return open_statement(Agreement, signed, self._keys.peer, host)
        return None

    def may_answer(self, peer: PeerId) -> bool:
        """Whether a host that dials us is answered: we asked it, or have an agreement with it."""
        if any(host == peer for _, host, _ in self._state.agreements()):
            return True
        known = self._state.find_request(Direction.OUT, peer)
        return known is not None and known.state is RequestState.WAITING

    async def connect(self, host: PeerId, request: ConnectRequest, servers: list[str], say: Say) -> Session:
        """Agree with a host, and return the session with it.

        Raises:
            PendingError: nobody has answered within `wait_s`; the agent goes on asking.
            RefusedError: the host said no.
            PeerUnreachable: it is not on offer anywhere, or vanished.

        """
        check_alias(self._state, request.name, host)
        if host == self._keys.peer:
            raise RefusedError("that is your own id", hint="choose another peer: `backup-peer browse`")
        if self.agreement_with(host) is not None:
            return await self._meet_again(host, request, say)
        record = self._remember(host, request)
        waiting = asyncio.timeout(request.wait_s)
        try:
            async with waiting:
                return await self._pursue(record, servers, say)
        except TimeoutError as exc:
            if not waiting.expired():
                raise
            raise PendingError(
                f"{name_of(self._state, host)} has not answered yet",
                hint="the request is kept for 7 days; `backup-peer requests` shows it, run connect again to wait",
            ) from exc

    async def follow_up(self, servers: list[str]) -> None:
        """Knock again for every request that still waits; called by the agent from time to time."""
        for record in self._state.requests():
            if record.direction is not Direction.OUT or record.state is not RequestState.WAITING:
                continue
            if record.since_ms + REQUEST_KEPT_S * 1000 < self._clock.now_ms():
                self._state.put_request(replace(record, state=RequestState.EXPIRED))
                continue
            try:
                verdict, where = await self._knocking.knock(record, servers)
                if verdict is Verdict.ACCEPTED and where is not None:
                    await self.agree(await self._reach.dial(record.peer, where))
            except BackupPeerError as exc:
                _log.info("request not answered yet", reason=exc.message[:200])

    async def agree(self, session: Session) -> bool:
        """Propose the agreement that was asked for, if one was; True when it stands. Called for every session.

        Raises:
            RefusedError: the host wants no more of it.

        """
        async with self._agreeing.setdefault(session.peer, asyncio.Lock()):
            if self.agreement_with(session.peer) is not None:
                return True
            record = self._state.find_request(Direction.OUT, session.peer)
            if record is None or record.state is not RequestState.WAITING or self._keys.repository is None:
                return False
            proposal = self._proposal(record, self._keys.repository)
            async with session.request(ProposeAgreement(signed=proposal)) as channel:
                answer = await channel.receive(Agreed, Pending)
            if isinstance(answer, Pending):
                return False
            self._settle(record, proposal, answer.signed)
            return True

    async def _meet_again(self, host: PeerId, request: ConnectRequest, say: Say) -> Session:
        await say("dialling", f"dialling {name_of(self._state, host)}")
        session = await self._reach.session(host)
        self._state.meet(host, self._clock.now_ms(), alias=request.name, verified=request.verified)
        return session

    def _remember(self, host: PeerId, request: ConnectRequest) -> RequestRecord:
        wish = (request.storage, request.term_s or TERM_DEFAULT_S, request.lock_s or LOCK_DEFAULT_S)
        known = self._state.find_request(Direction.OUT, host)
        if known is not None and known.state is RequestState.WAITING and _wish_of(known) == wish:
            record = replace(
                known, alias=request.name or known.alias, is_verified=request.verified or known.is_verified
            )
        else:
            record = RequestRecord(
                request=secrets.token_hex(16),  # becomes the agreement's id: random, stable over tries and revisions
                direction=Direction.OUT,
                peer=host,
                size_bytes=wish[0],
                term_s=wish[1],
                lock_s=wish[2],
                state=RequestState.WAITING,
                since_ms=self._clock.now_ms(),
                alias=request.name,
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
            await say("knocking", f"asking {name}")
            try:
                verdict, where = await self._knocking.knock(record, servers)
            except RefusedError as exc:
                self._state.put_request(replace(record, state=RequestState.REJECTED, reason=exc.message))
                raise
            if verdict is Verdict.ACCEPTED and where is not None:
                if session := await self._enter(host, where, say):
                    return session
            else:
                await say("waiting", f"waiting for {name} to answer")
            if session := await self._wait_for_host(host, pause_s):
                return session

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

    def _proposal(self, record: RequestRecord, repository: RepositoryId) -> bytes:
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
            availability=0,
            notice_s=_NOTICE_S,
        )
        return sign_statement(agreement, self._keys.identity)

    def _settle(self, record: RequestRecord, proposal: bytes, signed: bytes) -> None:
        """Check the host's half and put the agreement into force.

        Raises:
            PeerFault: it signed something else.

        """
        agreement = open_statement(Agreement, signed, self._keys.peer, record.peer)
        if statement_hash(signed) != statement_hash(proposal):
            raise ProtocolViolation("the host answered with another agreement than was proposed")
        self._state.put_agreement(AgreementId(agreement.agreement), record.peer, signed)
        self._state.put_request(replace(record, state=RequestState.AGREED))
        self._state.meet(record.peer, self._clock.now_ms(), alias=record.alias, verified=record.is_verified)


def _wish_of(record: RequestRecord) -> tuple[int, int, int]:
    return record.size_bytes, record.term_s, record.lock_s
