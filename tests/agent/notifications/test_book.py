"""What is told when: once, again when it changes or after a week, and when it is over."""

import msgspec
import pytest

from backuppeer.agent.home.state import State
from backuppeer.agent.notifications.book import Book, keep_book, plan_telling, read_book
from backuppeer.agent.notifications.trouble import Trouble
from backuppeer.limits import (
    NOTIFY_AGAIN_S,
    NOTIFY_CALM_S,
    NOTIFY_KNOWN,
    NOTIFY_LATEST_S,
    NOTIFY_PER_DAY,
    NOTIFY_PER_TROUBLE,
)

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def trouble(key="caught:alice", stage="1", grace_s=0):
    return Trouble(key=key, text=f"text of {key}", stage=stage, grace_s=grace_s)


class Diary:
    """The book over time."""

    def __init__(self):
        self.book, self.now_ms = Book(), NOW_MS

    def tell(self, *found, after_ms=HOUR_MS):
        self.now_ms += after_ms
        plan = plan_telling(found, self.book, self.now_ms)
        self.book = msgspec.msgpack.decode(msgspec.msgpack.encode(plan.book), type=Book)
        return [each.key for each in plan.new], plan.solved


@pytest.fixture
def diary():
    return Diary()


def test_a_trouble_is_told_once_and_its_end_once(diary):
    assert diary.tell(trouble()) == (["caught:alice"], [])
    assert diary.tell(trouble()) == ([], [])
    assert diary.tell() == ([], [])
    assert diary.tell(after_ms=1000 * NOTIFY_CALM_S) == ([], ["text of caught:alice"])
    assert diary.tell() == ([], [])


def test_one_that_is_gone_for_a_moment_is_neither_solved_nor_told_again(diary):
    diary.tell(trouble())
    assert diary.tell() == ([], [])
    assert diary.tell(after_ms=1000 * NOTIFY_CALM_S - 1) == ([], [])
    assert diary.tell(trouble(), after_ms=1) == ([], [])
    assert diary.tell() == ([], [])
    assert diary.tell(after_ms=1000 * NOTIFY_CALM_S) == ([], ["text of caught:alice"])


def test_it_is_told_again_when_it_changes_and_after_a_week(diary):
    diary.tell(trouble())
    assert diary.tell(trouble(stage="2")) == (["caught:alice"], [])
    assert diary.tell(trouble(stage="2"), after_ms=1000 * NOTIFY_AGAIN_S - 1) == ([], [])
    assert diary.tell(trouble(stage="2"), after_ms=1) == (["caught:alice"], [])


def test_what_has_to_stand_for_a_while_is_told_after_it_and_never_if_it_ends_before(diary):
    slow = trouble("copies", grace_s=2 * 3600)
    assert diary.tell(slow) == ([], [])
    assert diary.tell() == ([], [])
    assert diary.tell(slow) == ([], [])
    assert diary.tell(slow) == ([], [])
    assert diary.tell(slow) == (["copies"], [])


def test_beyond_so_many_a_day_trouble_waits_some_hours_and_is_told_together(diary):
    for number in range(NOTIFY_PER_DAY):
        assert diary.tell(*(trouble(str(n)) for n in range(number + 1)), after_ms=1000) == ([str(number)], [])
    standing = [trouble(str(number)) for number in range(1, NOTIFY_PER_DAY)]
    assert diary.tell(*standing, trouble("a"), after_ms=1000) == ([], [])
    assert diary.tell(*standing, trouble("a"), trouble("b"), after_ms=2 * HOUR_MS) == ([], []), "the solved one waits"
    late_ms = 1000 * NOTIFY_LATEST_S - 2 * HOUR_MS
    assert diary.tell(*standing, trouble("a"), trouble("b"), after_ms=late_ms) == (["a", "b"], ["text of 0"])
    assert diary.tell(*standing, trouble("a"), trouble("b"), trouble("c"), after_ms=1000) == ([], [])


def test_one_that_changes_at_each_look_hides_no_other_and_is_told_some_times_a_day(diary):
    told = [diary.tell(trouble("bad", stage=str(number)), after_ms=300_000)[0] for number in range(200)]
    assert told == [["bad"]] * NOTIFY_PER_TROUBLE + [[]] * (200 - NOTIFY_PER_TROUBLE)
    assert diary.tell(trouble("bad", stage="x"), trouble("caught:bob"), after_ms=1000) == (["caught:bob"], [])
    assert diary.tell(trouble("bad", stage="y"), trouble("caught:bob"), after_ms=25 * HOUR_MS) == (["bad"], [])


def test_one_that_comes_and_goes_is_told_some_times_a_day_and_its_end_as_often(diary):
    said = []
    for _ in range(7):
        said += [diary.tell(trouble("bad")), diary.tell(), diary.tell()]
    assert [new for new, _ in said if new] == [["bad"]] * NOTIFY_PER_TROUBLE
    assert [solved for _, solved in said if solved] == [["text of bad"]] * NOTIFY_PER_TROUBLE
    assert diary.tell(trouble("other"), after_ms=25 * HOUR_MS) == (["other"], [])
    assert [entry.key for entry in diary.book.entries] == ["other"]


def test_a_change_of_what_has_to_stand_for_a_while_has_to_stand_for_as_long(diary):
    def copies(stage):
        return trouble("copies", stage=stage, grace_s=2 * 3600)

    assert [diary.tell(copies("1"))[0] for _ in range(3)] == [[], [], ["copies"]]
    assert [diary.tell(copies(stage))[0] for stage in ("2", "1", "2", "1")] == [[]] * 4, "it flaps"
    assert [diary.tell(copies("0"))[0] for _ in range(3)] == [[], [], ["copies"]]


def test_a_clock_that_was_ahead_silences_nothing(diary):
    diary.now_ms += 400 * 24 * HOUR_MS
    diary.tell(trouble())
    diary.now_ms = NOW_MS
    assert diary.tell(trouble()) == ([], [])
    assert diary.tell(trouble(), after_ms=1000 * NOTIFY_AGAIN_S) == (["caught:alice"], [])
    assert diary.tell(trouble("other")) == (["other"], [])
    diary.now_ms -= 2 * HOUR_MS
    assert diary.tell(trouble("other"), after_ms=0) == ([], [])
    assert diary.tell(trouble("other"), after_ms=HOUR_MS) == ([], ["text of caught:alice"])


def test_no_more_are_remembered_than_so_many(diary):
    diary.tell(*(trouble(str(number)) for number in range(NOTIFY_KNOWN + 3)))
    assert len(diary.book.entries) == NOTIFY_KNOWN


def test_the_book_outlives_a_restart(tmp_path):
    state = State(tmp_path / "state.db")
    assert read_book(state) == Book()
    keep_book(state, plan_telling([trouble()], Book(), NOW_MS).book)
    state.close()
    again = State(tmp_path / "state.db")
    assert plan_telling([trouble()], read_book(again), NOW_MS + HOUR_MS).new == []
    again.close()
