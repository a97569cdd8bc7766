"""Owners let go of: answered for a month longer, over a restart, and no more than so many of them."""

import asyncio

import msgspec
import pytest

from agent.host.test_gate import Street, open_hosting
from agent.houses import HostHouse
from agent.parties import Party, ask, running
from backuppeer.agent.host.former import FormerOwners
from backuppeer.clock import SystemClock
from backuppeer.errors import PeerUnreachable, RefusedError
from backuppeer.ids import PeerId
from backuppeer.limits import FORMER_OWNER_S, FORMER_OWNERS
from backuppeer.signaling.knock import Verdict
from backuppeer.transport.memory import Network

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


def let_go(house, owner):
    """Agree with an owner, and let it go as when its time is over."""
    agreement = owner.agree_with(house)
    house.premises.open().leases.end(agreement)
    house.premises.release(owner.peer)


async def knock_and_ask(house, owner):
    """Ask a host where it is, as an owner that finds it no more at its place, then dial it and ask something."""
    hosting = open_hosting(house)
    knock = hosting._open_knock(Street(house, hosting).knock(owner))
    verdict = house.requests.consider_knock(msgspec.structs.replace(knock, size_bytes=0), None)
    network = Network()
    near = Party(network, 1, identity=owner.keys.identity, clock=SystemClock())
    far = Party(network, 2, identity=house.identity, clock=SystemClock())
    far.may_answer = house.requests.may_answer
    async with running(near, far):
        await ask(await near.dial(far))
    return verdict


def test_a_former_owner_that_knocks_is_let_in_after_a_restart_of_the_host_and_for_a_month(owner, tmp_path):
    house = HostHouse(tmp_path / "host", b"h")
    let_go(house, owner)
    assert not house.requests.is_partner(owner.peer)
    house.close()
    house = HostHouse(tmp_path / "host", b"h")
    assert asyncio.run(knock_and_ask(house, owner)) is Verdict.ACCEPTED
    house.clock.ms += FORMER_OWNER_S * 1000
    with pytest.raises(RefusedError):
        asyncio.run(knock_and_ask(house, owner))
    house.close()


def test_who_is_a_stranger_by_now_is_not_even_answered(house, owner):
    let_go(house, owner)
    house.clock.ms += FORMER_OWNER_S * 1000
    network = Network()

    async def scenario():
        near, far = Party(network, 1, identity=owner.keys.identity), Party(network, 2, identity=house.identity)
        far.may_answer = house.requests.may_answer
        async with running(near, far):
            with pytest.raises(PeerUnreachable):
                await near.dial(far)

    asyncio.run(scenario())
