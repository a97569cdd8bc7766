"""One audit of one host: what it says of itself, then samples; and what follows from each (ADR 43).

Knows: the order of these steps, when something unanswered counts as lost. Must not know: who asked for the audit, and
when the next one comes. It holds one challenge in memory, whatever the host keeps or says.

Weather, "busy", "over budget" and a store that is away are no evidence of anything. What was not shown is owed: asked
for again in each later audit, and lost when it was left out AUDIT_UNANSWERED times over AUDIT_WAIT_S in which the host
answered: others, or signed an answer without it. A challenge that came to nothing as a whole is taken apart later, so
that one lost pack can't hide among 29 others.
"""

import asyncio
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from backuppeer.agent.audits.challenging import Answer, Piece, cut_challenges, put_challenge
from backuppeer.agent.audits.custody import Custody
from backuppeer.agent.audits.dossier import Dossier
from backuppeer.agent.audits.stocktaking import excuse
from backuppeer.agent.brake import brake_of_job
from backuppeer.agent.owner.admission import note_cleared
from backuppeer.agent.owner.erased import say_erased
from backuppeer.agent.owner.losses import LOST_PACKS, measure_named
from backuppeer.agent.owner.testimony import MuteError, OverBudgetError, StaleHeadError, ask_again
from backuppeer.clock import DAY_S
from backuppeer.errors import IntegrityFault, PeerUnreachable, RefusedError
from backuppeer.ids import StoredId
from backuppeer.limits import (
    AUDIT_ALONE,
    AUDIT_BROKEN,
    AUDIT_CYCLE_DAYS,
    AUDIT_DAYS_BEHIND,
    AUDIT_SOUNDED,
    AUDIT_STALE,
    AUDIT_UNANSWERED,
    AUDIT_WAIT_S,
    PROVEN_WITHIN_DAYS,
)
from backuppeer.proof.audits import Sample, sign_challenge
from backuppeer.proof.custody import Standing
from backuppeer.shares.accounts import KeptHead, Owed
from backuppeer.shares.copies import Copy
from backuppeer.shares.sampling import Draw, draw_any, draw_each, plan_bulk, plan_day
from backuppeer.trust.evidence import Kind

_LIES = "it gets no new data; keep another copy with a further host: `backup-peer browse`"


class Scope(Enum):
    """What an audit asks for: the days that are due; these and what nobody foresees; or the cycle's blocks."""

    DUE = "due"
    NOW = "now"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """A draw that was not shown. is_signed: by a signed answer without it; else the challenge came to nothing."""

    draw: Draw
    challenge: bytes
    is_signed: bool


