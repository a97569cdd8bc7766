"""Failing twice is another thing than failing once for longer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.trust.relapse import SPELL_DAYS, WITHIN_DAYS, has_relapsed
from backuppeer.trust.score import Fault

LOSS, REFUSED, REPORTED, LATE = Fault.PROVEN_LOSS, Fault.REFUSED_ONLINE, Fault.REPORTED_LOSS, Fault.LATE


@pytest.mark.parametrize(
    ("faults", "relapsed"),
    [
        ([], False),
        ([(100, LOSS)], False),
        ([(day, LOSS) for day in range(100, 130)], False),
        ([(100, LOSS), (100 + SPELL_DAYS, LOSS)], False),
        ([(100, LOSS), (101 + SPELL_DAYS, LOSS)], True),
        ([(100, REFUSED), (200, REFUSED)], False),
        ([(100, REFUSED), (101, REFUSED), (200, REFUSED), (203, REFUSED)], True),
        ([(100, REFUSED), (200, LOSS)], True),
        ([(100, REFUSED), (200, REFUSED), (201, REFUSED)], True),
        ([(day, REFUSED) for day in range(100, 130)], False),
        ([(day, REPORTED) for day in range(0, 360, 20)], False),
        ([(day, LATE) for day in range(360)], False),
    ],
)
def test_two_spells_of_failing_apart_from_each_other_are_a_relapse(faults, relapsed):
    assert has_relapsed(faults, today=364) is relapsed


def test_a_relapse_ends_when_the_first_spell_is_a_year_old():
    faults = [(100, LOSS), (200, LOSS)]
    assert has_relapsed(faults, today=100 + WITHIN_DAYS - 1)
    assert not has_relapsed(faults, today=100 + WITHIN_DAYS)


@given(st.lists(st.tuples(st.integers(0, 365), st.sampled_from([REPORTED, LATE])), max_size=60))
def test_a_host_that_reports_its_losses_and_is_late_never_relapses(faults):
    assert not has_relapsed(sorted(faults, key=lambda one: one[0]), today=365)
