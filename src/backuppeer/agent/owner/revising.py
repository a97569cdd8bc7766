"""Own agreements changed, and kept the same on both sides (ADR 44, `peers resize`, `peers renew`).

Knows: the chain of revisions, requests to change it, how a host is asked. Must not know: knocks, packs. Whoever lost
revisions is brought up by the other side in the next session: a host that signed what we did not hear of shows it, one
that was set back is handed what it signed before. A host that shows another chain is at fault.
"""

import asyncio
import secrets
import shlex
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import structlog

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.connecting import ChooseAuthority, take_as_told
from backuppeer.agent.owner.listening import ask_within
from backuppeer.agent.owner.writer import Writer
from backuppeer.agent.peers.choosing import UNDECIDED
from backuppeer.agent.peers.names import name_of
from backuppeer.agent.peers.partners import Reach
from backuppeer.agent.peers.session import Session
from backuppeer.agent.peers.wishes import name_of_request
from backuppeer.clock import Clock
from backuppeer.errors import BackupPeerError, NotFoundError, PeerFault, PendingError, ProtocolViolation, RefusedError
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import KNOCK_AGAIN_S, REQUEST_KEPT_S, WITNESS_S
from backuppeer.proof.promises import read_promises
from backuppeer.proof.revisions import Wish, check_spans, check_successor, name_authority, revise, wish_of
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement, statement_hash
from backuppeer.proof.waivers import IN_REVISION, LockWaiver
from backuppeer.wire.messages import Agreed, Pending, ProposeAgreement
from backuppeer.wire.terms import GetTerms, PutTerms, TermsAre, TermsPut

_log = structlog.get_logger()
Say = Callable[[str, str], Awaitable[None]]
"""(state, text) for the person."""
Blame = Callable[[PeerId, BackupPeerError], None]
Hear = Callable[[PeerId, AgreementId, bytes, int], None]
"""(host, agreement, signed notice of either side, for how many seconds all is kept)."""
Change = Callable[[Agreement], Wish]
"""What is wanted, from the terms in force."""


