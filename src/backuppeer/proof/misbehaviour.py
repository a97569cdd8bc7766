"""The judge: whether what an owner holds against a host proves something, to anybody who knows neither.

Knows: charges and rebuttals, which of them hold (ADR 36). Must not know: homes, peers, what follows for trust. Pure.

A charge holds when the host's own signatures contradict each other, and nothing that the owner signed excuses it. What
anybody else wrote, be it owner, authority or device, only decides whether there is a case. What can't be read, or does
not belong together, proves nothing. Silence is not among the charges: nobody can show it.

Excuses, from a rebuttal: a delete or withdrawal of the pack after its acknowledgement and not after the contradiction,
told by the numbers of heads; a tie is for the host. A later revision by which the agreement was over. The end of the
agreement itself needs no rebuttal. A notice of the owner whose time was over, or the word of its 24 words that let all
go at once, unless the host countersigned the head after that: then it went on. A host's own notice is no excuse:
nobody can show when the owner heard of it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from backuppeer.errors import IntegrityFault, PeerFault, ProtocolViolation
from backuppeer.ids import PeerId, StoredId
from backuppeer.proof.audits import UNANSWERED, AuditAnswer, check_shown, hash_shown, open_answer
from backuppeer.proof.case import (
    Parties,
    check_terms,
    find_terms,
    name_lasting,
    naming,
    open_ack,
    open_agreement,
    open_by_any,
    open_head,
    open_parties,
)
from backuppeer.proof.charges import AnyCharge, LostPack, OlderHead, Rebuttal, ShownRemoval, TwoHeads, WrongAnswer
from backuppeer.proof.custody import HeadHeld, LossReport, hash_signed, open_bound, open_packs
from backuppeer.proof.notices import kept_s, open_notice
from backuppeer.proof.removals import PackDelete, PackWithdraw, Removal, open_removal
from backuppeer.proof.revisions import check_parties
from backuppeer.proof.statements import Agreement, Head, HeadReceipt, open_statement, peek_statement, statement_hash
from backuppeer.proof.waivers import EndWaiver


class Crime(StrEnum):
    """What a host is found to have done; the first is a lie, the second admitted."""

    WRONG_ANSWER = "wrong-answer"
    LOST_PACK = "lost-pack"
    OLDER_HEAD = "older-head"
    TWO_HEADS = "two-heads"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it is proven that `host` did `crime` to `owner`; the two are None when not even that is sure.

    reason: what the two words of the host are, or why nothing is proven. stored: the pack, if it is about one.
    promised_ms, broken_ms: when, by the host's own clock, it gave its word and when the other; 0 if unknown.
    ignored: parts of the rebuttal that don't hold, and why; they neither help nor harm.
    """

    is_proven: bool
    reason: str
    crime: Crime | None = None
    host: PeerId | None = None
    owner: PeerId | None = None
    stored: StoredId | None = None
    promised_ms: int = 0
    broken_ms: int = 0
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Finding:
    """Two words of the host that contradict each other. numbers: heads between which a delete excuses it."""

    crime: Crime
    reason: str
    promised_ms: int
    broken_ms: int
    stored: StoredId | None = None
    numbers: tuple[int, int] = (0, -1)
    ends_with_term: bool = True
    acked_under: Agreement | None = None
    """The revision under which the host acknowledged the pack."""
    held_ms: int = 0
    """When the host countersigned the head: until then at least the agreement went on."""


def judge(charge: AnyCharge, rebuttal: Rebuttal | None = None) -> Verdict:
    """Return what a charge proves in the light of a rebuttal; never raises for what stands in either."""
    try:
        parties = open_parties(charge.agreements)
    except PeerFault as exc:
        return Verdict(is_proven=False, reason=exc.message)
    nothing = Verdict(is_proven=False, reason="", host=parties.host, owner=parties.owner)
    try:
        finding = _find(charge, parties)
    except PeerFault as exc:
        return replace(nothing, reason=exc.message)
    excuses, ignored = _hear(rebuttal or Rebuttal(), parties, finding)
    return Verdict(
        is_proven=not excuses,
        reason=excuses[0] if excuses else finding.reason,
        crime=finding.crime,
        host=parties.host,
        owner=parties.owner,
        stored=finding.stored,
        promised_ms=finding.promised_ms,
        broken_ms=finding.broken_ms,
        ignored=tuple(ignored),
    )


# --- the charges
def _find(charge: AnyCharge, parties: Parties) -> _Finding:
    """Return the contradiction that a charge names.

    Raises:
        PeerFault: there is none.

    """
    head, receipt = open_head(parties, charge.head, charge.grant, charge.receipt)
    if isinstance(charge, WrongAnswer):
        return _find_wrong_answer(charge, parties, head)
    if isinstance(charge, LostPack):
        return replace(_find_lost_pack(charge, parties, head), held_ms=receipt.time_ms)
    if isinstance(charge, OlderHead):
        return _find_older_head(charge, parties, receipt)
    return _find_two_heads(charge, parties, receipt)


