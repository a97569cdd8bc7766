"""What may lie with a stranger."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.limits import GIB
from backuppeer.trust.exposure import cap_bytes, room_bytes

sizes = st.integers(0, 2**50)


@pytest.mark.parametrize(("verified", "cap"), [(0, GIB), (GIB // 8, GIB), (GIB, 4 * GIB), (10 * GIB, 40 * GIB)])
def test_a_stranger_gets_a_gibibyte_or_four_times_what_it_proved(verified, cap):
    assert cap_bytes(verified) == cap


def test_friends_have_no_cap_and_an_owner_can_lift_one_but_not_lower_it():
    assert cap_bytes(0, is_friend=True) is None
    assert cap_bytes(0, lifted_bytes=9 * GIB) == 9 * GIB
    assert cap_bytes(9 * GIB, lifted_bytes=GIB) == 36 * GIB


@given(sizes, sizes)
def test_what_is_sent_never_passes_the_cap_and_what_lies_there_stays(held, verified):
    cap = cap_bytes(verified)
    room = room_bytes(held, cap)
    assert room == 0 or held + room == cap
    assert room_bytes(held, None) is None
