"""Evidence kept up day by day is the evidence of all days."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.trust.score import DayEvidence, Fault, sum_days
from backuppeer.trust.tally import SILENT_DAYS, Tally, is_silent

units = st.lists(
    st.tuples(st.integers(0, 40), st.floats(0, 200), st.one_of(st.none(), st.sampled_from(list(Fault)))), max_size=40
)


@given(units, st.integers(0, 400))
def test_a_tally_of_any_days_is_what_they_give_together(seen, later):
    tally, day, known = Tally(), 0, []
    for pause, gib, fault in seen:
        day += pause
        tally = tally.add(DayEvidence(0, gib, fault), day=day)
        known.append((day, gib, fault))
    end = day + later
    alpha, beta = sum_days(DayEvidence(end - when, gib, fault) for when, gib, fault in known)
    assert (tally.at(end).alpha, tally.at(end).beta) == (pytest.approx(alpha), pytest.approx(beta))


def test_a_day_that_comes_late_has_faded_already_and_time_never_runs_back():
    tally = Tally(day=100).add(DayEvidence(90, 10), day=100)
    assert tally.alpha == pytest.approx(0.125)
    assert tally.at(10) == tally


def test_silence_has_two_weeks():
    assert [is_silent(days) for days in (0, SILENT_DAYS, SILENT_DAYS + 1)] == [False, False, True]
