"""Evidence: written once, never changed, a day counts once."""

import sqlite3

import pytest

from backuppeer.errors import DamagedStateError, LocalError
from backuppeer.ids import PeerId
from backuppeer.limits import EVIDENCE_DAYS, GIB, OBSERVATION_DETAIL_CHARS, OBSERVATIONS_PER_DAY
from backuppeer.trust.availability import Windows
from backuppeer.trust.conduct import Conduct
from backuppeer.trust.evidence import DayCount, EvidenceLog, Kind, Observation
from backuppeer.trust.explain import Ground, say_reason
from backuppeer.trust.hearsay import Heard
from backuppeer.trust.schema import SCRIPTS
from backuppeer.trust.score import Availability, DayEvidence, Evidence, Fault

DAY_MS = 86_400_000
TODAY = 20_000
NOW_MS = TODAY * DAY_MS + DAY_MS // 2
PEER, OTHER = PeerId(b"p" * 32), PeerId(b"q" * 32)


@pytest.fixture
def log(tmp_path):
    opened = EvidenceLog(tmp_path / "evidence.db")
    yield opened
    opened.close()


def note(log, kind: Kind, *, age: int = 0, gib: float = 0, peer: PeerId = PEER, detail: str = "") -> bool:
    size_bytes = int(gib * GIB)
    return log.record(Observation(peer, kind, NOW_MS - age * DAY_MS, size_bytes=size_bytes, detail=detail))


def test_observations_come_back_newest_first(log) -> None:
    note(log, Kind.CONNECTED, age=2)
    note(log, Kind.STORED, age=1, gib=2, detail="session 7")
    note(log, Kind.STORED, peer=OTHER)
    latest = log.latest(PEER)
    assert [o.kind for o in latest] == [Kind.STORED, Kind.CONNECTED]
    assert (latest[0].size_bytes, latest[0].detail) == (2 * GIB, "session 7")
    assert len(log.latest(PEER, limit=1)) == 1


