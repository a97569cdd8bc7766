"""Months without a receipt because a home was lost: who explains them, and whether the other side agrees (ADR 62).

Knows: when this home was recovered, notes, what of the shelf they are about. Must not know: sessions.
"""

from collections.abc import Container
from typing import Final

from backuppeer.agent.home.state import State
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.clock import Clock
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import RefusedError
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import CLOCK_SKEW_S, RECEIPT_GAP_MONTHS
from backuppeer.proof.receipts import GapNote, begin_of, count_months, open_gap_note, open_gap_proposal
from backuppeer.proof.statements import Agreement, add_signature, sign_statement

_RECOVERED_MS: Final = "receipts.recovered_ms"


def note_recovered(state: State, now_ms: int) -> None:
    """Note that this home was brought back from its words now."""
    state.put_setting(_RECOVERED_MS, now_ms.to_bytes(8, "big"))


class Gaps:
    """Notes about gaps, for both sides of an agreement."""

    def __init__(self, shelf: Shelf, state: State, identity: SigningKey, clock: Clock) -> None:
        self._shelf, self._state, self._identity, self._clock = shelf, state, identity, clock

    def explain(self, terms: Agreement) -> bytes:
        """Return the note that this home owes about an agreement, signed by it alone; b"" if there is none.

        The same one each time it is asked for, until the other side has signed it.
        """
        agreement = AgreementId(terms.agreement)
        me = PeerId(self._identity.public)
        if me not in {terms.owner, terms.host}:
            return b""  # the other side knows this home as it was (ADR 69): it is told first
        mine = Keep.OWNER if terms.owner == me else Keep.HOST
        newest, over = self._shelf.newest(agreement, mine), count_months(terms.start_ms, self._clock.now_ms())
        recovered_ms = int.from_bytes(self._state.setting(_RECOVERED_MS) or b"", "big")
        first, last = (newest.said.number + 1 if newest else 0), over - 1
        is_mine = newest is not None and begin_of(terms.start_ms, first) <= recovered_ms
        if not is_mine or not 0 <= last - first < RECEIPT_GAP_MONTHS or self.find(terms, first, last):
            return b""
        # Beyond the month in which it came back it was there again, and has receipts to show or none.
        last = min(last, count_months(terms.start_ms, recovered_ms) + 1)
        for said, signed in self._shelf.gaps(agreement, is_whole=False):
            if (said.first, said.last, said.by) == (first, last, me):
                return signed
        said = GapNote(
            agreement=agreement,
            by=me,
            other=PeerId(terms.host if terms.owner == me else terms.owner),
            first=first,
            last=last,
            reason="recovered",
            time_ms=self._clock.now_ms(),
        )
        signed = sign_statement(said, self._identity)
        self._shelf.keep_gap(said, signed, is_whole=False)
        return signed

    def agree(self, terms: Agreement, signed: bytes, by: PeerId) -> bytes:
        """Return a note of the other side with our signature; it is durable here then.

        Raises:
            PeerFault: it is not its own, or of another agreement.
            RefusedError: it is about months that are not over, or of which there is a receipt.

        """
        said = open_gap_proposal(signed, terms, by)
        agreement = AgreementId(terms.agreement)
        for known, whole in self._shelf.gaps(agreement):
            if known == said:
                return whole
        over = count_months(terms.start_ms, self._clock.now_ms() + CLOCK_SKEW_S * 1000)
        if said.last > over:
            raise RefusedError(f"month {said.last} is not over")
        mine = Keep.HOST if terms.owner == by else Keep.OWNER
        if any(self._shelf.find(agreement, number, mine) for number in range(said.first, said.last + 1)):
            raise RefusedError("there is a receipt of one of these months")
        whole = add_signature(signed, GapNote, self._identity)
        self._shelf.keep_gap(said, whole, is_whole=True)
        return whole

    def adopt(self, terms: Agreement, signed: bytes, before: Container[bytes] = ()) -> None:
        """Keep a note that both sides signed; before: who was a side once.

        Raises:
            PeerFault: they did not, or it is of another agreement.

        """
        said = open_gap_note(signed, terms, before)
        self._shelf.keep_gap(said, signed, is_whole=True)

    def find(self, terms: Agreement, first: int, last: int) -> GapNote | None:
        """Return a note that both sides of an agreement signed and that explains months `first` to `last`."""
        # Of this very host; its owner may have gone on as another since, and the note holds for it, too (ADR 69).
        every = (said for said, _ in self._shelf.gaps(AgreementId(terms.agreement)))
        notes = (said for said in every if terms.host in {said.by, said.other})
        return next((said for said in notes if said.first <= first and said.last >= last), None)
