"""A person's word for a friend."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.repute.shelved import peer
from backuppeer.agent.commands.vouching import VouchCommands
from backuppeer.agent.repute.shelf import Shelf
from backuppeer.control.vouching import VouchRequest
from backuppeer.errors import NotFoundError, UserError
from backuppeer.ids import format_peer_id
from backuppeer.limits import VOUCH_TERM_S
from backuppeer.proof.receipts import open_vouch

FRIEND, OTHER = peer(7), peer(8)


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(tmp_path / "receipts.db")
    yield made
    made.close()


@pytest.fixture
def vouch(house, shelf):
    keys = SimpleNamespace(peer=house.peer, identity=house.identity)
    parts = SimpleNamespace(state=house.state, clock=house.clock, standing=house.standing, keys=keys)
    commands = VouchCommands(SimpleNamespace(parts=parts, repute=SimpleNamespace(shelf=shelf)))
    house.state.meet(FRIEND, 1, alias="alice", verified=True)
    house.state.meet(OTHER, 1, alias="bob")

    def give(name: str, *, withdraw: bool = False):
        return asyncio.run(commands.vouch(VouchRequest(servers=[], peer=name, withdraw=withdraw), None))

    return give


def test_a_word_for_a_friend_is_signed_and_counts_a_year(vouch, shelf, house):
    result = vouch("alice")
    assert (result.peer_id, result.vouched) == (format_peer_id(FRIEND), True)
    [(said, signed)] = shelf.vouches()
    assert open_vouch(signed) == said
    assert (said.voucher, said.peer, said.until_ms) == (house.peer, FRIEND, house.clock.ms + VOUCH_TERM_S * 1000)


def test_taken_back_it_ends_at_once_also_with_a_clock_that_was_set_back(vouch, shelf, house):
    vouch("alice")
    house.clock.ms -= 10**6
    assert not vouch("alice", withdraw=True).vouched
    [(said, _)] = shelf.vouches()
    assert said.until_ms == said.time_ms
    house.clock.ms += 10**7
    assert vouch("alice").vouched


def test_nobody_vouches_for_itself(vouch, house):
    house.state.meet(house.peer, 1)
    with pytest.raises(UserError, match="that is your own id"):
        vouch(format_peer_id(house.peer))


def test_nobody_vouches_for_whom_it_has_not_compared_words_with(vouch, shelf):
    with pytest.raises(UserError, match="compared safety words") as caught:
        vouch("bob")
    assert "`backup-peer peers verify bob`" in caught.value.hint
    with pytest.raises(NotFoundError):
        vouch("carol")
    with pytest.raises(UserError, match="don't vouch"):
        vouch("alice", withdraw=True)
    assert shelf.vouches() == []
