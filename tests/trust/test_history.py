"""What is on record of a peer, told in figures; and of owners, on which days they did what."""

import pytest

from backuppeer.ids import PeerId
from backuppeer.limits import GIB, MIB
from backuppeer.trust.contacts import Contact, ContactCount, Pace
from backuppeer.trust.evidence import EvidenceLog, Kind, Observation
from backuppeer.trust.history import History, recount
from backuppeer.trust.score import Fault
from backuppeer.trust.tenants import Deed

DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS + DAY_MS // 2
PEER, OTHER = PeerId(b"p" * 32), PeerId(b"q" * 32)


@pytest.fixture
def log(tmp_path):
    opened = EvidenceLog(tmp_path / "evidence.db")
    yield opened
    opened.close()


def test_of_a_stranger_there_is_nothing(log):
    nothing = History(days=0, bad_days={}, kinds={}, observed=None, pace=Pace(), total=ContactCount(), contacts=[])
    assert recount(log, PEER, now_ms=NOW_MS) == nothing


def test_each_figure_is_a_count_of_what_was_seen_and_condensing_changes_none_but_the_list(log):
    seen = [
        (Kind.AUDITED, 200),
        (Kind.AUDITED, 200),
        (Kind.REFUSED, 150),
        (Kind.LATE, 3),
        (Kind.LOST, 2),
        (Kind.LATE, 2),
    ]
    for kind, age in seen:
        log.record(Observation(PEER, kind, NOW_MS - age * DAY_MS, GIB))
    last = Contact(PEER, NOW_MS, is_made=True, is_ours=False, path="direct", rtt_ms=5, sent_bytes=MIB, busy_ms=500)
    log.contacts.record(Contact(PEER, NOW_MS - 200 * DAY_MS, is_made=False, is_ours=True))
    log.contacts.record(last)
    before = recount(log, PEER, now_ms=NOW_MS)
    assert before.days == 4
    assert before.bad_days == {Fault.REFUSED_ONLINE: 1, Fault.LATE: 1, Fault.PROVEN_LOSS: 1}
    assert before.kinds == {Kind.AUDITED: 2, Kind.REFUSED: 1, Kind.LATE: 2, Kind.LOST: 1}
    assert (before.observed, before.pace) == (1.0, Pace(5, 2 * MIB))
    assert [contact.is_made for contact in before.contacts] == [True, False]
    log.compact(now_ms=NOW_MS)
    after = recount(log, PEER, now_ms=NOW_MS)
    assert after.contacts == [last]
    assert (after.kinds, after.total, after.bad_days) == (before.kinds, before.total, before.bad_days)
    assert recount(log, PEER, now_ms=NOW_MS, limit=0).contacts == []


def test_what_owners_did_is_a_row_a_day_and_no_evidence_of_a_host(log):
    for age in (2, 1, 1, 0):
        log.tenants.note(PEER, Deed.OVERDRAWN, NOW_MS - age * DAY_MS)
    log.tenants.note(PEER, Deed.AGREED, NOW_MS)
    assert log.tenants.count(PEER) == {Deed.AGREED: 1, Deed.OVERDRAWN: 3}
    assert log.tenants.count(OTHER) == {}
    assert log.latest(PEER) == []
    assert recount(log, PEER, now_ms=NOW_MS).days == 0
