"""What is known of servers, and whose fault is which (ADR 79)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer import limits
from backuppeer.errors import DamagedStateError
from backuppeer.ids import PeerId
from backuppeer.signaling.health import HealthBook, Tally, describe_faults
from signaling.kit import HOUR_MS, NOW_MS

URL = "wss://one.example"
PEERS = [PeerId(bytes([number]) * 32) for number in range(100)]
GRACE_MS = limits.OUTDATED_GRACE_S * 1000


def faults_of(book, now_ms=NOW_MS):
    return describe_faults(book.get(URL), now_ms)


def test_failures_in_a_row_are_counted_until_it_is_reached():
    book = HealthBook()
    for number in range(3):
        book.note(URL, reached=False, error=f"e{number}", now_ms=NOW_MS + number)
    found = book.get(URL)
    assert (found.failures, found.failed_ms, found.error, found.reached_ms) == (3, NOW_MS, "e2", 0)
    book.note(URL, reached=True, error="", now_ms=NOW_MS + 9)
    found = book.get(URL)
    assert (found.failures, found.failed_ms, found.error, found.reached_ms) == (0, 0, "", NOW_MS + 9)


def test_a_server_that_was_there_until_now_was_reached_last_now():
    book = HealthBook()
    book.note(URL, reached=True, error="", now_ms=NOW_MS)
    book.note(URL, reached=False, error="gone", now_ms=NOW_MS + 7, is_lost=True)
    book.note(URL, reached=False, error="gone", now_ms=NOW_MS + 9)
    assert (book.get(URL).reached_ms, book.get(URL).failures) == (NOW_MS + 7, 2)


def test_an_older_listing_is_no_fault_while_an_honest_server_may_show_it():
    book = HealthBook()
    for now_ms in (NOW_MS, NOW_MS + GRACE_MS):
        book.take(URL, Tally(rows=1, outdated={PEERS[0]}), now_ms=now_ms)
        assert faults_of(book, now_ms) == []
    assert book.get(URL).outdated == 1
    book.take(URL, Tally(rows=1, outdated={PEERS[0]}), now_ms=NOW_MS + GRACE_MS + 1)
    (fault,) = faults_of(book, NOW_MS + GRACE_MS + 1)
    assert "older offers" in fault


def test_a_server_that_shows_the_newest_again_has_caught_up():
    book, late_ms = HealthBook(), NOW_MS + GRACE_MS + 1
    book.take(URL, Tally(outdated={PEERS[0]}), now_ms=NOW_MS)
    book.take(URL, Tally(newest={PEERS[0]}), now_ms=late_ms)
    book.take(URL, Tally(outdated={PEERS[0]}), now_ms=late_ms)
    assert faults_of(book, late_ms) == []


def test_who_was_not_among_the_rows_read_is_remembered_until_no_listing_of_then_can_live():
    book = HealthBook()
    book.take(URL, Tally(outdated={PEERS[0]}), now_ms=NOW_MS)
    book.take(URL, Tally(), now_ms=NOW_MS + HOUR_MS)
    assert faults_of(book, NOW_MS + HOUR_MS)
    book.take(URL, Tally(), now_ms=NOW_MS + limits.LISTING_NUMBER_KEPT_S * 1000)
    assert not faults_of(book, NOW_MS + limits.LISTING_NUMBER_KEPT_S * 1000)


def test_a_clock_that_went_back_makes_nobody_guilty():
    book = HealthBook()
    book.take(URL, Tally(outdated={PEERS[0]}), now_ms=NOW_MS + 10 * HOUR_MS)
    book.take(URL, Tally(outdated={PEERS[0]}), now_ms=NOW_MS)
    assert faults_of(book, NOW_MS + 1) == []


def test_a_row_nobody_signed_is_the_servers_fault_and_two_of_one_number_are_not():
    book = HealthBook()
    book.take(URL, Tally(rows=5, forged=1, forked={PEERS[0]}), now_ms=NOW_MS)
    forged, forked = faults_of(book)
    assert "1 offer that the hosts" in forged
    assert "their doing, not its" in forked


def test_rows_of_another_time_may_be_our_own_clock():
    book = HealthBook()
    book.take(URL, Tally(rows=5, unreadable=5), now_ms=NOW_MS)
    assert "is this machine's clock right?" in faults_of(book)[0]
    book.take(URL, Tally(rows=5, unreadable=1), now_ms=NOW_MS)
    assert "its clock or this machine's is wrong" in faults_of(book)[0]


def test_so_many_lagging_hosts_of_a_server_are_remembered_and_no_more():
    book = HealthBook()
    book.take(URL, Tally(outdated=set(PEERS)), now_ms=NOW_MS)
    assert len(book.get(URL).lagging) == limits.LAGGING_PEERS
    assert book.get(URL).outdated == len(PEERS)


def test_so_many_servers_are_remembered_those_in_use_longest():
    book = HealthBook()
    for number in range(limits.HEALTH_SERVERS + 2):
        book.note(URL, reached=True, error="", now_ms=NOW_MS)
        book.note(f"wss://{number}.example", reached=True, error="", now_ms=NOW_MS)
    assert book.get(URL).reached_ms
    assert not book.get("wss://0.example").reached_ms
    assert book.get(f"wss://{limits.HEALTH_SERVERS + 1}.example").reached_ms


@given(st.integers(0, 9), st.sets(st.sampled_from(PEERS)), st.text(max_size=20))
def test_what_is_known_outlives_a_restart(rows, outdated, error):
    book = HealthBook()
    book.take(URL, Tally(rows=rows, outdated=outdated), now_ms=NOW_MS)
    book.note(URL, reached=False, error=error, now_ms=NOW_MS)
    assert HealthBook.import_bytes(book.export_bytes()).get(URL) == book.get(URL)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x01"])
def test_a_book_that_cannot_be_read_is_said_so(data):
    with pytest.raises(DamagedStateError):
        HealthBook.import_bytes(data)
