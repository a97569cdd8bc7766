"""Owners let go of: answered for a month longer, over a restart, and no more than so many of them."""

import pytest

from agent.houses import HostHouse
from backuppeer.agent.host.former import FormerOwners
from backuppeer.ids import PeerId
from backuppeer.limits import FORMER_OWNER_S, FORMER_OWNERS

ONE = PeerId(b"1" * 32)


@pytest.fixture
def house(tmp_path):
    made = HostHouse(tmp_path / "host", b"h")
    yield made
    made.close()


def test_who_was_let_go_of_is_known_for_a_month_also_after_a_restart(house):
    FormerOwners(house.state, house.clock).add(ONE)
    again = FormerOwners(house.state, house.clock)
    assert ONE in again
    assert PeerId(b"2" * 32) not in again
    house.clock.ms += FORMER_OWNER_S * 1000 - 1
    assert ONE in again
    house.clock.ms += 1
    assert ONE not in again


def test_the_latest_are_remembered(house):
    former = FormerOwners(house.state, house.clock)
    peers = [PeerId(number.to_bytes(32, "big")) for number in range(FORMER_OWNERS + 2)]
    for peer in peers:
        house.clock.ms += 1
        former.add(peer)
    assert [peer in former for peer in peers] == [False] * 2 + [True] * FORMER_OWNERS
    assert peers[-1] in FormerOwners(house.state, house.clock)


def test_who_is_blocked_is_answered_as_a_stranger_is(house):
    former = FormerOwners(house.state, house.clock)
    former.add(ONE)
    house.state.blocks.put(ONE, "", 1)
    assert ONE not in former
