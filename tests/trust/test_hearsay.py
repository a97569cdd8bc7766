"""Hearsay as evidence: bounded praise, small claims."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.trust.flow import SUPPLY
from backuppeer.trust.hearsay import ONE_SIDED_SHARE, Heard, Reception, Word, add_hearsay, chain_days, chart_words, hear
from backuppeer.trust.score import Evidence, score_host

VIEWER = 0
LONG = 10**6


def test_praise_that_both_signed_counts_ten_times_as_much_as_a_word_of_one():
    base = Word(VIEWER, 1, LONG, 31)
    both = hear(VIEWER, [base, Word(1, 2, 60, 3)])[2]
    one = hear(VIEWER, [base, Word(1, 2, 60, 3, is_cosigned=False)])[2]
    assert both.alpha > 0
    assert one.alpha == pytest.approx(ONE_SIDED_SHARE * both.alpha)
    assert one.beta == both.beta == 0


def test_a_claim_counts_against_a_host_and_reaches_nobody_beyond_it():
    words = [Word(VIEWER, 1, LONG, 31), Word(1, 2, LONG, 31, is_claim=True), Word(2, 3, LONG, 31)]
    assert hear(VIEWER, words) == {2: Heard(beta=pytest.approx(0.15))}


def test_a_claim_of_whom_nobody_stored_with_says_nothing_and_none_counts_against_viewer_or_claimant():
    words = [Word(VIEWER, 1, LONG, 31), Word(9, 2, LONG, 31, is_claim=True)]
    words += [Word(1, VIEWER, LONG, 31, is_claim=True), Word(1, 1, LONG, 31, is_claim=True)]
    assert hear(VIEWER, words) == {}


@given(st.integers(0, 2**32), st.integers(0, 6), st.integers(1, 200))
def test_however_many_claim_they_take_no_more_than_three_for_each_pair_that_leads_to_them(seed, edges, crowd):
    source = random.Random(seed)
    honest = [Word(a, b, 300, 10) for a in range(8) for b in range(8) if a != b and source.random() < 0.4]
    led = [Word(source.randrange(8), f"s{source.randrange(crowd)}", LONG, 100) for _ in range(edges)]
    claims = [Word(f"s{n}", 1, LONG, 10**6, is_claim=True) for n in range(crowd)]
    heard = hear(VIEWER, [*honest, *led, *claims])
    assert heard.get(1, Heard()).beta <= 3 * edges
    assert sum(h.alpha + h.beta for h in heard.values()) <= SUPPLY * 0.75 + 1e-9
    before = score_host(add_hearsay(Evidence(alpha=10), hear(VIEWER, [*honest, *led]).get(1, Heard())))
    assert score_host(add_hearsay(Evidence(alpha=10), heard.get(1, Heard()))) <= before + 1e-9


def test_a_gap_in_a_chain_ends_what_was_before_it():
    assert chain_days([]) == 0
    assert chain_days([True] * 4) == 120
    assert chain_days([True, True, False, True]) == 30
    assert chain_days([True, False]) == 0


def test_what_was_heard_is_added_and_lifts_no_cap():
    seen = Evidence(alpha=1, beta=2)
    assert add_hearsay(seen, Heard(3, 4)) == Evidence(alpha=4, beta=6)


def test_a_vouch_carries_half_at_most_and_no_storage_is_asked_for():
    base = Word(VIEWER, 1, LONG, 31)
    assert hear(VIEWER, [base, Word(1, 2, 0, 0, is_vouch=True)]) == {2: Heard(alpha=pytest.approx(0.5))}
    assert hear(VIEWER, [base, Word(1, 2, LONG, 31), Word(1, 2, 0, 0, is_vouch=True)])[2].alpha > 0.5


def test_the_ways_of_praise_and_of_claims_are_told_apart():
    words = [Word(VIEWER, 1, LONG, 31), Word(1, 2, 60, 3), Word(1, 2, LONG, 31, is_claim=True)]
    praise, claims = Reception(VIEWER, chart_words(words)).trace(2)
    heard = hear(VIEWER, words)[2]
    assert [way.peers for way in praise] == [way.peers for way in claims] == [(VIEWER, 1, 2)]
    assert (praise[0].amount, claims[0].amount) == (pytest.approx(heard.alpha), pytest.approx(heard.beta))


def test_claims_that_are_new_or_taken_back_are_heard_without_hearing_all_anew():
    words = [Word(VIEWER, 1, LONG, 31), Word(1, 2, 60, 3), Word(2, 4, 60, 3)]
    chart = dict(chart_words(words))
    reception = Reception(VIEWER, chart)
    for said in ([*words, Word(1, 2, LONG, 31, is_claim=True)], [*words[:1], words[2]], words):
        chart[1] = dict(chart_words(said).get(1, {}))
        heard = hear(VIEWER, said)
        assert 2 in reception.update([1])
        assert reception.heard == heard