class Revising:
    """Changes of this home's agreements as owner."""

    def __init__(self, state: State, keys: HomeKeys, clock: Clock, *, reach: Reach, blame: Blame) -> None:
        self._state, self._keys, self._clock = state, keys, clock
        self._reach, self._blame, self._writer = reach, blame, Writer(state, keys)
        self._asking: dict[PeerId, asyncio.Lock] = {}
        self.hear: Hear = _hear_nothing
        """Told of the notices that hosts show with their terms."""
        self.choose_authority: ChooseAuthority = take_as_told

    async def change(self, host: PeerId, change: Change, say: Say, *, wait_s: float) -> Agreement:
        """Agree with a host on other terms, and return those in force then.

        Raises:
            NotFoundError: there is no agreement with it.
            PendingError: nobody has answered within `wait_s`; the agent goes on asking.
            RefusedError: the host said no, or offers other terms.
            PeerUnreachable: it can't be reached.

        """
        self._current(host)
        begun = await ask_within(wait_s, self._begin(host, change), name_of(self._state, host))
        return begun if isinstance(begun, Agreement) else await self._pursue(begun, say, wait_s)

    async def _begin(self, host: PeerId, change: Change) -> RequestRecord | Agreement:
        """Have the same revision on both sides, and note what is wished for; the terms, where they are just that."""
        session = await self._reach.session(host)
        async with self._lock_of(host):
            await self._heal(session)
            _, signed = self._current(host)
            terms = peek_statement(Agreement, signed)
            wish = change(terms)
            if wish == wish_of(terms):
                return terms
            check_spans(wish)
            return self._remember(host, terms, wish)

    async def compare(self, host: PeerId) -> None:
        """Have the same revision of each agreement here and at a host, which is asked now.

        Raises:
            NotFoundError: there is no agreement with it.
            PeerFault: its chain is not ours.
            PeerUnreachable: it can't be reached.

        """
        self._current(host)
        session = await self._reach.session(host)
        async with self._lock_of(host):
            await self._heal(session)

    async def lower(self, host: PeerId, waiver: bytes) -> Agreement:
        """Put the next revision into force, in which the lock is as low as the authority allows; nobody is asked.

        Raises:
            NotFoundError: there is no agreement with this host.
            RefusedError: the agreement was changed since the waiver was signed, or the host says no.
            PeerFault: the waiver does not hold, or the host answers something else.
            PeerUnreachable: it can't be reached.

        """
        lock_s = peek_statement(LockWaiver, waiver).lock_s
        self._current(host)
        session = await self._reach.session(host)
        async with self._lock_of(host):
            await self._heal(session)
            agreement, signed = self._current(host)
            terms = peek_statement(Agreement, signed)
            if terms.ext.get(IN_REVISION) == waiver:
                return terms  # in force, and the answer was not heard
            revision = revise(signed, wish_of(terms)._replace(lock_s=lock_s), waiver)
            check_successor(signed, revision)
            proposal = sign_statement(revision, self._keys.identity)
            async with session.request(ProposeAgreement(signed=proposal)) as channel:
                answer = await channel.receive(Agreed)
            self._adopt(host, agreement, proposal, answer.signed)
            for known in self._waiting(host):
                # What was asked for before asks for no longer lock than there was.
                if known.lock_s == terms.lock_s:
                    self._state.put_request(replace(known, lock_s=lock_s))
            return revision

    async def settle(self, session: Session) -> None:
        """Bring this home and a host to the same revision, and ask again for what was asked for; for each session.

        Raises:
            PeerFault: its chain is not ours.
            RefusedError: it said no to what was asked for.
            PeerUnreachable: it went away.

        """
        async with self._lock_of(session.peer):
            await self._heal(session)
            for record in self._waiting(session.peer):
                await self._propose(session, record)

    async def hear_answers(self, hosts: Iterable[PeerId]) -> None:
        """Ask these hosts now for what waits with them, for seconds: before a person is told what does."""
        waiting = {record.peer for record in self._waiting()} & set(hosts)
        with suppress(TimeoutError):
            async with asyncio.timeout(WITNESS_S):
                await asyncio.gather(*map(self.follow_up, waiting))

    def is_waiting(self, host: PeerId) -> bool:
        """Whether a host has not answered what it was asked for."""
        return bool(self._waiting(host))

    async def follow_up(self, host: PeerId | None = None) -> None:
        """Ask again for every change that still waits, with one host or with all; the agent does from time to time."""
        for record in self._waiting(host):
            if record.since_ms + REQUEST_KEPT_S * 1000 < self._clock.now_ms():
                self._end(record, RequestState.EXPIRED)
                continue
            try:
                session = await self._reach.session(record.peer)
                async with self._lock_of(record.peer):
                    await self._propose(session, record)
            except BackupPeerError as exc:
                _log.info("change not answered yet", reason=exc.message[:200])

    async def take_offer(self, record: RequestRecord, say: Say) -> Agreement:
        """Agree to what the host offered instead of a change that was asked for; as `change`."""
        offer = record.offer
        if offer is None:
            raise NotFoundError("nothing is offered for this request", hint="see `backup-peer requests`")
        return await self.change(record.peer, lambda _: offer, say, wait_s=KNOCK_AGAIN_S)

    async def _pursue(self, record: RequestRecord, say: Say, wait_s: float) -> Agreement:
        name = name_of(self._state, record.peer)
        waiting = asyncio.timeout(wait_s)
        try:
            async with waiting:
                while True:
                    await say("asking", f"asking {name}")
                    if terms := await self._ask(record):
                        return terms
                    await say("waiting", f"waiting for {name} to answer")
                    await asyncio.sleep(KNOCK_AGAIN_S)
        except TimeoutError as exc:
            if not waiting.expired():
                raise
            raise PendingError(
                f"{name} has not answered yet",
                hint="the request is kept for 7 days; `backup-peer requests` shows it, run the same again to wait",
            ) from exc

    async def _ask(self, record: RequestRecord) -> Agreement | None:
        """Ask once; None while a person decides.

        Raises:
            RefusedError: no, or other terms are offered.

        """
        session = await self._reach.session(record.peer)
        async with self._lock_of(record.peer):
            now = self._find(record)
            if now.state in UNDECIDED and await self._propose(session, now):
                return peek_statement(Agreement, self._current(record.peer)[1])
            now = self._find(record)
        if now.state is RequestState.AGREED:  # the agent itself asked meanwhile
            return peek_statement(Agreement, self._current(record.peer)[1])
        if now.state is RequestState.OFFERED:
            request = name_of_request(self._keys.peer, now)[:8]
            raise RefusedError(
                f"{name_of(self._state, record.peer)} offers other terms instead",
                hint=f"see `backup-peer requests`; `backup-peer requests accept {request}` takes them",
            )
        if now.state is not RequestState.WAITING:
            raise RefusedError(now.reason or "the request lapsed", hint="see `backup-peer requests`")
        return None

    async def _propose(self, session: Session, record: RequestRecord) -> bool:
        """Propose the next revision; True when it is in force on both sides."""
        agreement, signed = self._current(record.peer)
        if agreement != record.revises:
            self._end(record, RequestState.EXPIRED)
            return False
        if wish_of(peek_statement(Agreement, signed)) == record.wish:  # answered before, and the answer came otherwise
            self._end(record, RequestState.AGREED)
            return True
        try:
            told = await self.choose_authority(record.peer, session.hello.authority)
            proposal = sign_statement(name_authority(revise(signed, record.wish), told), self._keys.identity)
            beside = self._writer.sign_beside(Agreement, proposal)
            async with session.request(ProposeAgreement(signed=proposal, device_sig=beside)) as channel:
                answer = await channel.receive(Agreed, Pending)
        except RefusedError as exc:
            self._end(record, RequestState.REJECTED, reason=exc.message)
            raise
        if isinstance(answer, Pending):
            self._note_offer(record, answer)
            return False
        self._adopt(record.peer, agreement, proposal, answer.signed)
        self._end(record, RequestState.AGREED)
        return True

    def _adopt(self, host: PeerId, agreement: AgreementId, proposal: bytes, signed: bytes) -> None:
        """Keep what a host answered to a proposal."""
        self._keys.open_terms(signed, host)
        if statement_hash(signed) != statement_hash(proposal):
            raise ProtocolViolation("the host answered with another agreement than was proposed")
        self._state.put_agreement(agreement, host, signed)

    def _note_offer(self, record: RequestRecord, answer: Pending) -> None:
        offer = _wish_offered(answer) if answer.size_bytes else None
        state = RequestState.OFFERED if offer else RequestState.WAITING
        if (state, offer) != (record.state, record.offer):
            self._state.put_request(replace(record, state=state, offer=offer))

    async def _heal(self, session: Session) -> None:
        """Have the same revision on both sides, whoever lost some."""
        shown = {peek.agreement: peek.revision for peek in self._shown_by(session)}
        for agreement, host, signed in self._state.agreements():
            if host != session.peer:
                continue
            try:
                await self._catch_up(session, agreement, signed)
            except RefusedError as exc:
                _log.info("terms not compared", reason=exc.message[:200])  # a host of before, or its store is away
                continue
            mine = peek_statement(Agreement, self._current(host)[1]).revision
            if shown.get(agreement, mine) < mine:
                await self._bring_up(session, agreement, shown[agreement])

    def _shown_by(self, session: Session) -> list[Agreement]:
        found = []
        for signed in session.hello.agreements:
            try:
                found.append(self._keys.open_terms(signed, session.peer))
            except PeerFault:
                continue  # of the other direction, or nobody's: agent.recovery.adoption passes over it as well
        return found

    async def _catch_up(self, session: Session, agreement: AgreementId, signed: bytes) -> None:
        """Adopt what the host has and this home lacks: it crashed, or was set back."""
        more = True
        while more:
            after = peek_statement(Agreement, signed).revision
            async with session.request(GetTerms(agreement=agreement, after=after)) as channel:
                answer = await channel.receive(TermsAre)
            for notice in answer.notices:
                self._hear_notice(session.peer, agreement, notice, answer.left_s)
            for newer in answer.revisions:
                self._check(session.peer, signed, newer)
                self._state.put_agreement(agreement, session.peer, newer)
                signed = newer
            more = answer.more and bool(answer.revisions)

    def _hear_notice(self, host: PeerId, agreement: AgreementId, notice: bytes, left_s: int) -> None:
        try:
            self.hear(host, agreement, notice, left_s)
        except PeerFault as exc:
            self._blame(host, exc)
            raise

    def _check(self, host: PeerId, signed: bytes, newer: bytes) -> None:
        try:
            check_successor(signed, self._keys.open_terms(newer, host))
        except (PeerFault, RefusedError) as exc:
            # It was co-signed by the host, or claims to be: such a chain never had both our words.
            fault = ProtocolViolation(f"the host shows terms that do not follow those agreed on: {exc.message}")
            self._blame(host, fault)
            raise fault from exc

    async def _bring_up(self, session: Session, agreement: AgreementId, revision: int) -> None:
        for signed in self._state.deeds.after(agreement, revision):
            async with session.request(PutTerms(agreement=agreement, signed=signed)) as channel:
                await channel.receive(TermsPut)

    def _remember(self, host: PeerId, terms: Agreement, wish: Wish) -> RequestRecord:
        """Keep what is asked for: as it is, if it is asked for already; in place of anything else."""
        for known in self._waiting(host):
            if known.wish == wish and known.revises == terms.agreement:
                return known
            self._end(known, RequestState.SUPERSEDED)
        record = RequestRecord(
            request=secrets.token_hex(16),
            direction=Direction.OUT,
            peer=host,
            **wish._asdict(),
            state=RequestState.WAITING,
            since_ms=self._clock.now_ms(),
            revises=terms.agreement,
        )
        self._state.put_request(record)
        return record

    def _current(self, host: PeerId) -> tuple[AgreementId, bytes]:
        for agreement, peer, signed in self._state.agreements():
            if peer == host:
                return agreement, signed
        name = name_of(self._state, host)
        raise NotFoundError(
            f"{name} keeps no backups of yours",
            hint=f"ask it first: `backup-peer connect {shlex.quote(name)} --storage 10GB`",
        )

    def _waiting(self, host: PeerId | None = None) -> list[RequestRecord]:
        return [
            record
            for record in self._state.requests()
            if record.direction is Direction.OUT and record.revises and record.state in UNDECIDED
            if host is None or record.peer == host
        ]

    def _find(self, record: RequestRecord) -> RequestRecord:
        return next((r for r in self._state.requests() if r.request == record.request), record)

    def _end(self, record: RequestRecord, state: RequestState, *, reason: str = "") -> None:
        self._state.put_request(replace(record, state=state, reason=reason, since_ms=self._clock.now_ms(), offer=None))

    def _lock_of(self, host: PeerId) -> asyncio.Lock:
        return self._asking.setdefault(host, asyncio.Lock())


def _wish_offered(answer: Pending) -> Wish:
    return Wish(answer.size_bytes, answer.term_s, answer.lock_s, read_promises(answer.ext))


def _hear_nothing(host: PeerId, agreement: AgreementId, signed: bytes, left_s: int) -> None:
    del host, agreement, signed, left_s
