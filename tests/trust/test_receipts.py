"""What receipts are worth: rows of months, gaps, forks, claims."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import CLAIM_COUNTS_DAYS, CLOCK_SKEW_S, GIB, RECEIPT_COUNTS_DAYS
from backuppeer.proof.receipts import MONTH_MS, Vouch, open_receipt
from backuppeer.trust.hearsay import Word
from backuppeer.trust.receipts import Month, contradict, find_fault, is_current, month_of, word_of, words_of
from proof.test_receipts import make

OWNER, HOST = PeerId(b"o" * 32), PeerId(b"h" * 32)
START = 1_795_000_000_000
DAY_MS = 86_400_000


def month(number: int, *, since: int = 1, **fields) -> Month:
    """Return the receipt of a month of a row that began with month `since`."""
    begin = START + (since - 1) * MONTH_MS
    made = Month(OWNER, HOST, AgreementId(bytes(16)), number, b"%d" % number, begin, START + number * MONTH_MS, 3 * GIB)
    return made._replace(**fields)


def words(*months: Month, at: int | None = None) -> list[Word]:
    now_ms = START + MONTH_MS * (at if at is not None else max(one.number for one in months))
    return list(words_of(months, now_ms))


def test_a_row_of_months_counts_once_by_its_newest_receipt_in_whatever_order_they_came():
    for months in ((month(1), month(2), month(3)), (month(3), month(1), month(2)), (month(3), month(3))):
        assert words(*months) == [Word(OWNER, HOST, 90, 3.0)]


def test_what_was_before_a_gap_counts_no_more():
    assert words(month(1), month(2), month(4, since=4)) == [Word(OWNER, HOST, 30, 3.0)]


def test_a_row_that_reaches_back_over_its_own_beginning_anew_counts_nothing():
    assert words(month(4, since=4), month(5, since=1)) == []


def test_two_receipts_for_one_month_count_nothing_both():
    assert words(month(2), month(2)._replace(hash=b"other")) == []
    assert words(month(2), month(2)._replace(hash=b"claim", kept=False, is_cosigned=False)) == []


def test_two_starts_of_one_agreement_count_nothing():
    assert contradict(month(2), month(3)._replace(until_ms=month(3).until_ms + 1))


def test_contradictions_of_one_pair_are_no_matter_of_another():
    other = month(2)._replace(hash=b"other", agreement=AgreementId(b"2" * 16))
    assert len(words(month(2), other)) == 2
    assert not contradict(month(2), month(2)._replace(hash=b"x", owner=HOST, host=OWNER))


def test_a_receipt_counts_until_the_next_months_is_overdue_and_a_claim_longer():
    claim = month(1, kept=False, is_cosigned=False)
    for days, is_praise, is_claim in ((0, True, True), (RECEIPT_COUNTS_DAYS + 1, False, True)):
        now_ms = month(1).until_ms + days * DAY_MS
        assert (is_current(month(1), now_ms), is_current(claim, now_ms)) == (is_praise, is_claim)
    assert not is_current(claim, claim.until_ms + (CLAIM_COUNTS_DAYS + 1) * DAY_MS)
    assert not is_current(month(1), START)


def test_one_sided_words_and_claims_are_told_as_what_they_are():
    one_sided = month(3, is_cosigned=False)
    claim = month(4, kept=False, is_cosigned=False)
    assert words(month(2), one_sided, claim) == [
        Word(OWNER, HOST, 60, 3.0),
        Word(OWNER, HOST, 90, 3.0, is_cosigned=False),
        Word(OWNER, HOST, 120, 3.0, is_cosigned=False, is_claim=True),
    ]


def test_a_vouch_counts_until_it_ends_or_is_taken_back():
    vouch = Vouch(voucher=OWNER, peer=HOST, time_ms=START, until_ms=START + DAY_MS)
    assert word_of(vouch, START) == Word(OWNER, HOST, 0, 0, is_vouch=True)
    for now_ms in (START - DAY_MS, START + DAY_MS):
        assert word_of(vouch, now_ms) is None
    assert word_of(Vouch(voucher=OWNER, peer=HOST, time_ms=START, until_ms=START), START) is None


@pytest.mark.parametrize("ahead_s", [0, CLOCK_SKEW_S])
def test_a_receipt_of_a_month_to_come_is_named_as_such(ahead_s):
    shown = make(None, 1)
    assert month_of(shown).until_ms == shown.said.until_ms
    assert find_fault(shown.said, shown.said.until_ms - ahead_s * 1000) == ""
    assert "future" in find_fault(shown.said, shown.said.until_ms - CLOCK_SKEW_S * 1000 - 1)
    assert open_receipt(shown.signed) == shown


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.binary(max_size=1), st.booleans()), max_size=6))
def test_whatever_is_shown_of_one_pair_is_worth_no_more_than_three_words_and_never_fails(shown):
    months = [
        month(number, since=(at := min(since, number)), hash=mark + bytes([at, kept]), kept=kept, is_cosigned=kept)
        for number, since, mark, kept in shown
    ]
    found = list(words_of(months, START + 5 * MONTH_MS))
    assert len(found) <= 3
    assert list(words_of(reversed(months), START + 5 * MONTH_MS)) == found