def test_nothing_written_can_be_changed_or_taken_away(log, tmp_path) -> None:
    note(log, Kind.INTEGRITY_FAULT)
    connection = sqlite3.connect(tmp_path / "evidence.db")
    for sql in ("DELETE FROM observations", "UPDATE observations SET kind = 3"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(sql)
    connection.close()
    assert [o.kind for o in log.latest(PEER)] == [Kind.INTEGRITY_FAULT]


def test_a_day_of_good_service_is_one_unit_with_all_its_bytes(log) -> None:
    for _ in range(5):
        note(log, Kind.STORED, age=3, gib=1)
    note(log, Kind.RESTORED, age=3, gib=2)
    note(log, Kind.CONNECTED, age=3)
    assert log.days(PEER, now_ms=NOW_MS) == [DayEvidence(age_days=3, gib=7, fault=None)]


@pytest.mark.parametrize(
    ("kinds", "fault"),
    [
        ([Kind.INTEGRITY_FAULT], Fault.PROVEN_LOSS),
        ([Kind.REFUSED], Fault.REFUSED_ONLINE),
        ([Kind.PROTOCOL_VIOLATION], Fault.REFUSED_ONLINE),
        ([Kind.STORED, Kind.REFUSED, Kind.INTEGRITY_FAULT], Fault.PROVEN_LOSS),
    ],
)
def test_the_worst_fault_makes_the_whole_day_bad(log, kinds, fault) -> None:
    for kind in kinds:
        note(log, kind)
    assert [day.fault for day in log.days(PEER, now_ms=NOW_MS)] == [fault]


def test_being_away_or_impersonated_is_no_evidence_about_storage(log) -> None:
    for kind in (Kind.CONNECTED, Kind.CONNECT_FAILED, Kind.AUTH_FAULT):
        note(log, kind)
    assert log.days(PEER, now_ms=NOW_MS) == []
    assert not log.has_evidence(PEER)
    note(log, Kind.STORED)
    assert log.has_evidence(PEER)
    assert not log.has_evidence(OTHER)


def test_days_of_the_future_count_as_today_and_very_old_ones_not_at_all(log) -> None:
    note(log, Kind.STORED, age=-5)
    note(log, Kind.STORED, age=EVIDENCE_DAYS)
    note(log, Kind.STORED, age=EVIDENCE_DAYS - 1)
    assert [day.age_days for day in log.days(PEER, now_ms=NOW_MS)] == [EVIDENCE_DAYS - 1, 0]


def test_availability_is_the_share_of_six_hour_windows_of_a_month_in_which_it_answered(log) -> None:
    assert log.availability(PEER, now_ms=NOW_MS) == Availability(observed=1.0)
    for _ in range(3):
        note(log, Kind.CONNECTED)
    for _ in range(50):
        note(log, Kind.CONNECT_FAILED, age=29)
    note(log, Kind.CONNECT_FAILED, age=31)
    found = log.availability(PEER, now_ms=NOW_MS, promised=0.9)
    assert found == Availability(observed=0.5, promised=0.9), "how often it was tried in a window changes nothing"


def test_a_summary_is_what_the_score_takes(log) -> None:
    assert log.summarise(PEER, now_ms=NOW_MS) == Evidence()
    note(log, Kind.STORED, age=90, gib=10)
    note(log, Kind.INTEGRITY_FAULT, age=365)
    evidence = log.summarise(PEER, now_ms=NOW_MS, promised=0.5, is_friend=True)
    assert (evidence.alpha, evidence.beta) == pytest.approx((0.125, 0.125 * 8 / 2))
    assert evidence.is_friend
    assert evidence.availability.promised == 0.5


def test_a_peer_fills_only_so_many_rows_of_a_day(log) -> None:
    written = [note(log, Kind.CONNECT_FAILED) for _ in range(OBSERVATIONS_PER_DAY + 3)]
    assert written == [True] * OBSERVATIONS_PER_DAY + [False] * 3
    assert note(log, Kind.CONNECTED)
    assert note(log, Kind.CONNECT_FAILED, age=1)
    assert note(log, Kind.CONNECT_FAILED, peer=OTHER)


def test_what_was_scored_is_scored_anew_as_soon_as_something_is_seen_and_when_another_log_gives_back_more(log) -> None:
    assert log.summarise(PEER, now_ms=NOW_MS).beta == 0
    note(log, Kind.INTEGRITY_FAULT)
    assert log.summarise(PEER, now_ms=NOW_MS).beta > 0
    assert log.conduct(PEER, now_ms=NOW_MS).failed_ms
    before = log.summarise(PEER, now_ms=NOW_MS).alpha
    log.take_back([DayCount(PEER, TODAY - 3, Kind.STORED, 1, GIB), DayCount(OTHER, TODAY, Kind.STORED, 1, GIB)])
    assert log.summarise(PEER, now_ms=NOW_MS).alpha > before
    assert log.summarise(OTHER, now_ms=NOW_MS).alpha > 0
    assert log.summarise(PEER, now_ms=NOW_MS + 365 * DAY_MS).beta < log.summarise(PEER, now_ms=NOW_MS).beta


def test_a_no_that_the_agreement_allows_weighs_nothing(log) -> None:
    note(log, Kind.DECLINED)
    assert log.summarise(PEER, now_ms=NOW_MS) == Evidence()
    assert log.conduct(PEER, now_ms=NOW_MS) == Conduct()


def test_a_log_of_before_the_windows_keeps_what_it_saw_and_gets_windows_of_its_contacts(tmp_path) -> None:
    path = tmp_path / "evidence.db"
    old = sqlite3.connect(path)
    old.executescript(SCRIPTS[0] + "PRAGMA user_version=1;")
    rows = [(Kind.CONNECTED, 0, ""), (Kind.CONNECT_FAILED, 0, ""), (Kind.CONNECT_FAILED, 1, ""), (Kind.STORED, 2, "")]
    rows.append((Kind.CONNECTED, 3, "from a snapshot"))
    for kind, age, detail in rows:
        row = (PEER, TODAY - age, kind.value, NOW_MS - age * DAY_MS, 0, detail)
        old.execute("INSERT INTO observations (peer, day, kind, time_ms, size_bytes, detail) VALUES (?,?,?,?,?,?)", row)
    old.commit()
    old.close()
    log = EvidenceLog(path)
    assert [o.kind for o in log.latest(PEER)] == [kind for kind, _, _ in rows[1::-1] + rows[2:]]
    assert log.windows(PEER, now_ms=NOW_MS) == Windows(up=0b1, seen=0b10001)
    log.close()


def test_a_long_detail_is_cut(log) -> None:
    note(log, Kind.REFUSED, detail="x" * 10_000)
    assert len(log.latest(PEER)[0].detail) == OBSERVATION_DETAIL_CHARS


@pytest.mark.parametrize(
    "bad",
    [
        Observation(PeerId(b"short"), Kind.STORED, 1),
        Observation(PEER, Kind.STORED, -1),
        Observation(PEER, Kind.STORED, 1, size_bytes=-1),
    ],
)
def test_impossible_observations_are_refused(log, bad) -> None:
    with pytest.raises(LocalError):
        log.record(bad)
    assert log.latest(PEER) == []


def test_evidence_survives_closing_and_damage_is_named(tmp_path) -> None:
    path = tmp_path / "evidence.db"
    log = EvidenceLog(path)
    note(log, Kind.STORED)
    log.close()
    again = EvidenceLog(path)
    assert again.has_evidence(PEER)
    again.close()
    path.write_bytes(b"rubbish" * 999)
    with pytest.raises(DamagedStateError):
        EvidenceLog(path)


def test_what_was_shown_in_audits_is_good_and_what_a_host_told_of_a_loss_weighs_less_than_what_was_found(log) -> None:
    note(log, Kind.AUDITED, age=3, gib=2)
    note(log, Kind.AUDITED, age=2)
    note(log, Kind.LATE, age=2)
    note(log, Kind.LATE, age=1)
    note(log, Kind.REPORTED_LOSS, age=1)
    note(log, Kind.REPORTED_LOSS)
    note(log, Kind.INTEGRITY_FAULT)
    days = log.days(PEER, now_ms=NOW_MS)
    assert [day.fault for day in days] == [None, Fault.LATE, Fault.REPORTED_LOSS, Fault.PROVEN_LOSS]
    assert days[0].gib == 2
    assert log.has_evidence(PEER)


def test_what_is_shown_speaks_for_the_days_since_the_last_unit_up_to_a_week_and_what_is_stored_does_not(log) -> None:
    for age, kind in ((30, Kind.AUDITED), (20, Kind.AUDITED), (17, Kind.STORED), (15, Kind.AUDITED)):
        note(log, kind, age=age)
    note(log, Kind.RESTORED, age=12)
    note(log, Kind.INTEGRITY_FAULT, age=8)
    note(log, Kind.AUDITED, age=7)
    days = log.days(PEER, now_ms=NOW_MS)
    assert [(day.age_days, day.spans) for day in days] == [(30, 1), (20, 7), (17, 1), (15, 2), (12, 3), (8, 1), (7, 1)]


def test_a_host_that_fails_again_after_good_weeks_has_relapsed_until_that_is_forgiven(log) -> None:
    note(log, Kind.INTEGRITY_FAULT, age=100)
    assert not log.conduct(PEER, now_ms=NOW_MS).relapsed
    note(log, Kind.REFUSED, age=41)
    note(log, Kind.REFUSED, age=40)
    assert log.conduct(PEER, now_ms=NOW_MS).relapsed
    assert not log.conduct(PEER, now_ms=NOW_MS + 265 * DAY_MS).relapsed
    note(log, Kind.FORGIVEN)
    assert not log.conduct(PEER, now_ms=NOW_MS).relapsed


def test_audits_of_one_day_speak_of_the_same_bytes_and_are_not_added_up(log) -> None:
    for _ in range(3):
        note(log, Kind.AUDITED, gib=2)
    note(log, Kind.RESTORED, gib=1)
    assert [day.gib for day in log.days(PEER, now_ms=NOW_MS)] == [3]
    assert {row.kind: row.size_bytes for row in log.condense(now_ms=NOW_MS, days=9)} == {
        Kind.AUDITED: 2 * GIB,
        Kind.RESTORED: GIB,
    }


def test_a_day_to_come_is_not_among_the_last_days_until_it_is_there(log) -> None:
    note(log, Kind.AUDITED, age=-365, gib=100)
    note(log, Kind.CONNECTED, age=-365)
    assert log.condense(now_ms=NOW_MS + 200 * DAY_MS, days=30) == []
    assert {row.kind for row in log.condense(now_ms=NOW_MS + 365 * DAY_MS, days=30)} == {Kind.AUDITED, Kind.CONNECTED}


def test_what_is_stored_and_audited_on_one_day_was_kept_once_though_both_count(log) -> None:
    note(log, Kind.STORED, age=1, gib=2)
    note(log, Kind.STORED, age=1, gib=3)
    note(log, Kind.AUDITED, age=1, gib=5)
    (day,) = log.days(PEER, now_ms=NOW_MS)
    assert (day.gib, day.kept_gib) == (10, 5)
    ground = Ground((day,), Heard(), Evidence())
    assert say_reason(ground) == "kept 5.37 GB for 1 day"
