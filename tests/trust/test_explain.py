"""A score taken apart adds up again, and what is said to raise it does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.trust.explain import Ground, Way, find_end, find_raises, name_limits, say_reason, take_apart
from backuppeer.trust.hearsay import Heard, add_hearsay
from backuppeer.trust.score import Availability, DayEvidence, Evidence, Fault, Standing, score_host, sum_days

units = st.builds(
    DayEvidence,
    age_days=st.integers(0, 700).map(float),
    gib=st.floats(0, 200),
    fault=st.none() | st.sampled_from(Fault),
    spans=st.integers(1, 7),
)
standings = st.builds(
    Standing,
    unresolved_loss=st.booleans(),
    verified_loss_share=st.sampled_from([0.0, 0.005, 0.5]),
    reported_loss_share=st.sampled_from([0.0, 0.005, 0.5]),
    silent_beyond_grace=st.booleans(),
    misbehaviour=st.booleans(),
    blocked=st.booleans(),
    relapsed=st.booleans(),
)


UNHEARD = Heard()


def ground_of(days=(), *, heard=UNHEARD, **changes):
    ordered = tuple(sorted(days, key=lambda day: -day.age_days))
    alpha, beta = sum_days(ordered)
    return Ground(ordered, heard, add_hearsay(Evidence(alpha=alpha, beta=beta, **changes), heard))


grounds = st.builds(
    ground_of,
    st.lists(units, max_size=60),
    heard=st.builds(Heard, st.floats(0, 6), st.floats(0, 1)),
    is_friend=st.booleans(),
    availability=st.builds(Availability, st.floats(0, 1), st.floats(0, 1)),
    standing=standings,
)


@given(grounds)
def test_every_term_that_is_shown_adds_up_to_the_score_by_hand(ground):
    parts = take_apart(ground)
    for each in parts.stretches:
        assert each.days * each.weight * each.spans * each.fade == pytest.approx(each.alpha)
    for each in parts.failures:
        assert each.weight * each.fault.value * each.fade == pytest.approx(each.beta)
    alpha = sum(each.alpha for each in parts.stretches) + parts.heard.alpha + parts.friend_alpha
    beta = sum(each.beta for each in parts.failures) + parts.heard.beta
    mean = (1 + alpha) / (3 + alpha + beta)
    assert parts.mean == pytest.approx(mean)
    assert parts.deviation == pytest.approx((mean * (1 - mean) / (4 + alpha + beta)) ** 0.5)
    by_hand = max(0.0, parts.mean - parts.deviation) * parts.factor
    assert min([by_hand, *(limit.cap for limit in parts.limits)]) == pytest.approx(score_host(ground.evidence))


@given(grounds)
def test_what_is_said_to_raise_a_score_raises_it_and_the_last_cap_lifted_leaves_none(ground):
    now, raises = score_host(ground.evidence), find_raises(ground)
    assert all(each.trust > now for each in raises if each.way is not Way.LIFT)
    lifted = [each for each in raises if each.way is Way.LIFT]
    caps = [limit.name for limit in name_limits(ground.evidence.standing)]
    for name in [name for name in caps if name.endswith(("_loss", "_loss_share"))][1:]:
        caps.remove(name)  # the higher ones: the same act ends all of them
    assert [each.name for each in lifted] == caps
    if lifted:
        assert lifted[-1].trust == pytest.approx(take_apart(ground).uncapped)


def test_so_many_more_days_of_audits_lead_where_they_are_said_to():
    ground = ground_of([DayEvidence(float(age), 10.0) for age in range(10)])
    first = next(each for each in find_raises(ground) if each.way is Way.KEEP)
    later = [DayEvidence(float(age), 10.0) for age in range(10 + first.days)]
    assert score_host(Evidence(*sum_days(later))) == pytest.approx(first.trust)
    assert first.trust >= 0.5 > score_host(Evidence(*sum_days(later[:-1])))


def test_under_a_cap_neither_words_nor_days_are_advised_as_they_would_not_help():
    ground = ground_of([DayEvidence(float(age), 10.0) for age in range(90)], standing=Standing(verified_loss_share=0.2))
    assert [(each.way, each.name) for each in find_raises(ground)] == [(Way.LIFT, "verified_loss_share")]


def test_a_host_away_more_than_it_promised_rises_by_being_there():
    ground = ground_of([DayEvidence(float(a), 10.0) for a in range(90)], availability=Availability(0.5, 0.95))
    assert any(each.way is Way.ANSWER for each in find_raises(ground))


@pytest.mark.parametrize(
    ("ground", "changes", "said"),
    [
        (ground_of(), {}, "nothing known"),
        (ground_of(is_friend=True), {}, "friend"),
        (ground_of([DayEvidence(float(age), 12.0) for age in range(90)]), {}, "kept 12.9 GB for 90 days"),
        (
            ground_of([DayEvidence(0.0, 24.0), *(DayEvidence(float(a), 12.0) for a in (1, 2))]),
            {},
            "kept 12.9 GB for 3 days",
        ),
        (ground_of([DayEvidence(0.0, 0.5)], is_friend=True), {}, "friend, kept 537 MB for 1 day"),
        (ground_of([DayEvidence(3.0, 1.0, Fault.REFUSED_ONLINE)]), {}, "failed 3 days ago"),
        (ground_of([DayEvidence(0.0, 1.0, Fault.LATE)]), {}, "failed today"),
        (ground_of(heard=Heard(1.0)), {"backers": 2}, "2 of your peers store there"),
        (ground_of(heard=Heard(1.0)), {"backers": 1}, "one of your peers stores there"),
        (ground_of(heard=Heard(1.0)), {}, "known to you by what others say alone"),
        (ground_of(heard=Heard(0.0, 1.0)), {}, "others say that it failed them"),
        (ground_of(is_friend=True), {"caps": ["you blocked it", "it lost"]}, "you blocked it"),
    ],
)
def test_the_reason_is_the_strongest_there_is(ground, changes, said):
    assert say_reason(ground, **changes) == said


@given(st.integers(1, 400))
def test_the_end_of_something_is_found_to_the_day(end):
    assert find_end(lambda days: days < end) == end
    assert find_end(lambda _: True) is None
