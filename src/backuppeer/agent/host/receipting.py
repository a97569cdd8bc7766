"""Receipts as the host in them: checked against what is kept, signed, and handed back (ADR 62).

Knows: agreements in force here, how much is kept, the chain of months. Must not know: sessions but to ask an owner for
what this home lost, what a receipt is worth. A month that was signed once is never signed otherwise.
"""

import threading
from collections.abc import Callable, Sequence

from backuppeer.agent.host.premises import Premises
from backuppeer.agent.host.threads import in_thread
from backuppeer.agent.peers.channel import Channel
from backuppeer.agent.peers.session import Session
from backuppeer.agent.repute.gaps import Gaps
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.agent.repute.shelves import Keep
from backuppeer.clock import Clock
from backuppeer.errors import NotFoundError, ProtocolViolation, RefusedError
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import MY_RECEIPTS_PAGE, RECEIPT_GAP_MONTHS
from backuppeer.proof.receipts import Receipt, Shown, check_next, check_pair, count_months, is_gap_note, open_receipt
from backuppeer.proof.statements import Agreement, add_signature, open_proposal
from backuppeer.trust.receipts import find_fault
from backuppeer.wire.receipts import GetMyReceipts, MyReceiptsAre, ProposeReceipt, ReceiptSigned

OwnReceiptsRequest = ProposeReceipt | GetMyReceipts
AgreeGap = Callable[[PeerId, AgreementId, bytes], bytes]
"""(host, agreement, its note about a gap) of an agreement of ours as owner → with our signature."""


