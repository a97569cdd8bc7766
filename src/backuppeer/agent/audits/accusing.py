"""Proofs of misbehaviour: put together of what a host signed, judged, and written into the home for its person.

Knows: what `proven` keeps, charges, the judge, the folder `proofs` of the home. Must not know: sessions, what follows
for trust. Nothing is written that does not convict: whether it does is told by the judge that strangers use.
"""

from pathlib import Path
from typing import TypedDict

import structlog

from backuppeer.agent.audits.challenging import Answer
from backuppeer.agent.home.deeds import Deeds
from backuppeer.agent.home.home import PROOFS, Home, write_private
from backuppeer.agent.owner.testimony import Loss
from backuppeer.agent.peers.partners import Partner
from backuppeer.errors import LocalError
from backuppeer.ids import StoredId
from backuppeer.limits import AUDIT_PROOFS
from backuppeer.proof.charges import AnyCharge, LostPack, OlderHead, TwoHeads, WrongAnswer, pack_charge
from backuppeer.proof.misbehaviour import Crime, judge
from backuppeer.proof.revisions import add_steps
from backuppeer.proof.statements import Agreement, peek_statement
from backuppeer.shares.accounts import Ack, KeptHead
from backuppeer.shares.proven import Proven

_log = structlog.get_logger()


class _Common(TypedDict):
    agreements: list[bytes]
    head: bytes
    grant: bytes
    receipt: bytes


class Accuser:
    """Makes proofs against one host in one audit; at most AUDIT_PROOFS of them, each holds by itself."""

    def __init__(self, home: Home, proven: Proven, partner: Partner, deeds: Deeds) -> None:
        self._folder = home.path / PROOFS
        self._proven, self._partner, self._deeds = proven, partner, deeds
        self.written: list[Path] = []
        self.has_lied = False
        """Whether a proof convicts it of a lie, be it one that was written before. A loss that it admits is none."""

    def wrong_answer(self, answer: Answer, number: int, kept: KeptHead | None) -> None:
        """Accuse of the piece `number` of an answer; `kept`: the head that the challenge named.

        Raises:
            LocalError: a disk that refuses.

        """
        piece = answer.pieces[number]
        ack = self._proven.ack_of(self._partner.agreement, piece.draw.copy.stored)
        if kept is None or ack is None or piece.shown is None:
            return
        charge = WrongAnswer(
            **self._common(kept),
            ack=ack.signed,
            acked=list(ack.packs),
            challenge=answer.challenge,
            answer=answer.signed,
            sample=number,
            length=piece.shown.length,
            path=list(piece.shown.path),
            data=bytes(piece.shown.data),
        )
        self._write(charge, "wrong-answer", piece.draw.copy.stored)

    def lost_pack(self, loss: Loss, stored: StoredId) -> None:
        """Accuse of the loss of a pack that a report names.

        Raises:
            LocalError: a disk that refuses.

        """
        ack = self._proven.ack_of(self._partner.agreement, stored)
        kept = self._head_between(ack, loss.said.number) if ack is not None else None
        if ack is None or kept is None:
            return
        charge = LostPack(
            **self._common(kept),
            ack=ack.signed,
            acked=list(ack.packs),
            report=loss.signed,
            lost=list(loss.packs),
            stored=stored,
        )
        self._write(charge, "lost-pack", stored)

    def older_head(self, held: bytes, kept: KeptHead | None) -> None:
        """Accuse of holding another head than `kept`, by the host's word `held` upon its countersignature of that.

        Raises:
            LocalError: a disk that refuses.

        """
        if kept is not None and held:
            name = StoredId(kept.number.to_bytes(8, "big"))
            self._write(OlderHead(**self._common(kept), held=held), "older-head", name)

    def two_heads(self, kept: KeptHead, other: KeptHead) -> None:
        """Accuse of two countersigned heads of one number.

        Raises:
            LocalError: a disk that refuses.

        """
        charge = TwoHeads(
            **self._common(kept), other_head=other.head, other_grant=other.grant, other_receipt=other.receipt
        )
        self._write(charge, "two-heads", StoredId(kept.number.to_bytes(8, "big")))

    def _head_between(self, ack: Ack, last: int) -> KeptHead | None:
        """Return a head that was countersigned after an acknowledgement, and not after head `last`: it covers it."""
        kept = [one for one in self._proven.heads(self._partner.agreement) if ack.head < one.number <= last]
        return kept[-1] if kept else None

    def _common(self, kept: KeptHead) -> _Common:
        kept_terms = list(self._proven.terms(self._partner.agreement).values())
        first = min((peek_statement(Agreement, signed).revision for signed in kept_terms), default=0)
        terms = add_steps(kept_terms, self._deeds.after(self._partner.agreement, first), after=first)
        return _Common(agreements=terms, head=kept.head, grant=kept.grant, receipt=kept.receipt)

    def _write(self, charge: AnyCharge, crime: str, about: bytes) -> None:
        path = self._folder / f"{crime}-{self._partner.peer.hex()[:12]}-{about.hex()[:16]}.proof"
        verdict = judge(charge)
        if not verdict.is_proven:
            _log.info("no proof", crime=crime, reason=verdict.reason)
            return
        self.has_lied |= verdict.crime is not Crime.LOST_PACK
        # One for each deed: what was proven once is not written again each day.
        if len(self.written) >= AUDIT_PROOFS or path.exists():
            return
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_private(path, pack_charge(charge))
        except OSError as exc:
            raise LocalError(f"can't write the proof {path}: {exc.strerror}", hint="is the disk full?") from exc
        self.written.append(path)