def _find_wrong_answer(charge: WrongAnswer, parties: Parties, head: Head) -> _Finding:
    with naming("the answer"):
        terms = find_terms(AuditAnswer, charge.answer, parties)
        answer, asked = open_answer(charge.answer, charge.challenge, host=terms.host, owner=terms.owner)
        if asked.agreement != parties.agreement:
            raise ProtocolViolation("it is of another agreement")
        check_terms(answer, parties)
        if (asked.head_hash, asked.number) != (statement_hash(charge.head), head.number):
            raise ProtocolViolation("the challenge names another head")
        if charge.sample >= len(asked.samples) or answer.answers[charge.sample] == UNANSWERED:
            raise ProtocolViolation("the host did not answer this sample")
        # All that is judged below is what the host signed: length, path and bytes.
        if hash_shown(charge.shown) != answer.answers[charge.sample]:
            raise ProtocolViolation("the host signed other bytes than these")
    sample = asked.samples[charge.sample]
    ack = open_ack(charge, parties, sample.stored, head)
    try:
        check_shown(sample, charge.shown)
    except IntegrityFault:
        pass
    else:
        raise ProtocolViolation("the answer proves nothing: these are the bytes of the pack")
    return _Finding(
        crime=Crime.WRONG_ANSWER,
        reason="the host signed bytes as those of a pack that it keeps, and they are not",
        promised_ms=ack.time_ms,
        broken_ms=answer.time_ms,
        stored=sample.stored,
        numbers=(ack.number, asked.number),
        acked_under=parties.revisions[ack.terms],
        ends_with_term=False,
    )


def _find_lost_pack(charge: LostPack, parties: Parties, head: Head) -> _Finding:
    ack = open_ack(charge, parties, charge.stored, head)
    with naming("the loss report"):
        host = find_terms(LossReport, charge.report, parties).host
        report = open_packs(LossReport, charge.report, charge.lost, host=host, agreement=parties.agreement)
        check_terms(report, parties)
        if charge.stored not in charge.lost:
            raise ProtocolViolation("it does not name this pack")
        if report.number < head.number:
            raise ProtocolViolation(f"it came before head {head.number}, which so does not cover the pack")
    return _Finding(
        crime=Crime.LOST_PACK,
        reason=f"the host lost a pack that it had acknowledged, and says so ({report.cause})",
        promised_ms=ack.time_ms,
        broken_ms=report.time_ms,
        stored=charge.stored,
        numbers=(ack.number, report.number),
        acked_under=parties.revisions[ack.terms],
    )


def _find_older_head(charge: OlderHead, parties: Parties, receipt: HeadReceipt) -> _Finding:
    with naming("the later word on the head held"):
        host = find_terms(HeadHeld, charge.held, parties).host
        held = open_bound(HeadHeld, charge.held, host, agreement=parties.agreement)
        check_terms(held, parties)
        # With the signature, which nobody knows beforehand: so the countersignature came first, whatever clocks say.
        if held.receipt != hash_signed(charge.receipt):
            raise ProtocolViolation("it was not given upon this countersignature, so it may be older")
        if held.number > receipt.number or held.head_hash == receipt.head_hash:
            raise ProtocolViolation(f"it names no earlier head than head {receipt.number}")
    instead = "another one of that number" if held.number == receipt.number else f"head {held.number}"
    return _Finding(
        crime=Crime.OLDER_HEAD,
        reason=f"the host countersigned head {receipt.number}, and later held {instead if held.number else 'none'}",
        promised_ms=receipt.time_ms,
        broken_ms=held.time_ms,
        held_ms=receipt.time_ms,
    )


def _find_two_heads(charge: TwoHeads, parties: Parties, receipt: HeadReceipt) -> _Finding:
    with naming("the other head"):
        _, other = open_head(parties, charge.other_head, charge.other_grant, charge.other_receipt)
        if other.number != receipt.number:
            raise ProtocolViolation(f"it has number {other.number}, not {receipt.number}")
        if other.head_hash == receipt.head_hash:
            raise ProtocolViolation("it is the same head")
    return _Finding(
        crime=Crime.TWO_HEADS,
        reason=f"the host countersigned two different heads as number {receipt.number}",
        promised_ms=min(receipt.time_ms, other.time_ms),
        broken_ms=max(receipt.time_ms, other.time_ms),
        ends_with_term=False,
    )


