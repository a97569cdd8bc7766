"""When a person is reminded of the recovery kit."""

import pytest

from backuppeer.agent.commands.kit import read_made_ms, remind_of_kit
from backuppeer.agent.home.state import State
from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import AgreementId, PeerId, RepositoryId
from backuppeer.limits import KIT_DUE_S
from backuppeer.proof.statements import ZERO_HASH, Agreement, sign_statement

YEAR_MS = KIT_DUE_S * 1000


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state.db")
    yield made
    made.close()


def test_nobody_is_reminded_before_there_is_a_host(state):
    assert remind_of_kit(state, 5) == ""


def test_the_first_kit_is_asked_for_and_a_new_one_after_a_year(state):
    owner, host = (SigningKey.from_seed(bytes(31) + bytes([number])) for number in (1, 2))
    said = Agreement(
        agreement=AgreementId(bytes(16)), revision=1, previous=ZERO_HASH, owner=PeerId(owner.public),
        host=PeerId(host.public), authority=owner.public, repository=RepositoryId(bytes(16)), size_bytes=10**9,
        start_ms=5, term_s=60, lock_s=30, availability=900, notice_s=20,
    )  # fmt: skip
    state.put_agreement(said.agreement, said.host, sign_statement(said, owner, host))
    assert "no recovery kit was made yet" in remind_of_kit(state, 5)
    state.put_setting("kit.made", b"1000")
    assert remind_of_kit(state, 1000 + YEAR_MS - 1) == ""
    assert "over a year old" in remind_of_kit(state, 1000 + YEAR_MS)


@pytest.mark.parametrize("noted", [b"", b"yesterday", b"-5"])
def test_a_damaged_note_counts_as_none(state, noted):
    state.put_setting("kit.made", noted)
    assert read_made_ms(state) == 0
