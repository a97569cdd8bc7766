"""When a person is reminded of the recovery kit."""

import pytest

from backuppeer.agent.commands.kit import read_made_ms, remind_of_kit
from backuppeer.agent.home.state import State
from backuppeer.ids import AgreementId, PeerId
from backuppeer.limits import KIT_DUE_S

YEAR_MS = KIT_DUE_S * 1000


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state.db")
    yield made
    made.close()


def test_nobody_is_reminded_before_there_is_a_host(state):
    assert remind_of_kit(state, 5) == ""


def test_the_first_kit_is_asked_for_and_a_new_one_after_a_year(state):
    state.put_agreement(AgreementId(bytes(16)), PeerId(bytes(32)), b"signed")
    assert "no recovery kit was made yet" in remind_of_kit(state, 5)
    state.put_setting("kit.made", b"1000")
    assert remind_of_kit(state, 1000 + YEAR_MS - 1) == ""
    assert "over a year old" in remind_of_kit(state, 1000 + YEAR_MS)


@pytest.mark.parametrize("noted", [b"", b"yesterday", b"-5"])
def test_a_damaged_note_counts_as_none(state, noted):
    state.put_setting("kit.made", noted)
    assert read_made_ms(state) == 0
