"""Contacts: one row for each session and each dial in vain, windows that only get up."""

import sqlite3

import pytest

from backuppeer.errors import LocalError
from backuppeer.ids import PeerId
from backuppeer.limits import CONTACT_RESULT_CHARS, CONTACTS_PER_DAY, MIB, WINDOWS_KEPT
from backuppeer.trust.availability import WINDOW_MS, Windows
from backuppeer.trust.contacts import Contact, ContactCount, Pace
from backuppeer.trust.evidence import EvidenceLog

DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS + DAY_MS // 2
PEER, OTHER = PeerId(b"p" * 32), PeerId(b"q" * 32)


@pytest.fixture
def log(tmp_path):
    opened = EvidenceLog(tmp_path / "evidence.db")
    yield opened
    opened.close()


def made(*, age_ms: int = 0, **fields) -> Contact:
    return Contact(PEER, NOW_MS - age_ms, is_made=True, is_ours=True, path="direct", **fields)


def failed(*, age_ms: int = 0, result: str = "nobody answered") -> Contact:
    return Contact(PEER, NOW_MS - age_ms, is_made=False, is_ours=True, result=result)


def test_contacts_come_back_as_they_were_newest_first(log) -> None:
    first = made(age_ms=DAY_MS, rtt_ms=12.5, sent_bytes=7, received_bytes=8, length_ms=900, busy_ms=500, result="over")
    log.contacts.record(first)
    log.contacts.record(failed())
    assert log.contacts.latest(PEER, limit=9) == [failed(), first]
    assert log.contacts.latest(PEER, limit=1) == [failed()]
    assert log.contacts.latest(OTHER, limit=9) == []
    assert log.contacts.count(PEER) == ContactCount(1, 1, 7, 8, 900)


def test_a_session_is_up_in_each_window_that_it_touches_and_a_try_in_vain_takes_nothing_from_that(log) -> None:
    log.contacts.record(failed(age_ms=3 * WINDOW_MS))
    log.contacts.record(made(age_ms=2 * WINDOW_MS, length_ms=WINDOW_MS))
    log.contacts.record(failed(age_ms=2 * WINDOW_MS))
    assert log.windows(PEER, now_ms=NOW_MS) == Windows(up=0b110, seen=0b1110)
    log.contacts.touch(PEER, NOW_MS - 3 * WINDOW_MS, is_up=True)
    assert log.windows(PEER, now_ms=NOW_MS) == Windows(up=0b1110, seen=0b1110)
    assert log.windows(PEER, now_ms=NOW_MS + WINDOW_MS).up == 0b11100
    assert log.windows(OTHER, now_ms=NOW_MS) == Windows()


def test_windows_to_come_and_those_older_than_sixty_days_are_in_no_mask(log) -> None:
    log.contacts.touch(PEER, NOW_MS + WINDOW_MS, is_up=True)
    log.contacts.touch(PEER, NOW_MS - WINDOWS_KEPT * WINDOW_MS, is_up=True)
    assert log.windows(PEER, now_ms=NOW_MS) == Windows()
    log.contacts.touch(PEER, NOW_MS - (WINDOWS_KEPT - 1) * WINDOW_MS, is_up=True)
    assert log.windows(PEER, now_ms=NOW_MS).up == 1 << WINDOWS_KEPT - 1


def test_nothing_of_it_can_be_changed_or_taken_away_from_outside(log, tmp_path) -> None:
    log.contacts.record(made())
    connection = sqlite3.connect(tmp_path / "evidence.db")
    for sql in (
        "DELETE FROM contacts",
        "UPDATE contacts SET is_made = 0",
        "DELETE FROM windows",
        "UPDATE windows SET is_up = 0",
    ):
        with pytest.raises(sqlite3.IntegrityError, match=r"append-only|only get up"):
            connection.execute(sql)
    connection.close()


def test_who_comes_and_goes_all_day_fills_only_so_many_rows_but_its_windows_count(log) -> None:
    written = [log.contacts.record(failed(age_ms=n)) for n in range(CONTACTS_PER_DAY + 2)]
    assert written == [True] * CONTACTS_PER_DAY + [False] * 2
    assert not log.contacts.record(made(age_ms=WINDOW_MS))
    assert log.windows(PEER, now_ms=NOW_MS).up == 0b10


def test_a_session_of_years_by_a_clock_that_was_set_touches_no_more_windows_than_a_mask_holds(log, tmp_path) -> None:
    log.contacts.record(made(age_ms=5000 * DAY_MS, length_ms=5000 * DAY_MS))
    connection = sqlite3.connect(tmp_path / "evidence.db")
    assert connection.execute("SELECT COUNT(*) FROM windows").fetchone() == (WINDOWS_KEPT,)
    connection.close()


def test_latency_and_throughput_are_medians_of_a_month_and_small_sessions_say_nothing_of_speed(log) -> None:
    assert log.contacts.pace(PEER, now_ms=NOW_MS) == Pace()
    for rtt_ms, size_bytes in ((10, MIB), (20, 3 * MIB), (90, 2 * MIB), (0, MIB - 1)):
        log.contacts.record(made(rtt_ms=rtt_ms, received_bytes=size_bytes, length_ms=9000, busy_ms=1000))
    log.contacts.record(made(age_ms=31 * DAY_MS, rtt_ms=1000, sent_bytes=99 * MIB, busy_ms=1))
    assert log.contacts.pace(PEER, now_ms=NOW_MS) == Pace(rtt_ms=20, bytes_per_s=2 * MIB)


def test_impossible_contacts_are_refused_and_long_words_cut(log) -> None:
    for bad in (made(sent_bytes=-1), Contact(PeerId(b"short"), 1, True, True), made(age_ms=2 * NOW_MS)):
        with pytest.raises(LocalError):
            log.contacts.record(bad)
    log.contacts.record(failed(result="x" * 10_000))
    assert [len(contact.result) for contact in log.contacts.latest(PEER, limit=9)] == [CONTACT_RESULT_CHARS]


def test_windows_travel_with_a_snapshot_and_what_a_log_saw_itself_stays(log, tmp_path) -> None:
    log.contacts.record(made(length_ms=WINDOW_MS))
    log.contacts.record(failed(age_ms=WINDOW_MS))
    log.contacts.record(failed(age_ms=DAY_MS))
    heir = EvidenceLog(tmp_path / "heir.db")
    heir.contacts.touch(PEER, NOW_MS, is_up=False)
    counts = log.condense(now_ms=NOW_MS, days=9)
    assert heir.take_back(counts) > 0
    after_ms = NOW_MS + WINDOW_MS
    assert log.windows(PEER, now_ms=after_ms) == Windows(up=0b11, seen=0b100111)
    assert heir.windows(PEER, now_ms=after_ms) == Windows(up=0b01, seen=0b100111)
    assert heir.take_back(counts) == 0
    heir.close()
