"""Six-hour windows: the share in which a peer was there, and for how many days it was tried in vain."""

import pytest

from backuppeer.limits import AVAILABILITY_DAYS, WINDOWS_KEPT
from backuppeer.trust.availability import WINDOWS_PER_DAY, Windows, count_days_in_vain, find_share

MONTH = AVAILABILITY_DAYS * WINDOWS_PER_DAY


@pytest.mark.parametrize(
    ("windows", "share"),
    [
        (Windows(), 1.0),
        (Windows(up=0b101, seen=0b111), 2 / 3),
        (Windows(up=0, seen=0b1), 0.0),
        (Windows(up=1 << MONTH, seen=1 << MONTH | 1), 0.0),
        (Windows(up=1, seen=1 << MONTH | 1), 1.0),
    ],
)
def test_the_share_is_of_windows_of_a_month_in_which_somebody_tried(windows, share) -> None:
    assert find_share(windows) == pytest.approx(share)


def test_days_in_vain_are_those_since_the_last_answer_on_which_it_was_tried() -> None:
    assert count_days_in_vain(Windows()) == 0
    assert count_days_in_vain(Windows(up=0b1, seen=0b11)) == 0
    assert count_days_in_vain(Windows(up=0b10000, seen=0b11111)) == 1
    every_second_day = sum(1 << WINDOWS_PER_DAY * day for day in range(0, 40, 2))
    assert count_days_in_vain(Windows(up=1 << 200, seen=1 << 200 | every_second_day)) == 20
    assert count_days_in_vain(Windows(up=0, seen=(1 << WINDOWS_KEPT) - 1)) == WINDOWS_KEPT // WINDOWS_PER_DAY
