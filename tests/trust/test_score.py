"""The score: the formulas of DESIGN 8 as vectors, and what must hold for any evidence."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.trust.score import (
    Availability,
    DayEvidence,
    Evidence,
    Fault,
    Level,
    Standing,
    level,
    round_down,
    score,
    score_host,
    sum_days,
    weigh_day,
    write_below,
)

amounts = st.floats(0, 1e6)
increments = st.floats(0, 1e3)
ROUNDING = 1e-12


# m = (1+a)/(3+a+b) and sd^2 = m(1-m)/(4+a+b), worked out as fractions.
@pytest.mark.parametrize(
    ("alpha", "beta", "is_friend", "mean", "variance"),
    [
        (0, 0, False, 1 / 3, 1 / 18),
        (1, 0, False, 1 / 2, 1 / 20),
        (6, 0, False, 7 / 9, 7 / 405),
        (0, 0, True, 7 / 9, 7 / 405),
        (10, 0, False, 11 / 13, 11 / 1183),
        (0, 8, False, 1 / 11, 5 / 726),
        (4, 8, False, 1 / 3, 1 / 72),
    ],
)
def test_the_score_is_the_mean_less_one_deviation(alpha, beta, is_friend, mean, variance) -> None:
    assert score(alpha, beta, is_friend=is_friend) == pytest.approx(mean - math.sqrt(variance), abs=1e-12)


def test_without_evidence_a_stranger_is_unproven_and_a_friend_is_fair() -> None:
    assert score_host(Evidence()) == pytest.approx(0.09763107, abs=1e-8)
    assert level(score_host(Evidence())) is Level.UNPROVEN
    assert level(score_host(Evidence(is_friend=True))) is Level.FAIR


@given(alpha=amounts, beta=amounts, more=increments, is_friend=st.booleans())
def test_more_good_evidence_never_lowers_the_score(alpha, beta, more, is_friend) -> None:
    before = score(alpha, beta, is_friend=is_friend)
    assert score(alpha + more, beta, is_friend=is_friend) >= before - ROUNDING


@given(alpha=amounts, beta=amounts, more=increments, is_friend=st.booleans())
def test_more_bad_evidence_never_raises_the_score(alpha, beta, more, is_friend) -> None:
    before = score(alpha, beta, is_friend=is_friend)
    assert score(alpha, beta + more, is_friend=is_friend) <= before + ROUNDING


@given(
    alpha=amounts,
    beta=amounts,
    is_friend=st.booleans(),
    availability=st.builds(Availability, observed=st.floats(0, 1), promised=st.floats(0, 1)),
    standing=st.builds(
        Standing,
        unresolved_loss=st.booleans(),
        verified_loss_share=st.floats(0, 1),
        reported_loss_share=st.floats(0, 1),
        silent_beyond_grace=st.booleans(),
        misbehaviour=st.booleans(),
        blocked=st.booleans(),
        relapsed=st.booleans(),
    ),
)
def test_trust_stays_between_nought_and_one_and_below_every_cap(alpha, beta, is_friend, availability, standing) -> None:
    evidence = Evidence(
        alpha=alpha,
        beta=beta,
        is_friend=is_friend,
        availability=availability,
        standing=standing,
    )
    trust = score_host(evidence)
    assert 0.0 <= trust <= 1.0
    assert trust <= score(alpha, beta, is_friend=is_friend)
    if standing.unresolved_loss:
        assert trust <= 0.5
    if standing.relapsed:
        assert trust <= 0.45
    lost_share = max(standing.verified_loss_share, standing.reported_loss_share)
    if standing.misbehaviour or standing.silent_beyond_grace or lost_share > 0.01:
        assert trust <= 0.3
    if standing.blocked:
        assert trust == 0.0


@pytest.mark.parametrize(
    ("standing", "cap"),
    [
        (Standing(unresolved_loss=True), 0.5),
        (Standing(relapsed=True), 0.45),
        (Standing(verified_loss_share=0.011), 0.3),
        (Standing(reported_loss_share=0.011), 0.3),
        (Standing(reported_loss_share=0.01), None),
        (Standing(silent_beyond_grace=True), 0.3),
        (Standing(misbehaviour=True), 0.3),
        (Standing(blocked=True), 0.0),
        (Standing(verified_loss_share=0.01), None),
    ],
)
def test_caps_hold_however_good_the_evidence(standing, cap) -> None:
    best = Evidence(alpha=1e6, standing=standing)
    assert score_host(best) == (cap if cap is not None else score(1e6, 0))


def test_missed_availability_lowers_by_its_root_and_surplus_earns_nothing() -> None:
    full = score_host(Evidence(alpha=10))
    quarter = Evidence(alpha=10, availability=Availability(observed=0.2, promised=0.8))
    assert score_host(quarter) == pytest.approx(full / 2)
    surplus = Evidence(alpha=10, availability=Availability(observed=1.0, promised=0.5))
    assert score_host(surplus) == full


@pytest.mark.parametrize(
    ("gib", "weight"), [(0, 0.125), (1, 0.125), (10, 0.25), (1000, 0.25), (3, 0.25 * 2 / math.log2(11))]
)
def test_a_day_weighs_between_an_eighth_and_a_quarter(gib, weight) -> None:
    assert weigh_day(gib) == pytest.approx(weight)


def test_faults_weigh_by_kind_and_fade_four_times_slower() -> None:
    assert sum_days([DayEvidence(age_days=0, gib=10)]) == pytest.approx((0.25, 0))
    assert sum_days([DayEvidence(age_days=90, gib=10)]) == pytest.approx((0.125, 0))
    for fault, kappa in [
        (Fault.PROVEN_LOSS, 8),
        (Fault.REFUSED_ONLINE, 4),
        (Fault.REPORTED_LOSS, 2),
        (Fault.LATE, 1),
    ]:
        assert sum_days([DayEvidence(age_days=0, gib=10, fault=fault)]) == pytest.approx((0, 0.25 * kappa))
        assert sum_days([DayEvidence(age_days=365, gib=10, fault=fault)]) == pytest.approx((0, 0.125 * kappa))


def test_a_good_day_can_speak_for_more_and_a_bad_one_only_for_itself() -> None:
    assert sum_days([DayEvidence(age_days=0, gib=10, spans=4)]) == pytest.approx((1.0, 0))
    assert sum_days([DayEvidence(age_days=0, gib=10, fault=Fault.LATE, spans=4)]) == pytest.approx((0, 0.25))


def test_a_stranger_needs_months_of_good_days_to_be_trusted() -> None:
    def after(days: int) -> Level:
        alpha, beta = sum_days(DayEvidence(age_days=age, gib=10) for age in range(days))
        return level(score_host(Evidence(alpha=alpha, beta=beta)))

    assert [after(1), after(7), after(30), after(365)] == [Level.UNPROVEN, Level.NEW, Level.FAIR, Level.TRUSTED]


@pytest.mark.parametrize(
    ("trust", "expected"),
    [
        (0.0, Level.UNPROVEN),
        (0.1999, Level.UNPROVEN),
        (0.2, Level.NEW),
        (0.4999, Level.NEW),
        (0.5, Level.FAIR),
        (0.7999, Level.FAIR),
        (0.8, Level.TRUSTED),
        (1.0, Level.TRUSTED),
    ],
)
def test_levels_begin_at_their_bounds(trust, expected) -> None:
    assert level(trust) is expected


def test_a_score_is_shown_rounded_and_never_as_if_it_reached_a_limit_that_it_is_below() -> None:
    assert [round_down(cap / 1000) for cap in range(1001)] == [cap / 1000 for cap in range(1001)]
    assert round_down(0.79965) == 0.799
    assert [write_below(trust, 0.8) for trust in (0.0976, 0.79965, 0.8, 0.81)] == ["0.10", "0.799", "0.80", "0.81"]
    assert write_below(0.79965, 0.9) == "0.80"
