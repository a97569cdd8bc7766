"""Receipts: what can't be said, and how one follows another."""

from functools import partial

import msgspec
import pytest

from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, ProtocolViolation
from backuppeer.limits import RECEIPT_GAP_MONTHS, RECEIPT_MOST_BYTES, VOUCH_TERM_S
from backuppeer.proof.receipts import (
    MONTH_MS,
    GapNote,
    Receipt,
    Vouch,
    begin_of,
    check_next,
    count_months,
    is_gap_note,
    open_gap_note,
    open_gap_proposal,
    open_receipt,
    open_vouch,
    propose_receipt,
)
from backuppeer.proof.statements import ZERO_HASH, add_signature, sign_statement
from proof.test_statements import AGREEMENT as TERMS
from proof.test_statements import HOST, OTHER, OWNER

START = TERMS.start_ms
propose = partial(propose_receipt, TERMS, identity=OWNER, size_bytes=10**9, kept=True, private=False)


def cosign(signed: bytes) -> bytes:
    return add_signature(signed, Receipt, HOST)


def make(before, number: int, gap=None):
    return open_receipt(cosign(propose(before, gap, number=number)))


def change(shown, **fields) -> bytes:
    """Sign other fields, as hostile peers do who agree."""
    said = msgspec.structs.replace(shown.said, **fields)
    blob = msgspec.msgpack.encode(said)
    signatures = b"".join(key.sign(Receipt.purpose, blob) for key in (OWNER, HOST))
    return len(blob).to_bytes(4, "big") + blob + signatures


def note(by: SigningKey = OWNER, *, first: int = 2, last: int = 2) -> bytes:
    other = HOST if by is OWNER else OWNER
    said = GapNote(
        agreement=TERMS.agreement,
        by=by.public,
        other=other.public,
        first=first,
        last=last,
        reason="recovered",
        time_ms=START,
    )
    return sign_statement(said, by, other)


def test_months_of_an_agreement_follow_each_other_from_its_start():
    assert [begin_of(START, number) - START for number in (1, 2)] == [0, MONTH_MS]
    assert count_months(START, START + MONTH_MS - 1) == count_months(START, 0) == 0
    assert count_months(START, START + 2 * MONTH_MS) == 2


def test_receipts_in_a_row_name_each_other_and_say_since_when():
    first = make(None, 1)
    second = make(first, 2)
    third = make(second, 3)
    assert (first.said.previous, second.said.previous, third.said.previous) == (ZERO_HASH, first.hash, second.hash)
    assert {shown.said.since_ms for shown in (first, second, third)} == {START}
    for before, shown in ((None, first), (first, second), (second, third)):
        check_next(shown.said, TERMS, before, None)


def test_a_gap_ends_what_was_before_unless_both_signed_why():
    first = make(None, 1)
    broken = make(first, 3)
    assert broken.said.since_ms == broken.said.from_ms
    gap = open_gap_note(note(), TERMS)
    mended = make(first, 3, gap)
    assert mended.said.since_ms == START
    check_next(mended.said, TERMS, first, gap)
    with pytest.raises(ProtocolViolation, match="does not continue the chain"):
        check_next(mended.said, TERMS, first, None)


def test_a_note_about_other_months_explains_no_gap():
    gap = open_gap_note(note(first=3, last=3), TERMS)
    assert make(make(None, 1), 4, gap).said.since_ms == begin_of(START, 4)


def test_a_receipt_that_the_host_has_not_signed_is_one_sided_and_the_same_once_it_has():
    one_sided = open_receipt(propose(None, None, number=1))
    both = open_receipt(cosign(one_sided.signed))
    assert (one_sided.is_cosigned, both.is_cosigned) == (False, True)
    assert one_sided.hash == both.hash


def test_a_claim_of_a_failure_is_never_countersigned():
    claim = propose(None, None, number=1, kept=False)
    assert not open_receipt(claim).said.kept
    with pytest.raises(ProtocolViolation, match="no claim"):
        open_receipt(cosign(claim))


@pytest.mark.parametrize(
    "signed",
    [
        lambda: sign_statement(make(None, 1).said, OWNER)[:-1],
        lambda: make(None, 1).signed[:-64] + bytes(64),
        lambda: make(None, 1).signed[:40],
        lambda: make(None, 1).signed[: -2 * 64],
        lambda: make(None, 1).signed + bytes(64),
    ],
    ids=["short", "forged", "truncated", "unsigned", "oversized"],
)
def test_forged_and_truncated_receipts_are_refused(signed):
    with pytest.raises((AuthenticationFault, ProtocolViolation)):
        open_receipt(signed())


