"""Names by the second in which they are due."""

import math

from hypothesis import given
from hypothesis import strategies as st

from backuppeer.signaling.server.timetable import Timetable


@given(st.lists(st.tuples(st.binary(max_size=2), st.floats(0, 50) | st.just(math.inf))), st.lists(st.floats(0, 60)))
def test_each_name_comes_once_within_a_second_of_when_it_is_due_and_never_before(noted, looks):
    due, waiting = Timetable(), []
    for name, at_s in noted:
        due.add(name, at_s)
        waiting.append((name, at_s))
    for now_s in sorted(looks):
        popped = sorted(due.pop(now_s))
        late = [(name, at_s) for name, at_s in waiting if at_s <= now_s - 1]
        early = [(name, at_s) for name, at_s in waiting if math.ceil(min(at_s, 100)) <= now_s]
        assert popped == sorted(name for name, _ in early)
        assert set(late) <= set(early)
        waiting = [each for each in waiting if each not in early]


def test_what_never_is_due_takes_no_room():
    due = Timetable()
    due.add(b"name", math.inf)
    assert not due._names
    assert list(due.pop(1e12)) == []