class Audit:
    """One audit."""

    def __init__(self, dossier: Dossier) -> None:
        self._dossier, self._agreement = dossier, dossier.partner.agreement
        self._ledger, self._proven = dossier.repository.ledger, dossier.repository.proven
        self._custody = Custody(dossier)
        self._standing: Standing
        self._challenge = b""
        self._owed: dict[Sample, Owed] = {}
        self._left_out: dict[Sample, _LeftOut] = {}
        self._avoided: set[StoredId] = set()
        self._wrong: dict[StoredId, Copy] = {}
        self._broken = 0
        self._excused: set[StoredId] = set()

    async def run(self, scope: Scope) -> None:
        """Ask, and tell the outcome.

        Raises:
            BackupPeerError: it ended early; what was learnt until then is kept.

        """
        standing = await self._custody.hear_head()
        if standing is None:
            return
        self._standing = standing
        await self._custody.hear_losses()
        doubts = await self._custody.acknowledge(standing)
        self._avoided = set(await asyncio.to_thread(self._ledger.spoiled_at, self._agreement))
        self._owed = {owed.sample: owed for owed in await asyncio.to_thread(self._proven.owed, self._agreement)}
        try:
            alone = await self._ask_owed()
            await self._ask(Draw(copy, 0) for copy in doubts)
            await self._ask_plan(scope)
            for draw in alone:
                await self._ask([draw])
            if self._left_out or doubts:
                # An honest host signs a report before it leaves a pack out, and so tells by itself what is lost.
                await self._custody.hear_losses()
            await self._excuse()
        finally:
            # Also when the host went away: what it showed until then is proven.
            await asyncio.to_thread(self._conclude)

    async def _excuse(self) -> None:
        """Hear of what was left out whether somebody with our keys had the host delete it: that is not owed."""
        dossier = self._dossier
        missing = {left.draw.copy.stored for left in self._left_out.values() if self._is_wanted(left.draw.copy)}
        self._excused = await excuse(dossier.vault, dossier.partner, missing) if missing else set()
        if self._excused:
            dossier.reporter.note(say_erased(dossier.partner.name, len(self._excused)))

    # what is asked for
    async def _ask_owed(self) -> list[Draw]:
        """Ask for what is owed, and return what is to be asked for alone: a leaf of each pack."""
        draws = await asyncio.to_thread(self._find_owed)
        await self._ask(draw for draw in draws if not self._owed[draw.sample].is_alone)
        alone = {draw.copy.stored: draw for draw in reversed(draws) if self._owed[draw.sample].is_alone}
        return list(reversed(alone.values()))[:AUDIT_ALONE]

    def _find_owed(self) -> list[Draw]:
        """Return what is owed and still wanted; the rest is let go of: deleted, replaced, or known to be spoiled."""
        draws, over = [], []
        for owed in self._owed.values():
            copy = self._ledger.copy_at(self._agreement, owed.logical)
            if copy is not None and copy.stored == owed.sample.stored and not copy.is_last:
                draws.append(Draw(copy, owed.sample.first_leaf, owed.sample.leaves))
            else:
                over.append(owed.sample)
        self._proven.settle(self._agreement, over)
        return draws

    async def _ask_plan(self, scope: Scope) -> None:
        dossier, today = self._dossier, self._dossier.now_ms() // (1000 * DAY_S)
        copies, seed = partial(self._ledger.copies_at, self._agreement), dossier.account.seed
        if scope is Scope.BULK:
            cycle = today // AUDIT_CYCLE_DAYS
            await self._ask(plan_bulk(seed, cycle, copies))
            dossier.save(replace(dossier.account, bulk_cycle=cycle))
            return
        for day in range(max(dossier.account.day, today - AUDIT_DAYS_BEHIND) + 1, today + 1):
            await self._ask(plan_day(seed, day, copies))
            dossier.save(replace(dossier.account, day=day))
        if scope is Scope.NOW or not dossier.outcome.shown:
            # What nobody could foresee; and who left something out is asked for something else, too.
            await self._ask(draw_any(copies, secrets.randbelow))
        if scope is Scope.NOW and await asyncio.to_thread(dossier.vault.exposing.may_grow, dossier.partner.peer):
            await self._ask(await asyncio.to_thread(self._sound))

    def _sound(self) -> list[Draw]:
        """Return a leaf of each pack that was not shown lately: what a stranger showed a part of lets it have more."""
        since_ms = self._dossier.now_ms() - 1000 * DAY_S * PROVEN_WITHIN_DAYS
        stale = self._proven.stale(self._agreement, since_ms, limit=AUDIT_SOUNDED)
        copies = (copy for copy in self._ledger.copies_at(self._agreement) if copy.stored in stale)
        return list(draw_each(copies, secrets.randbelow))

    async def _ask(self, draws: Iterable[Draw]) -> None:
        """Ask for draws, a challenge's worth at a time; the plan is read in a thread."""
        batches: Iterator[list[Draw]] = cut_challenges(draw for draw in draws if draw.copy.stored not in self._avoided)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            await self._put(batch)

    async def _put(self, draws: Sequence[Draw]) -> None:
        await brake_of_job().held()  # one under way ends: a question broken off is one that was not answered
        outcome = self._dossier.outcome
        outcome.asked += len(draws)
        try:
            answer = await self._put_upon_head(draws)
        except (MuteError, OverBudgetError, StaleHeadError):
            outcome.asked -= len(draws)  # no evidence of anything
            raise
        except (PeerUnreachable, RefusedError) as exc:
            self._leave_out((Piece(draw) for draw in draws), is_signed=False)
            self._broken += 1
            if self._broken >= AUDIT_BROKEN:
                raise
            self._dossier.vault.blame(self._dossier.partner, exc)
            # If it went away, this raises. If it answers all but this challenge, the audit goes on.
            await self._custody.hear_head()
            return
        await asyncio.to_thread(self._take, answer)
        self._dossier.reporter.update(files=outcome.asked, bytes=outcome.shown_bytes)

    async def _put_upon_head(self, draws: Sequence[Draw]) -> Answer:
        """Put a challenge upon the head that the host holds, and again when it got another one just now."""
        for _ in range(AUDIT_STALE - 1):
            try:
                return await self._put_challenge(draws)
            except StaleHeadError:
                standing = await self._custody.hear_head()
                if standing is None:
                    raise
                self._standing = standing
        return await self._put_challenge(draws)

    async def _put_challenge(self, draws: Sequence[Draw]) -> Answer:
        dossier = self._dossier

        async def put() -> Answer:
            # Its own nonce for each time that it is put: no answer serves twice.
            self._challenge = sign_challenge(
                [draw.sample for draw in draws],
                dossier.keys.identity,
                standing=self._standing,
                nonce=secrets.token_bytes(16),
                time_ms=dossier.now_ms(),
            )
            return await put_challenge(dossier.partner, self._challenge, draws, owner=dossier.keys.peer)

        return await ask_again(put, dossier.vault.clock)

    # what is made of it
    def _take(self, answer: Answer) -> None:
        outcome, now_ms = self._dossier.outcome, self._dossier.now_ms()
        shown = [piece for piece in answer.pieces if piece.shown is not None and not piece.is_wrong]
        outcome.shown += len(shown)
        outcome.shown_bytes += sum(len(piece.shown.data) for piece in shown if piece.shown is not None)
        self._proven.note_proven(self._agreement, {piece.draw.copy.stored for piece in shown}, now_ms)
        self._settle(shown, now_ms)
        for number, piece in enumerate(answer.pieces):
            if piece.is_wrong:
                self._dossier.accuser.wrong_answer(answer, number, self._kept_head())
                self._wrong[piece.draw.copy.stored] = piece.draw.copy
                self._avoided.add(piece.draw.copy.stored)
        self._leave_out((piece for piece in answer.pieces if piece.shown is None), is_signed=True)

    def _settle(self, shown: Sequence[Piece], now_ms: int) -> None:
        """Note what was owed and is shown at last; after a day it is late."""
        paid = [self._owed[piece.draw.sample] for piece in shown if piece.draw.sample in self._owed]
        self._dossier.outcome.late += sum(now_ms - owed.first_ms > 1000 * AUDIT_WAIT_S for owed in paid)
        self._proven.settle(self._agreement, [piece.draw.sample for piece in shown])
        for piece in shown:
            self._left_out.pop(piece.draw.sample, None)

    def _leave_out(self, pieces: Iterable[Piece], *, is_signed: bool) -> None:
        for piece in pieces:
            self._left_out[piece.draw.sample] = _LeftOut(piece.draw, self._challenge, is_signed)

    def _kept_head(self) -> KeptHead | None:
        """Return the head that challenges name now, if the host countersigned it."""
        kept = self._custody.kept
        return kept if kept is not None and kept.number == self._standing.number else None

    def _conclude(self) -> None:
        """Write down what is owed, and tell what counts as lost."""
        dossier, outcome, now_ms = self._dossier, self._dossier.outcome, self._dossier.now_ms()
        if self._wrong:
            outcome.wrong = len(self._wrong)
            text = f"it signed wrong bytes as those of packs that it keeps: {len(self._wrong)}"
            fault = IntegrityFault(text, lost_bytes=self._measure(self._wrong.values()))
            dossier.convict(fault, hint=_LIES, copies=list(self._wrong.values()))
        lost = self._count_left_out(now_ms)
        if lost:
            outcome.lost += len(lost)
            text = f"packs that it keeps are not shown any more: {len(lost)}"
            fault = IntegrityFault(text, lost_bytes=self._measure(lost))
            dossier.convict(fault, hint=LOST_PACKS, copies=lost)
        if outcome.late:
            dossier.vault.saw(dossier.partner, Kind.LATE)
        if not outcome.shown:
            return
        account = replace(dossier.account, heard_ms=now_ms, failures=0, is_mute=False)
        is_paid = not outcome.faults and not self._proven.owed(self._agreement)
        if is_paid:
            # A sample speaks for all that it was drawn from (ADR 59); the bytes read are a thousandth of those. But
            # what a host shows beside what it owes says nothing good of it, and lets it have no more.
            covered = self._proven.cover(self._agreement, now_ms - 1000 * DAY_S * PROVEN_WITHIN_DAYS).proven_bytes
            dossier.vault.saw(dossier.partner, Kind.AUDITED, size_bytes=max(outcome.shown_bytes, covered))
        if is_paid and outcome.shown == outcome.asked:
            account = replace(account, good_ms=now_ms)
            note_cleared(dossier.vault, dossier.partner)
        dossier.save(account)

    def _count_left_out(self, now_ms: int) -> list[Copy]:
        """Note what was left out once more; return the copies that so count as lost."""
        owed, lost = [], dict[StoredId, Copy]()
        over: list[Sample] = []
        for left in self._left_out.values():
            row = self._count_once_more(left, now_ms)
            if not self._is_wanted(left.draw.copy) or left.draw.copy.stored in self._excused:
                over.append(left.draw.sample)
            elif row.times >= AUDIT_UNANSWERED and now_ms - row.first_ms >= 1000 * AUDIT_WAIT_S:
                lost[left.draw.copy.stored] = left.draw.copy
                over.append(left.draw.sample)
            else:
                owed.append(row)
        self._proven.owe(self._agreement, [row for row in owed if row.sample.stored not in lost])
        over += [sample for sample in self._owed if sample.stored in lost]
        self._proven.settle(self._agreement, over)
        return list(lost.values())

    def _count_once_more(self, left: _LeftOut, now_ms: int) -> Owed:
        sample = left.draw.sample
        row = self._owed.get(sample) or Owed(left.draw.copy.logical, sample, left.challenge, now_ms, now_ms)
        counts = left.is_signed or self._dossier.outcome.shown > 0
        return replace(row, last_ms=now_ms, times=row.times + counts, is_alone=not left.is_signed)

    def _is_wanted(self, copy: Copy) -> bool:
        """Whether a copy is neither deleted, replaced nor reported to be lost meanwhile."""
        now = self._ledger.copy_at(self._agreement, copy.logical)
        return now is not None and now.stored == copy.stored and not now.is_last

    def _measure(self, copies: Iterable[Copy]) -> int:
        head = self._dossier.vault.heads.vouched_head(self._dossier.partner)
        return measure_named(self._dossier.repository, head, copies)
