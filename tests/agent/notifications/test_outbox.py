"""Notifications that wait: tried again with growing pauses, given up after a week, never addressed to somebody else."""

import pytest

from backuppeer.agent.home.state import State
from backuppeer.agent.notifications.courier import Answer
from backuppeer.agent.notifications.message import Message
from backuppeer.agent.notifications.outbox import (
    address,
    describe_outbox,
    keep_outbox,
    plan_round,
    read_outbox,
    settle,
)
from backuppeer.limits import NOTIFY_KEPT_S, NOTIFY_PENDING, NOTIFY_RETRY_MOST_S, NOTIFY_RETRY_S

NOW_MS = 1_800_000_000_000
URLS = ["ntfy://ntfy.example/secret-topic", "json://user:secret@hook.example/"]
MESSAGE = Message(title="t", body="b")
FAILED = Answer(reason="it answered with 503")


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state.db")
    yield made
    made.close()


def test_each_place_gets_its_own_and_what_is_sent_is_gone():
    waiting = address(MESSAGE, URLS, NOW_MS, is_trouble=True)
    kept, rounds = plan_round(waiting, URLS, NOW_MS)
    assert [each.url for each in rounds] == URLS
    assert kept == waiting
    assert settle(waiting[0], Answer(is_sent=True), NOW_MS) is None


def test_pauses_grow_up_to_the_longest():
    (one,) = address(MESSAGE, URLS[:1], NOW_MS, is_trouble=True)
    pauses, now_ms = [], NOW_MS
    for _ in range(12):
        one = settle(one, FAILED, now_ms)
        assert plan_round([one], URLS, one.next_ms - 1)[1] == []
        assert len(plan_round([one], URLS, one.next_ms)[1]) == 1
        pauses.append((one.next_ms - now_ms) / 1000)
        now_ms = one.next_ms
    assert pauses[:3] == [NOTIFY_RETRY_S, 2 * NOTIFY_RETRY_S, 4 * NOTIFY_RETRY_S]
    assert pauses[-1] == NOTIFY_RETRY_MOST_S


def test_a_clock_that_was_put_back_does_not_hold_it_up():
    (one,) = address(MESSAGE, URLS[:1], NOW_MS, is_trouble=True)
    one = settle(one, FAILED, NOW_MS + 400 * 86_400_000)
    assert len(plan_round([one], URLS, NOW_MS)[1]) == 1


def test_after_a_week_and_for_an_address_that_is_gone_it_is_dropped():
    waiting = address(MESSAGE, URLS, NOW_MS, is_trouble=True)
    assert plan_round(waiting, URLS, NOW_MS + 1000 * NOTIFY_KEPT_S) == ([], [])
    kept, _ = plan_round(waiting, URLS[1:], NOW_MS)
    assert kept == waiting[1:]


def test_it_outlives_a_restart_holds_no_address_and_the_oldest_goes_first(state, tmp_path):
    keep_outbox(state, address(MESSAGE, URLS, NOW_MS, is_trouble=True))
    assert len(read_outbox(state)) == len(URLS)
    state._run("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    many = [each for n in range(NOTIFY_PENDING + 5) for each in address(MESSAGE, URLS[:1], NOW_MS + n, is_trouble=True)]
    keep_outbox(state, many)
    assert [each.since_ms for each in read_outbox(state)] == [each.since_ms for each in many[5:]]
    keep_outbox(state, [])
    assert read_outbox(state) == []


def test_what_does_not_come_is_said_by_the_name_of_the_service_alone():
    waiting = [settle(each, FAILED, NOW_MS) for each in address(MESSAGE, URLS, NOW_MS, is_trouble=True)]
    said = describe_outbox(waiting[:1], URLS)
    (one,) = said
    assert one == (
        "a notification could not be sent to ntfy since 2027-01-15 08:00 UTC: it answered with 503; it is tried again. "
        "`backup-peer notify test` tries now"
    )
    assert describe_outbox(address(MESSAGE, URLS, NOW_MS, is_trouble=True), URLS) == []
