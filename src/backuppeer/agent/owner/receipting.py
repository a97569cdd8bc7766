"""Receipts as their owner: signed when a month is over, countersigned by the host when it is met (ADR 62).

Knows: agreements, the ledger, what was seen of a host within a month. Must not know: what a receipt is worth, how hosts
decide. What was signed is kept before it is sent, and sent again until the host has signed it, too: so a month has one
receipt, however often an answer is lost. A month that ends while a session is open is settled in it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress

import structlog

from backuppeer.agent.home.keyring import HomeKeys
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.vault import Vault
from backuppeer.agent.peers.session import Session
from backuppeer.agent.repute.gaps import Gaps
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.clock import DAY_S, Clock
from backuppeer.errors import NotFoundError, ProtocolViolation, RefusedError
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import EVIDENCE_DAYS, GIB, MONTH_END_JITTER_S, MONTH_END_LOOK_S
from backuppeer.proof.receipts import MONTH_MS, Shown, begin_of, check_pair, count_months, open_receipt, propose_receipt
from backuppeer.proof.revisions import list_parties
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.trust.conduct import Bar
from backuppeer.trust.evidence import DayCount, Kind
from backuppeer.trust.hearsay import Word
from backuppeer.wire.receipts import GetMyReceipts, MyReceiptsAre, ProposeReceipt, ReceiptSigned

_log = structlog.get_logger()
_DAY_MS = DAY_S * 1000
_SHOWN = frozenset({Kind.AUDITED, Kind.RESTORED})
# Not MISBEHAVED: it may have lied to another owner, and what it keeps for us be whole.
_FAILED = frozenset({Kind.LOST, Kind.INTEGRITY_FAULT})


class Receipting:
    """Receipts of this home's agreements as owner."""

    def __init__(self, state: State, keys: HomeKeys, vault: Vault, *, shelf: Shelf, gaps: Gaps, clock: Clock) -> None:
        self._state, self._keys, self._vault = state, keys, vault
        self._shelf, self._gaps, self._clock = shelf, gaps, clock
        self.is_shared: Callable[[], bool] = lambda: True
        """Whether others may see who keeps our data; set by who knows the settings."""
        self.pick: Callable[[float, float], float] = random.uniform
        """How long after its end a month is settled, between two times."""

    async def settle(self, session: Session) -> None:
        """Have a host sign the months that are over; for each session.

        Raises:
            PeerFault: it answers something else.
            RefusedError: it knows no receipts.
            PeerUnreachable: it went away.

        """
        if not self._vault.exists_repository or not self._vault.writer.may_write:
            return
        for agreement, host, signed in self._state.agreements():
            if host == session.peer:
                await self._settle(session, peek_statement(Agreement, signed), agreement)

    async def attend(self, session: Session, settle: Callable[[], Awaitable[None]]) -> None:
        """Call `settle` at the end of each month that ends while a session is open; return when it has ended.

        At each session's own time within MONTH_END_JITTER_S: hosts that are agreed with at once aren't met in step.
        """
        late_ms = int(1000 * self.pick(0, MONTH_END_JITTER_S))
        while not session.ended.is_set():
            due_ms = self._find_end(session.peer)
            while not session.ended.is_set() and (due_ms is None or self._clock.now_ms() < due_ms + late_ms):
                # In stretches: a machine that slept wakes with another time than its timers know.
                left_s = MONTH_END_LOOK_S if due_ms is None else (due_ms + late_ms - self._clock.now_ms()) / 1000
                with suppress(TimeoutError):
                    await asyncio.wait_for(session.ended.wait(), min(MONTH_END_LOOK_S, left_s))
                due_ms = due_ms or self._find_end(session.peer)
            if not session.ended.is_set():
                await settle()

    def _find_end(self, host: PeerId) -> int | None:
        """Return when the next month of an agreement with a host is over, in ms; None: there is none."""
        now_ms = self._clock.now_ms()
        terms = [peek_statement(Agreement, signed) for _, peer, signed in self._state.agreements() if peer == host]
        ends = (begin_of(said.start_ms, count_months(said.start_ms, now_ms) + 2) for said in terms)
        return min(ends, default=None)

    async def _settle(self, session: Session, terms: Agreement, agreement: AgreementId) -> None:
        over = count_months(terms.start_ms, self._clock.now_ms())
        newest = self._shelf.newest(agreement, Keep.OWNER)
        if not over or (newest is not None and newest.said.number >= over):
            return
        if newest is None or newest.said.number < over - 1:
            # A home that was set back, or brought back from its words, may have signed more than it knows.
            await self._ask_own(session, terms, after=newest.said.number if newest else 0)
        if note := self._gaps.explain(terms):
            async with session.request(ProposeReceipt(agreement=agreement, signed=note)) as channel:
                self._gaps.adopt(terms, (await channel.receive(ReceiptSigned)).signed)
        await asyncio.to_thread(self._sign_month, terms, over)
        for shown in self._unsigned(agreement):
            try:
                await self._propose(session, terms, shown)
            except RefusedError as exc:
                # It stays one-sided; a month after it is asked for all the same.
                _log.info("a receipt was not signed", month=shown.said.number, reason=exc.message[:200])

    async def _ask_own(self, session: Session, terms: Agreement, *, after: int) -> None:
        more = True
        while more:
            async with session.request(GetMyReceipts(agreement=terms.agreement, after=after)) as channel:
                answer = await channel.receive(MyReceiptsAre)
            for signed in answer.receipts:
                shown = self._adopt(terms, signed)
                if shown.said.number <= after:
                    raise ProtocolViolation("receipts are not in the order of their months")
                after = shown.said.number
            for note in answer.notes:
                self._gaps.adopt(terms, note)
            more = answer.more and bool(answer.receipts)

    def _sign_month(self, terms: Agreement, number: int) -> None:
        """Sign for a month that is over, once; nothing where nobody knows whether all was kept."""
        agreement = AgreementId(terms.agreement)
        if self._shelf.find(agreement, number, Keep.OWNER) is not None:
            return
        kept = judge_month(self._seen(PeerId(terms.host)), begin_of(terms.start_ms, number))
        size_bytes = self._vault.repository.ledger.held_bytes(agreement)
        if kept is None or not size_bytes:
            return
        before = self._shelf.newest(agreement, Keep.OWNER)
        gap = self._gaps.find(terms, before.said.number + 1, number - 1) if before else None
        signed = propose_receipt(
            terms,
            before,
            gap,
            self._keys.identity,
            number=number,
            size_bytes=size_bytes,
            kept=kept,
            private=not self.is_shared(),
        )
        self._shelf.keep(open_receipt(signed), Keep.OWNER)

    def _unsigned(self, agreement: AgreementId) -> list[Shown]:
        """Return own receipts that the host has not signed, above the last that it has, ascending."""
        newest = self._shelf.newest(agreement, Keep.OWNER)
        after = newest.said.number if newest else 0
        mine = [shown for shown in self._shelf.own(Keep.OWNER) if shown.said.agreement == agreement]
        return [shown for shown in reversed(mine) if shown.said.number > after and shown.said.kept]

    async def _propose(self, session: Session, terms: Agreement, shown: Shown) -> None:
        newest = self._shelf.newest(AgreementId(terms.agreement), Keep.OWNER)
        message = ProposeReceipt(
            agreement=terms.agreement, signed=shown.signed, before=newest.signed if newest else b""
        )
        async with session.request(message) as channel:
            answer = await channel.receive(ReceiptSigned)
        if self._adopt(terms, answer.signed).said.number != shown.said.number:
            raise ProtocolViolation("a receipt of another month was signed than the one proposed")

    def _adopt(self, terms: Agreement, signed: bytes) -> Shown:
        shown = open_receipt(signed)
        before = list_parties(self._state.deeds.after(AgreementId(terms.agreement), 0))
        check_pair(shown.said, terms, before)
        if not shown.is_cosigned:
            raise ProtocolViolation("a receipt lacks the host's signature")
        self._shelf.keep(shown, Keep.OWNER)
        return shown

    def agree_gap(self, host: PeerId, agreement: AgreementId, signed: bytes) -> bytes:
        """Return a host's note about a gap with our signature.

        Raises:
            NotFoundError: there is no such agreement with this host.
            PeerFault: as `Gaps.agree`.
            RefusedError: as `Gaps.agree`, or something stands against the host: then it was not only away.

        """
        for known, peer, terms in self._state.agreements():
            if (known, peer) == (agreement, host):
                if self._vault.standing.bar(host) not in {None, Bar.DOUBTED, Bar.SUCCEEDED}:
                    raise RefusedError("something was lost in that time")
                return self._gaps.agree(peek_statement(Agreement, terms), signed, host)
        raise NotFoundError("no such agreement with you")

    def judging(self, host: PeerId) -> Callable[[int], bool | None]:
        """Return what says of the month that begins at some time (ms) whether a host kept all; as `judge_month`."""
        seen = list(self._seen(host))
        return lambda from_ms: judge_month(seen, from_ms)

    def own_words(self) -> Iterator[Word[PeerId]]:
        """Yield what this home says of its hosts and friends: days and GiB of its own ledger.

        Nothing of those that it blocked, or gives no new data: what they say of others would count by that.
        """
        me, now_ms = self._keys.peer, self._clock.now_ms()
        for agreement, host, signed in self._state.agreements() if self._vault.exists_repository else ():
            held_bytes = self._vault.repository.ledger.held_bytes(agreement)
            days = (now_ms - peek_statement(Agreement, signed).start_ms) / _DAY_MS
            if held_bytes and days > 0 and self._is_heard(host):
                yield Word(me, host, days, held_bytes / GIB)
        for record in self._state.peers():
            if record.is_verified and self._is_heard(record.peer):
                yield Word(me, record.peer, 0.0, 0.0, is_vouch=True)

    def _is_heard(self, peer: PeerId) -> bool:
        return peer not in self._state.blocks and self._vault.standing.bar(peer) is None

    def _seen(self, host: PeerId) -> Iterable[DayCount]:
        counts = self._vault.standing.condense(now_ms=self._clock.now_ms(), days=EVIDENCE_DAYS)
        line = self._vault.standing.line(host)
        return (count for count in counts if count.peer in line)


def judge_month(seen: Iterable[DayCount], from_ms: int) -> bool | None:
    """Return whether a host kept all within the month that begins at `from_ms`; None: nobody signs for it.

    A loss on its last day is the loss of that month, whatever was shown before. None, too, where the host itself said
    that it lost something: that is no month to praise, and honesty none to accuse.
    """
    first, last = from_ms // _DAY_MS, (from_ms + MONTH_MS - 1) // _DAY_MS
    kinds = {count.kind for count in seen if first <= count.day <= last}
    if kinds & _FAILED:
        return False
    return True if kinds & _SHOWN and Kind.REPORTED_LOSS not in kinds else None
