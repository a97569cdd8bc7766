"""What a home says of itself and of its peers."""

import asyncio
from types import SimpleNamespace

import pytest

from backuppeer.agent.home_commands import HomeCommands
from backuppeer.control.api import PeerSetting
from backuppeer.errors import NotFoundError, UserError
from backuppeer.ids import format_peer_id


@pytest.fixture
def commands(house):
    parts = SimpleNamespace(
        state=house.state, clock=house.clock, standing=house.standing, keys=SimpleNamespace(peer=house.peer)
    )
    return HomeCommands(SimpleNamespace(parts=parts, host=SimpleNamespace(premises=house.premises)))


def record(commands, peer):
    return asyncio.run(commands.set_peer(PeerSetting(peer=peer, verified=True), None))


def test_a_host_records_that_it_compared_the_words_with_an_owner(commands, house, owner):
    owner.agree_with(house)
    assert not house.standing.is_friend(owner.peer)
    row = record(commands, format_peer_id(owner.peer)[:14])
    assert (row.peer_id, row.role, row.verified) == (format_peer_id(owner.peer), "owner", True)
    assert house.standing.is_friend(owner.peer)


def test_a_comparison_is_recorded_before_the_agreement_by_the_full_id(commands, house, owner):
    assert record(commands, format_peer_id(owner.peer)).verified
    assert house.standing.is_friend(owner.peer)


def test_nobody_compares_words_with_oneself_or_with_somebody_unknown(commands, house):
    with pytest.raises(UserError, match="your own id"):
        record(commands, format_peer_id(house.peer))
    with pytest.raises(NotFoundError):
        record(commands, "zoe")
