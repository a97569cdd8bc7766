"""The first part of an audit: what a host says of itself, compared with what it had said before.

Knows: heads, acknowledgements, loss reports; which of them are kept. Must not know: samples. What is not said upon the
revision and head that this home knows the host to have, or not at about this time, is not kept: else a host could date
its way out of a proof (ADR 36).
"""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from backuppeer.agent.audits.dossier import Dossier
from backuppeer.agent.owner.heads import ROLLED_BACK
from backuppeer.agent.owner.hosts_of_before import open_kept_receipt
from backuppeer.agent.owner.losses import LOST_PACKS
from backuppeer.agent.owner.testimony import Loss, ask_ack, ask_again, hear_head, read_losses
from backuppeer.errors import IntegrityFault, ProtocolViolation
from backuppeer.limits import ACK_EXCHANGES, ACK_PACKS, AUDIT_DOUBTS, CLOCK_SKEW_S, LOSSES_WEIGHED_AT_ONCE
from backuppeer.proof.custody import HeadHeld, LossCause, Standing, StoreAck
from backuppeer.proof.statements import ZERO_HASH, statement_hash
from backuppeer.shares.accounts import Ack, KeptHead
from backuppeer.shares.copies import PAGE_ROWS, Copy
from backuppeer.trust.conduct import add_told
from backuppeer.trust.evidence import Kind
from backuppeer.wire.messages import HeadIs