# --- the defence
def _hear(rebuttal: Rebuttal, parties: Parties, finding: _Finding) -> tuple[list[str], list[str]]:
    """Return what excuses the host, and what of its rebuttal doesn't hold and why."""
    excuses = [_explain_end(parties.last)] if _is_over(parties.last, finding) else []
    ignored: list[str] = []
    for number, shown in enumerate(rebuttal.removals, 1):
        try:
            excuses.append(_excuse_by_removal(shown, parties, finding))
        except PeerFault as exc:
            ignored.append(f"request {number} is no excuse: {exc.message}")
    chain = [parties.last]
    for number, signed in enumerate(rebuttal.agreements, 1):
        try:
            excuses.append(_excuse_by_end(signed, chain, finding))
        except PeerFault as exc:
            ignored.append(f"revision {number} is no excuse: {exc.message}")
    for number, signed in enumerate(rebuttal.endings, 1):
        try:
            excuses.append(_excuse_by_ending(signed, parties, finding))
        except PeerFault as exc:
            ignored.append(f"ending {number} is no excuse: {exc.message}")
    return excuses, ignored


def _excuse_by_removal(shown: ShownRemoval, parties: Parties, finding: _Finding) -> str:
    """Return the excuse that a request of the owner is.

    Raises:
        PeerFault: it is none.

    """
    kind = _find_kind(shown.signed)
    # Who was succeeded before the host gave its word is the owner no more: a thief may have its key.
    after = parties.owners.index(PeerId(finding.acked_under.owner)) if finding.acked_under else 0
    said = open_by_any(
        parties.owners[after:],
        lambda owner: open_removal(kind, shown.signed, shown.packs, owner=owner, agreement=parties.agreement),
    )
    if finding.stored is None or finding.stored not in shown.packs:
        raise ProtocolViolation("it is not about this pack")
    first, last = finding.numbers
    # A tie is for the host: within one head nobody can tell what came first.
    if not first <= said.number <= last:
        raise ProtocolViolation(f"it was made upon head {said.number}; it would have to be upon head {first} to {last}")
    return f"the owner asked for the pack to be removed, upon head {said.number}"


def _find_kind(signed: bytes) -> type[Removal]:
    try:
        peek_statement(PackDelete, signed)
    except ProtocolViolation:
        return PackWithdraw
    return PackDelete


def _excuse_by_end(signed: bytes, chain: list[Agreement], finding: _Finding) -> str:
    """Return the excuse that a later revision is; one that belongs to the chain is added to it.

    Raises:
        PeerFault: it is none.

    """
    terms = open_agreement(signed)
    if name_lasting(terms) != name_lasting(chain[0]):
        raise ProtocolViolation("it is of another agreement")
    if terms.revision <= chain[0].revision:
        raise ProtocolViolation("it is not later than those shown")
    check_parties(chain[-1], terms)
    chain.append(terms)
    if not _is_over(terms, finding):
        raise ProtocolViolation("by it the agreement was not over")
    return _explain_end(terms)


def _excuse_by_ending(signed: bytes, parties: Parties, finding: _Finding) -> str:
    """Return the excuse that a notice of the owner, or its leave to end at once, is.

    Raises:
        PeerFault: it is none.

    """
    over_ms, what = _read_waiver(signed, parties) if _is_waiver(signed) else _read_notice(signed, parties)
    if not finding.ends_with_term:
        raise ProtocolViolation("no end of an agreement excuses this")
    if finding.broken_ms < over_ms:
        raise ProtocolViolation("it was not over by then")
    if finding.held_ms >= over_ms:
        raise ProtocolViolation("the host countersigned the head after that: the agreement went on")
    return what


def _is_waiver(signed: bytes) -> bool:
    try:
        peek_statement(EndWaiver, signed)
    except ProtocolViolation:
        return False
    return True


def _read_waiver(signed: bytes, parties: Parties) -> tuple[int, str]:
    waiver = open_statement(EndWaiver, signed, parties.authority)
    if waiver.agreement != parties.agreement or waiver.host not in parties.hosts:
        raise ProtocolViolation("it is of another agreement")
    return waiver.time_ms, "the owner let all of it be erased at once, with its 24 words"


def _read_notice(signed: bytes, parties: Parties) -> tuple[int, str]:
    notice = open_notice(signed, parties.last, *parties.owners, *parties.hosts)
    if notice.party not in parties.owners:
        raise ProtocolViolation("it is the host's own, and nobody can show when the owner heard of it")
    if not notice.ends:
        raise ProtocolViolation("it takes an end back")
    if notice.time_ms > parties.left_ms.get(notice.party, notice.time_ms):
        raise ProtocolViolation("it was given by who was no owner any more")
    # By wall time, which is the soonest: hosts count only days on which they run.
    return notice.time_ms + 1000 * kept_s(parties.last, parties.owner), "the owner gave notice, and its time was over"


def _is_over(terms: Agreement, finding: _Finding) -> bool:
    return finding.ends_with_term and finding.broken_ms >= terms.start_ms + 1000 * terms.term_s


def _explain_end(terms: Agreement) -> str:
    return f"the agreement was over by then (revision {terms.revision})"
