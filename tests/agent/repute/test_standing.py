"""What a person is told of hosts: once, and only what is true of them now."""

import pytest

from agent.loops import SetClock
from backuppeer.agent.home.state import State
from backuppeer.agent.repute.standing import Standing
from backuppeer.errors import IntegrityFault
from backuppeer.ids import PeerId
from backuppeer.trust.evidence import EvidenceLog, Kind
from backuppeer.trust.hearsay import Heard

ALICE, CAROL = PeerId(b"a" * 32), PeerId(b"c" * 32)


@pytest.fixture
def state(tmp_path):
    opened = State(tmp_path / "state.db")
    yield opened
    opened.close()


@pytest.fixture
def standing(state, tmp_path):
    log = EvidenceLog(tmp_path / "evidence.db")
    yield Standing(state, log, SetClock())
    log.close()


def test_before_any_backup_nothing_is_said_of_copies_but_that_one_would_be_the_only(standing):
    assert [text for _, text in standing.reminders([ALICE], [])] == [standing.risks(ALICE)[0]]
    assert "your only copy would be" in standing.risks(ALICE)[-1]
    assert "none of your 2 copies would be" in standing.risks(ALICE, [CAROL])[-1]


def test_once_the_words_were_compared_and_a_backup_stands_there_is_nothing_left_to_say(state, standing):
    told = standing.reminders([ALICE], [ALICE])
    assert [host for host, _ in told] == [ALICE, None]
    state.meet(ALICE, 1, verified=True)
    assert standing.reminders([ALICE], [ALICE]) == []
    assert standing.risks(ALICE) == []
    assert "only copy" not in " ".join(standing.risks(CAROL, [ALICE])), "another one is safe"


def test_a_host_that_gave_everything_back_is_not_called_unknown_and_one_that_failed_is_called_so(standing):
    standing.saw(ALICE, Kind.RESTORED, size_bytes=1)
    assert not any("nothing is known" in risk for risk in standing.risks(ALICE))
    assert not standing.has_failed(ALICE)
    standing.blame(CAROL, IntegrityFault("lost"))
    told = standing.reminders([ALICE, CAROL], [])
    assert [host for host, text in told if "returned something wrong" in text] == [CAROL]


def test_what_others_say_counts_beside_what_was_seen_and_a_promise_not_kept_lowers_all(standing):
    alone, _ = standing.trust(ALICE)
    standing.heard = {ALICE: Heard(alpha=3.0)}.get
    heard, _ = standing.trust(ALICE)
    standing.promised = {ALICE: 0.9}.get
    standing.saw(ALICE, Kind.CONNECT_FAILED)
    assert alone < heard
    assert standing.trust(ALICE)[0] < heard
