"""Invites that a home was given: which are kept, for how long, and what is made of them in a knock."""

import asyncio

import pytest

from agent.loops import START_MS
from backuppeer.agent.peers.invited import Invited
from backuppeer.errors import PeerUnreachable, UserError
from backuppeer.ids import PeerId
from backuppeer.limits import CLOCK_SKEW_S, INVITES_OPENED
from backuppeer.signaling.invite import Invite

SERVER = "ws://127.0.0.1:1"


def invite(number, *, expires_s=START_MS // 1000 + 3600, host=None):
    return Invite(host or PeerId(number.to_bytes(32, "big")), number.to_bytes(16, "big"), expires_s, (SERVER,))


@pytest.fixture
def invited(owner):
    return Invited(owner.state, owner.clock)


def test_of_each_host_the_last_one_is_kept(invited):
    first, second = invite(1), invite(2, host=invite(1).host)
    for given in (first, second):
        invited.keep(given)
    assert invited.find(first.host) == second
    assert len(invited._list()) == 1


def test_beyond_so_many_the_oldest_goes_but_never_one_of_a_host_of_ours(invited, owner, house):
    ours = invite(0, host=house.peer)
    invited.keep(ours)
    owner.agree_with(house)
    given = [invite(number) for number in range(1, INVITES_OPENED + 2)]
    for one in given:
        invited.keep(one)
    assert len(invited._list()) == INVITES_OPENED
    assert invited.find(house.peer) == ours
    assert invited.find(given[0].host) is None
    assert invited.find(given[-1].host) == given[-1]


def test_one_that_is_over_is_used_no_more_but_to_find_a_host_of_ours(invited, owner, house):
    over = invite(1, host=house.peer, expires_s=START_MS // 1000 - CLOCK_SKEW_S - 1)
    invited.keep(over)
    assert invited.find(house.peer) is None
    with pytest.raises(UserError, match="was good until 2026-"):
        invited.check_time(over)
    owner.agree_with(house)
    assert invited.find(house.peer) == over
    invited.forget(house.peer)
    assert invited.find(house.peer) == over


def test_one_is_good_for_as_long_as_two_clocks_may_differ(invited):
    invited.check_time(invite(1, expires_s=START_MS // 1000 - CLOCK_SKEW_S))


def test_a_server_that_is_away_is_no_sign_of_an_invite_that_is_over(invited):
    with pytest.raises(PeerUnreachable, match="refused") as told:
        asyncio.run(invited.look(invite(1), [SERVER]))
    assert "used up" not in told.value.message


def test_what_is_kept_shows_nothing_of_the_secret(invited):
    invited.keep(invite(7))
    assert repr(invited._list()) == "[_Kept(00000000)]"
