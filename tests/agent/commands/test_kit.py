"""When a person is reminded of the recovery kit."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.loops import SetClock
from backuppeer.agent.commands.kit import KitCommands, read_made_ms, remind_of_kit
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.control.paper import KitRequest
from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import AgreementId, PeerId, RepositoryId
from backuppeer.limits import KIT_DUE_S
from backuppeer.proof.statements import ZERO_HASH, Agreement, peek_statement, sign_statement

OWNER, HOST = (SigningKey.from_seed(bytes(31) + bytes([number])) for number in (1, 2))
YEAR_MS = KIT_DUE_S * 1000


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state.db")
    yield made
    made.close()


def agree(state):
    said = Agreement(
        agreement=AgreementId(bytes(16)), revision=1, previous=ZERO_HASH, owner=PeerId(OWNER.public),
        host=PeerId(HOST.public), authority=OWNER.public, repository=RepositoryId(bytes(16)), size_bytes=10**9,
        start_ms=5, term_s=60, lock_s=30, availability=900, notice_s=20,
    )  # fmt: skip
    state.put_agreement(said.agreement, said.host, sign_statement(said, OWNER, HOST))


def test_nobody_is_reminded_before_there_is_a_host(state):
    assert remind_of_kit(state, 5) == ""


def test_the_first_kit_is_asked_for_and_a_new_one_after_a_year(state):
    agree(state)
    assert "no recovery kit names your hosts" in remind_of_kit(state, 5)
    state.put_setting("kit.made", b"1000")
    assert remind_of_kit(state, 1000 + YEAR_MS - 1) == ""
    assert "over a year old" in remind_of_kit(state, 1000 + YEAR_MS)


def test_only_what_can_be_dialled_of_what_a_host_signed_as_its_address_goes_on_paper(state):
    keys = SimpleNamespace(peer=PeerId(OWNER.public), open_terms=lambda signed, _: peek_statement(Agreement, signed))
    agree(state)
    good, bad = "192.0.2.7:4433", "1.2.3.4:5;touch${IFS}/tmp/pwned;true"
    where = Whereabouts(bytes(32), (bad, good, "nonsense", "224.0.0.1:5"))
    state.meet(PeerId(HOST.public), 5, whereabouts=where.encode())
    parts = SimpleNamespace(state=state, keys=keys, clock=SetClock())
    told = asyncio.run(KitCommands(SimpleNamespace(parts=parts)).kit(KitRequest(), None))
    assert told.hosts[0].place.addresses == [good]


@pytest.mark.parametrize("noted", [b"", b"yesterday", b"-5"])
def test_a_damaged_note_counts_as_none(state, noted):
    state.put_setting("kit.made", noted)
    assert read_made_ms(state) == 0