def test_what_a_stranger_signed_for_the_host_is_refused():
    with pytest.raises(AuthenticationFault):
        open_receipt(propose(None, None, number=1) + OTHER.sign(Receipt.purpose, b"anything"))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"until_ms": START + 7}, "another time than a month"),
        ({"since_ms": START - 40 * MONTH_MS}, "no 2 months"),
        ({"since_ms": START + 1}, "no 2 months"),
        ({"since_ms": START + 2 * MONTH_MS}, "no 2 months"),
        ({"previous": ZERO_HASH}, "does not name the one before"),
        ({"number": 1, "since_ms": START + MONTH_MS}, "does not name the one before"),
        ({"size_bytes": RECEIPT_MOST_BYTES + 1}, "more bytes"),
        ({"size_bytes": 2**64 - 1}, "malformed"),
        ({"host": OWNER.public}, "are one"),
        ({"number": 0}, "malformed"),
    ],
)
def test_a_receipt_that_contradicts_itself_is_refused_by_what_is_wrong(fields, why):
    second = make(make(None, 1), 2)
    with pytest.raises(ProtocolViolation, match=why):
        open_receipt(change(second, **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"agreement": bytes(15) + b"x"},
        {"from_ms": START + 1, "since_ms": START + 1, "until_ms": START + 1 + MONTH_MS},
        {"previous": bytes(31) + b"x"},
    ],
)
def test_a_receipt_that_is_no_successor_is_refused(fields):
    first = make(None, 1)
    second = open_receipt(change(make(first, 2), **fields))
    with pytest.raises(ProtocolViolation):
        check_next(second.said, TERMS, first, None)


def test_a_replayed_receipt_is_no_successor_of_a_later_one():
    first = make(None, 1)
    second = make(first, 2)
    with pytest.raises(ProtocolViolation):
        check_next(first.said, TERMS, second, None)


def test_a_note_is_signed_by_who_was_away_first_whichever_side_that_is():
    for by, other in ((OWNER, HOST), (HOST, OWNER)):
        signed = note(by)
        assert open_gap_note(signed, TERMS).by == by.public
        assert open_gap_proposal(signed[:-64], TERMS, by.public).other == other.public
        with pytest.raises(AuthenticationFault):
            open_gap_proposal(signed[:-64], TERMS, other.public)
    assert is_gap_note(note())
    assert not is_gap_note(propose(None, None, number=1))


def test_notes_about_another_agreement_or_endless_gaps_are_refused():
    with pytest.raises(ProtocolViolation, match="another agreement"):
        open_gap_note(note(), msgspec.structs.replace(TERMS, agreement=bytes(15) + b"x"))
    heirs = msgspec.structs.replace(TERMS, host=bytes(31) + b"h")
    with pytest.raises(ProtocolViolation):
        open_gap_note(note(), heirs)
    assert open_gap_note(note(), heirs, [TERMS.host]).first, "of who was the host then"
    blob = msgspec.msgpack.encode(
        GapNote(
            agreement=TERMS.agreement,
            by=OWNER.public,
            other=HOST.public,
            first=1,
            last=1 + RECEIPT_GAP_MONTHS,
            reason="recovered",
            time_ms=0,
        )
    )
    signed = len(blob).to_bytes(4, "big") + blob + OWNER.sign(GapNote.purpose, blob) + HOST.sign(GapNote.purpose, blob)
    with pytest.raises(ProtocolViolation, match="too many"):
        open_gap_note(signed, TERMS)


@pytest.mark.parametrize(
    "fields",
    [{"until_ms": VOUCH_TERM_S * 1000 + 1}, {"time_ms": 2, "until_ms": 1}, {"peer": OWNER.public}],
)
def test_a_vouch_is_for_somebody_else_and_for_a_year_at_most(fields):
    good = Vouch(voucher=OWNER.public, peer=HOST.public, time_ms=0, until_ms=VOUCH_TERM_S * 1000)
    assert open_vouch(sign_statement(good, OWNER)) == good
    blob = msgspec.msgpack.encode(msgspec.structs.replace(good, **fields))
    with pytest.raises(ProtocolViolation):
        open_vouch(len(blob).to_bytes(4, "big") + blob + OWNER.sign(Vouch.purpose, blob))
