"""What is old becomes counts of days, and nobody who asks for a score, a cap or a window can tell."""

import sqlite3
import tempfile
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.ids import PeerId
from backuppeer.limits import COMPACT_AFTER_DAYS, GIB
from backuppeer.trust.conduct import stand
from backuppeer.trust.contacts import Contact, ContactCount
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation
from backuppeer.trust.score import score_host

DAY_MS = 86_400_000
TODAY = 20_000
NOW_MS = TODAY * DAY_MS + DAY_MS // 3
ACTS = [Kind.LOST, Kind.INTEGRITY_FAULT, Kind.MISBEHAVED, Kind.HEALED, Kind.CLEARED, Kind.FORGIVEN]
PEERS = PeerId(b"p" * 32), PeerId(b"q" * 32)


@pytest.fixture
def log(tmp_path):
    opened = EvidenceLog(tmp_path / "evidence.db")
    yield opened
    opened.close()


@st.composite
def busy_days(draw) -> list[Observation]:
    """Return a day of one peer on which much of few kinds happened: what is condensed, and in the order it was seen."""
    peer = PEERS[draw(st.integers(0, 1))]
    # Some older than a score looks back, some too young to be condensed.
    age = draw(st.sampled_from([0, 1, 60, 90, 91, 92, 100, 181, 250, 365, 400, 1095]))
    kinds = draw(st.lists(st.one_of(st.sampled_from(ACTS), st.sampled_from(list(Kind))), min_size=1, max_size=3))
    rows = draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 9), st.integers(0, 2)), max_size=8))
    return [Observation(peer, kind, NOW_MS - age * DAY_MS + ms, size * GIB) for kind, ms, size in rows]


contacted = st.builds(
    lambda peer, is_made, age, length: Contact(
        PEERS[peer], NOW_MS - age * DAY_MS // 2, is_made, True, length_ms=length
    ),
    st.integers(0, 1),
    st.booleans(),
    st.integers(0, 500),
    st.integers(0, DAY_MS),
)


def told(log: EvidenceLog, now_ms: int) -> list[object]:
    """Return all that anybody makes of a log."""
    found: list[object] = [log.condense(now_ms=now_ms, days=COMPACT_AFTER_DAYS)]
    for peer in PEERS:
        conduct = log.conduct(peer, now_ms=now_ms)
        evidence = log.summarise(peer, now_ms=now_ms, promised=0.9)
        standing = stand(conduct, held_bytes=GIB)
        found += [conduct, standing, log.days(peer, now_ms=now_ms), log.windows(peer, now_ms=now_ms)]
        found += [log.contacts.count(peer), log.has_evidence(peer), evidence.availability]
        found += [pytest.approx(value, abs=1e-9) for value in (evidence.alpha, evidence.beta, score_host(evidence))]
    return found


@pytest.mark.slow
@given(
    st.lists(st.one_of(busy_days(), st.lists(contacted, max_size=5)), max_size=8),
    st.lists(st.integers(0, 400), min_size=1, max_size=3),
)
def test_no_score_cap_relapse_or_window_changes_whenever_it_is_condensed(seen, days) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evidence.db"
        log = EvidenceLog(path)
        for one in chain.from_iterable(seen):
            log.record(one) if isinstance(one, Observation) else log.contacts.record(one)
        moments = [NOW_MS + ahead * DAY_MS for ahead in (0, 1, 90, 180, 365)]
        before = [told(log, moment) for moment in moments]
        for ahead in sorted(days):
            log.compact(now_ms=NOW_MS + (ahead - 200) * DAY_MS)
            again = EvidenceLog(path)  # one that has nothing in memory yet
            assert [told(again, moment) for moment in moments] == before
            again.close()
        log.close()


def test_a_year_of_busy_days_becomes_one_row_for_each_kind_and_day(log) -> None:
    for age in range(COMPACT_AFTER_DAYS - 2, COMPACT_AFTER_DAYS + 3):
        for hour in range(5):
            log.record(Observation(PEERS[0], Kind.STORED, NOW_MS - age * DAY_MS + hour, GIB))
            log.contacts.record(Contact(PEERS[0], NOW_MS - age * DAY_MS + hour, hour > 0, True, sent_bytes=1))
    assert log.compact(now_ms=NOW_MS) == (2 * 4, 2 * 5)
    assert log.compact(now_ms=NOW_MS) == (0, 0)
    assert len(log.latest(PEERS[0])) == 3 * 5 + 2
    assert len(log.contacts.latest(PEERS[0], limit=99)) == 3 * 5
    assert log.contacts.count(PEERS[0]) == ContactCount(made=20, failed=5, sent_bytes=25)


def test_of_losses_of_a_day_the_last_tells_when_and_the_largest_how_much(log, tmp_path) -> None:
    for hour, kind in enumerate([Kind.LOST, Kind.LOST, Kind.HEALED, Kind.LOST, Kind.LOST]):
        log.record(Observation(PEERS[0], kind, NOW_MS - 200 * DAY_MS + hour, (9 - hour) * GIB))
    before = log.conduct(PEERS[0], now_ms=NOW_MS)
    assert log.compact(now_ms=NOW_MS) == (2, 0)
    again = EvidenceLog(tmp_path / "evidence.db")
    assert again.conduct(PEERS[0], now_ms=NOW_MS) == before
    assert (before.failed_ms, before.lost_bytes) == (NOW_MS - 200 * DAY_MS + 4, 9 * GIB)
    again.close()


def test_condensing_that_is_cut_short_leaves_all_as_it_was_and_nobody_may_change_old_days(log, tmp_path) -> None:
    for hour in range(5):
        log.record(Observation(PEERS[0], Kind.STORED, NOW_MS - 200 * DAY_MS + hour, GIB))
    other = sqlite3.connect(tmp_path / "evidence.db", isolation_level=None)
    other.execute(
        "CREATE TRIGGER cut BEFORE UPDATE ON compaction WHEN NEW.is_on = 0 BEGIN SELECT RAISE(ABORT, 'cut'); END"
    )
    with pytest.raises(Exception, match="cut"):
        log.compact(now_ms=NOW_MS)
    assert len(log.latest(PEERS[0])) == 5
    assert other.execute("SELECT is_on, before_day FROM compaction").fetchone() == (0, 0)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute("DELETE FROM observations")
    other.execute("DROP TRIGGER cut")
    assert log.compact(now_ms=NOW_MS) == (4, 0)
    other.close()