class Custody:
    """What one host says of itself in one audit."""

    def __init__(self, dossier: Dossier) -> None:
        self._dossier = dossier
        self._partner, self._agreement = dossier.partner, dossier.partner.agreement
        self._proven, self._clock = dossier.repository.proven, dossier.vault.clock
        self.kept: KeptHead | None = None
        """The newest head that it countersigned, whole."""
        self._told_bytes: int | None = None
        """Of all that it reported lost and was not sent again since; None: no report was read yet."""

    async def hear_head(self) -> Standing | None:
        """Return revision and head upon which the host can be asked; None when it can't, and the outcome says why.

        Raises:
            PeerFault: its answer does not hold.
            DamagedStateError: two histories, both signed by this home; or a head of a newer version.
            RefusedError, Unavailable: as `testimony.hear_head`.

        """
        dossier, heads = self._dossier, self._dossier.vault.heads
        terms = statement_hash(dossier.terms)
        self._proven.keep_terms(self._agreement, terms, dossier.terms)
        promised = heads.promise_of(self._partner)
        self.kept = self._keep_head(promised) if promised else None
        ask = partial(hear_head, self._partner, terms=terms, receipt=promised or b"", nonce=secrets.token_bytes(16))
        held, said = await ask_again(ask, self._clock)
        number, is_newer = heads.weigh(held)
        self._check_word(held, said, number)
        try:
            heads.check_promise(self._partner, held, promised)
        except IntegrityFault as exc:
            dossier.accuser.older_head(held.held, self.kept)
            dossier.convict(exc, hint=ROLLED_BACK)
        if is_newer:
            dossier.outcome.skipped = "it knows a newer state than this machine: a backup or a restore catches up"
            return None
        if not number:
            dossier.outcome.skipped = "no finished backup of yours lies there yet"
            return None
        return Standing(self._agreement, terms, statement_hash(held.head), number)

    def _check_word(self, held: HeadIs, said: HeadHeld | None, number: int) -> None:
        shown = (statement_hash(held.head) if held.head else ZERO_HASH, number)
        if said is not None and (said.head_hash, said.number) != shown:
            raise ProtocolViolation("it signs that it holds another head than it shows")

    def _keep_head(self, receipt: bytes) -> KeptHead | None:
        """Keep a countersigned head whole; None if the head itself is not known here any more."""
        deeds = self._dossier.vault.deeds
        said = open_kept_receipt(deeds, self._agreement, self._partner.peer, receipt)
        rows = self._dossier.vault.heads.known_from(said.number)
        found = next((row for row in rows if statement_hash(row[1]) == said.head_hash), None)
        if found is None:
            return None
        kept = KeptHead(said.number, receipt, found[1], found[2])
        known = [other for other in self._proven.heads(self._agreement) if other.number == kept.number]
        if kept.head in {other.head for other in known}:
            return kept  # compared when it came: told once
        self._proven.keep_head(self._agreement, kept)
        for other in known:
            self._dossier.accuser.two_heads(other, kept)
            fault = IntegrityFault(f"it countersigned two different heads as number {kept.number}")
            self._dossier.convict(fault, hint=ROLLED_BACK)
        return kept

    # losses
    async def hear_losses(self) -> None:
        """Read the host's new reports of lost packs, and count what it lost no more.

        Raises:
            PeerFault, RefusedError, Unavailable: as `testimony.read_losses`.

        """
        batch: list[Loss] = []
        try:
            async for loss in read_losses(
                self._partner, self._dossier.account.reports, self._clock, self._dossier.vault.deeds
            ):
                batch.append(loss)
                if len(batch) >= LOSSES_WEIGHED_AT_ONCE:
                    await asyncio.to_thread(self._weigh, batch)
                    batch = []
        finally:
            # Also when the host went away: what it reported until then is lost.
            await asyncio.to_thread(self._weigh, batch)

    def _weigh(self, batch: Sequence[Loss]) -> None:
        """Count what some reports name as lost, and note that they were read."""
        if not batch:
            return
        found = self._find_lost(batch)
        for loss in batch:
            if copies := found.get(loss.number):
                self._lose(loss, copies)
            self._dossier.save(replace(self._dossier.account, reports=loss.number))

    def _find_lost(self, batch: Sequence[Loss]) -> dict[int, list[Copy]]:
        """Return which copies that count each report names first; what was deleted, or replaced since, is no loss.

        One walk over the ledger for all of them: a host chooses how many reports there are.
        """
        ledger, found = self._dossier.repository.ledger, dict[int, list[Copy]]()
        numbers = {stored: loss.number for loss in reversed(batch) for stored in loss.packs}
        spoiled = ledger.spoiled_at(self._agreement)
        for copy in ledger.copies_at(self._agreement):
            if copy.stored in numbers and copy.stored not in spoiled:
                found.setdefault(numbers[copy.stored], []).append(copy)
        return found

    def _lose(self, loss: Loss, copies: list[Copy]) -> None:
        dossier = self._dossier
        dossier.outcome.lost += len(copies)
        dossier.accuser.lost_pack(loss, copies[0].stored)
        fault = IntegrityFault(f"it reports that it lost packs of yours: {len(copies)} ({loss.said.cause})")
        # Told by itself: weighs a quarter of what a host is blamed for that is found out (DESIGN 8).
        told_bytes = self._count_told(sum(copy.size for copy in copies))
        dossier.vault.saw(self._partner, Kind.REPORTED_LOSS, size_bytes=told_bytes)
        is_readable = loss.said.cause is LossCause.DAMAGED
        dossier.convict(fault, hint=LOST_PACKS, copies=copies if is_readable else (), is_blamed=False)
        if not is_readable:
            # Forgotten, so that the next list of packs does not blame it a second time for what it told.
            dossier.repository.ledger.forget_copies(copies)
            self._proven.disown(self._agreement, [copy.stored for copy in copies])

    def _count_told(self, size_bytes: int) -> int:
        if self._told_bytes is None:
            self._told_bytes = add_told(self._dossier.vault.standing.conduct(self._partner.peer), 0)
        self._told_bytes += size_bytes
        return self._told_bytes

    # acknowledgements
    async def acknowledge(self, standing: Standing) -> list[Copy]:
        """Have the host acknowledge what it did not yet; return some of what it was asked for and did not.

        Raises:
            PeerFault, RefusedError, Unavailable: as `testimony.ask_ack`.

        """
        doubts: list[Copy] = []
        missing = self._find_unacknowledged()
        asked = 0
        while (batch := await asyncio.to_thread(next, missing, None)) is not None:
            if asked < ACK_EXCHANGES:
                asked += 1
                doubts += await self._ask_ack(batch, standing)
        return doubts[:AUDIT_DOUBTS]

    async def _ask_ack(self, batch: list[Copy], standing: Standing) -> list[Copy]:
        told = await ask_ack(self._partner, [copy.stored for copy in batch], self._clock)
        if told is None:
            return batch
        signed, said, packs = told
        if said.standing == standing and self._is_near(said):
            ack = Ack(said.number, signed, packs)
            await asyncio.to_thread(self._proven.keep_ack, self._agreement, ack)
            self._dossier.outcome.acked += len(packs)
        named = set(packs)
        return [copy for copy in batch if copy.stored not in named]

    def _is_near(self, said: StoreAck) -> bool:
        return abs(said.time_ms - self._clock.now_ms()) <= CLOCK_SKEW_S * 1000

    def _find_unacknowledged(self) -> Iterator[list[Copy]]:
        """Yield the copies without an acknowledgement, ACK_PACKS at a time; walks over all, and forgets the others."""
        ledger, round_ms = self._dossier.repository.ledger, self._clock.now_ms()
        spoiled = ledger.spoiled_at(self._agreement)
        batch: list[Copy] = []
        copies = ledger.copies_at(self._agreement)
        while page := list(islice(copies, PAGE_ROWS)):
            missing = set(self._proven.take_in(self._agreement, page, round_ms))
            batch += [copy for copy in page if copy.stored in missing and copy.stored not in spoiled]
            while len(batch) >= ACK_PACKS:
                yield batch[:ACK_PACKS]
                batch = batch[ACK_PACKS:]
        if batch:
            yield batch
        self._proven.sweep(self._agreement, round_ms)