class Countersigning:
    """Receipts of the agreements in which this home is the host."""

    def __init__(self, premises: Premises, clock: Clock, *, shelf: Shelf, gaps: Gaps) -> None:
        self._premises, self._clock = premises, clock
        self._shelf, self._gaps = shelf, gaps
        self._signing = threading.Lock()
        self.agree_gap: AgreeGap = _know_no_host
        self.line_of: Callable[[PeerId], Sequence[PeerId]] = lambda peer: (peer,)
        """A peer and all whose heir it is (ADR 69): it goes on with their receipts."""

    async def answer(self, peer: PeerId, channel: Channel, message: OwnReceiptsRequest) -> None:
        """Answer one request about the receipts of an agreement with the asking peer.

        Raises:
            PeerFault, RefusedError, NotFoundError: as `sign`.

        """
        if isinstance(message, GetMyReceipts):
            await channel.send(await in_thread(self.tell, peer, message))
        else:
            await channel.send(ReceiptSigned(signed=await in_thread(self.sign, peer, message)))

    def tell(self, peer: PeerId, message: GetMyReceipts) -> MyReceiptsAre:
        """Return the receipts of an agreement with this peer that both signed, a page of them; as either side."""
        line = self.line_of(peer)
        found = self._shelf.chain(message.agreement, *line, after=message.after, limit=MY_RECEIPTS_PAGE + 1)
        gaps = self._shelf.gaps(message.agreement)
        notes = [signed for said, signed in gaps if not {said.by, said.other}.isdisjoint(line)]
        return MyReceiptsAre(
            receipts=tuple(shown.signed for shown in found[:MY_RECEIPTS_PAGE]),
            more=len(found) > MY_RECEIPTS_PAGE,
            notes=tuple(notes[-RECEIPT_GAP_MONTHS:]),
        )

    def sign(self, peer: PeerId, message: ProposeReceipt) -> bytes:
        """Return a receipt, or a note about a gap, with both signatures; the one of that month if there is one.

        Raises:
            NotFoundError: it is no agreement with this peer.
            RefusedError: less is kept than it says, it does not continue the chain, or its month is not over.
            PeerFault: malformed, or not signed by this peer.

        """
        is_gap = is_gap_note(message.signed)
        terms = self._find_terms(peer, message.agreement)
        if terms is None:
            if is_gap:
                return self.agree_gap(peer, message.agreement, message.signed)
            raise NotFoundError("no such agreement with you")
        if is_gap:
            return self._gaps.agree(terms, message.signed, peer)
        said = open_proposal(Receipt, message.signed, peer)
        # One at a time: of two words on one month that come at once, the second gets what was signed upon the first.
        with self._signing:
            return self._sign_one(said, terms, message)

    def _sign_one(self, said: Receipt, terms: Agreement, message: ProposeReceipt) -> bytes:
        if (known := self._shelf.find(message.agreement, said.number, Keep.HOST)) is not None:
            return known.signed
        self._check(said, terms, message)
        signed = add_signature(message.signed, Receipt, self._premises.names.signer(PeerId(terms.host)))
        # Durable before it is shown: two for one month would count nothing, both.
        self._shelf.keep(open_receipt(signed), Keep.HOST)
        return signed

    def _check(self, said: Receipt, terms: Agreement, message: ProposeReceipt) -> None:
        if not said.kept:
            raise RefusedError("nobody signs that it failed")
        if fault := find_fault(said, self._clock.now_ms()):
            raise RefusedError(fault, hint="is the clock right?")
        newest = self._learn_before(terms, message.before)
        if newest is not None and newest.said.number >= said.number:
            raise RefusedError(f"month {newest.said.number} was signed already")
        gap = self._gaps.find(terms, newest.said.number + 1, said.number - 1) if newest else None
        try:
            check_next(said, terms, newest, gap)
        except ProtocolViolation as exc:
            # An owner that was set back to an old state means no harm; it asks for its receipts next time.
            raise RefusedError(exc.message, hint="ask for the receipts that there are") from exc
        if self._premises.open().quota.used_bytes(message.agreement) < said.size_bytes:
            raise RefusedError("less is kept here than that")

    def _learn_before(self, terms: Agreement, before: bytes) -> Shown | None:
        """Return the newest receipt of an agreement; one that this home signed and lost is taken back."""
        newest = self._shelf.newest(AgreementId(terms.agreement), Keep.HOST)
        if before:
            shown = open_receipt(before)
            self._check_own(shown, terms)
            if newest is None or newest.said.number < shown.said.number:
                self._shelf.keep(shown, Keep.HOST)
                return shown
        return newest

    async def heal(self, session: Session) -> None:
        """Ask an owner for the receipts that this home lost, and explain a gap that is its own; for each session.

        Raises:
            PeerFault: it shows others than ours.
            RefusedError: it knows no receipts.
            PeerUnreachable: it went away.

        """
        for lease in await in_thread(self._premises.leases_of, session.peer):
            over = count_months(lease.terms.start_ms, self._clock.now_ms())
            if over and self._shelf.newest(lease.agreement, Keep.HOST) is None:
                await self._ask_back(session, lease.terms)
            if note := self._gaps.explain(lease.terms):
                async with session.request(ProposeReceipt(agreement=lease.agreement, signed=note)) as channel:
                    self._gaps.adopt(lease.terms, (await channel.receive(ReceiptSigned)).signed)

    async def _ask_back(self, session: Session, terms: Agreement) -> None:
        after, more = 0, True
        while more:
            async with session.request(GetMyReceipts(agreement=terms.agreement, after=after)) as channel:
                answer = await channel.receive(MyReceiptsAre)
            for signed in answer.receipts:
                shown = open_receipt(signed)
                self._check_own(shown, terms)
                if shown.said.number <= after:
                    raise ProtocolViolation("receipts are not in the order of their months")
                self._shelf.keep(shown, Keep.HOST)
                after = shown.said.number
            more = answer.more and bool(answer.receipts)

    def _check_own(self, shown: Shown, terms: Agreement) -> None:
        store = self._premises.open()
        names = store.leases.names(store.leases.get(AgreementId(terms.agreement)))
        check_pair(shown.said, terms, [*self.line_of(PeerId(terms.owner)), *names])
        if not shown.is_cosigned:
            raise ProtocolViolation("a receipt lacks the host's signature")

    def _find_terms(self, owner: PeerId, agreement: AgreementId) -> Agreement | None:
        leases = self._premises.leases_of(owner)
        return next((lease.terms for lease in leases if lease.agreement == agreement), None)


def _know_no_host(host: PeerId, agreement: AgreementId, signed: bytes) -> bytes:
    del host, agreement, signed
    raise NotFoundError("no such agreement with you")
