"""What `peers show` tells of the record: each deed has its field, each contact its row."""

import pytest

from agent.loops import START_MS, SetClock
from backuppeer.agent.commands.records import record_of, tenancy_of
from backuppeer.agent.home.state import State
from backuppeer.agent.repute.standing import Standing
from backuppeer.control.history import ContactRow, Tenancy
from backuppeer.ids import PeerId
from backuppeer.trust.contacts import Contact
from backuppeer.trust.evidence import EvidenceLog, Kind
from backuppeer.trust.tenants import Deed

ALICE = PeerId(b"a" * 32)


@pytest.fixture
def standing(tmp_path):
    state, log = State(tmp_path / "state.db"), EvidenceLog(tmp_path / "evidence.db")
    state.meet(ALICE, START_MS, alias="alice")
    made = Standing(state, log, SetClock())
    made.promised = lambda _: 0.9
    yield made
    state.close()
    log.close()


def test_an_owner_that_never_was_one_has_no_record_and_every_deed_has_a_field_of_its_own(standing):
    assert tenancy_of(standing, ALICE) is None
    for deed in Deed:
        standing.note_deed(ALICE, deed)
    assert tenancy_of(standing, ALICE) == Tenancy(agreed=1, noticed=1, overdrawn=1, owing=1, deleted=1, mass_deleted=1)


def test_the_session_under_way_is_the_newest_contact_and_counts(standing):
    known = standing._state.peer(ALICE)
    standing.contact(Contact(ALICE, START_MS, is_made=True, is_ours=True, result="over"))
    running = Contact(ALICE, START_MS + 1000, is_made=True, is_ours=True, sent_bytes=7, result="under way")
    told = record_of(standing, known, limit=2, running=running)
    assert (told.sessions, [row.result for row in told.contacts]) == (2, ["under way", "over"])
    assert len(record_of(standing, known, limit=1, running=running).contacts) == 1


def test_times_are_told_in_utc_and_what_was_never_looked_at_is_null_not_all(standing):
    known = standing._state.peer(ALICE)
    told = record_of(standing, known, limit=9)
    assert (told.first_met, told.availability, told.promised) == ("2026-11-18T11:06:40Z", None, 0.9)
    standing.contact(Contact(ALICE, START_MS, is_made=True, is_ours=False, length_ms=1500, result="over"))
    standing.saw(ALICE, Kind.REPORTED_LOSS)
    told = record_of(standing, known, limit=9)
    assert (told.availability, told.losses, told.reported_days, told.sessions) == (1.0, 1, 1, 1)
    assert told.contacts == [
        ContactRow(
            time="2026-11-18T11:06:40Z",
            made=True,
            ours=False,
            path="",
            rtt_ms=0,
            sent_bytes=0,
            received_bytes=0,
            seconds=1.5,
            result="over",
        )
    ]
