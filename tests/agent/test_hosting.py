"""What a slot on offer says, and how long the keys live that open its knocks."""

import asyncio

import msgspec
import pytest

from agent.houses import offer
from backuppeer.agent.hosting import Hosting
from backuppeer.errors import PeerFault
from backuppeer.limits import (
    ENVELOPE_KEY_KEPT_S,
    ENVELOPE_KEY_LIFE_S,
    KNOCK_BYTES,
    LISTING_BYTES,
    LISTING_LIFE_S,
    LISTING_SERVERS,
)
from backuppeer.signaling.listing import open_listing

SLOT = offer()
"""No servers: nothing is dialled."""


@pytest.fixture
def hosting(house):
    return Hosting(
        house.state,
        house.identity,
        house.clock,
        requests=house.requests,
        binding=lambda: b"",
        free=lambda slot: slot.storage_bytes,
    )


def listing_of(hosting, house, **changes):
    signed = hosting._make_listing(msgspec.structs.replace(SLOT, **changes))
    assert len(signed) <= LISTING_BYTES
    return open_listing(signed, house.clock.now_ms()).listing


def key_ids(house):
    return [key_id for key_id, _, _ in house.state.envelope_keys()]


def turn(house, seconds):
    house.clock.ms += int(seconds * 1000)


def test_a_listing_lives_two_hours_or_as_long_as_the_slot(hosting, house):
    now_ms = house.clock.now_ms()
    assert listing_of(hosting, house).expires_ms == now_ms + LISTING_LIFE_S * 1000
    assert listing_of(hosting, house, expires_ms=now_ms + 1000).expires_ms == now_ms + 1000


def test_a_listing_names_as_many_of_the_servers_as_it_holds(hosting, house):
    short = tuple(f"wss://h{n}.example" for n in range(LISTING_SERVERS + 1))
    assert listing_of(hosting, house, servers=short).servers == list(short[:LISTING_SERVERS])
    long = tuple(f"wss://{'a' * 230}{n}.example" for n in range(LISTING_SERVERS))
    assert listing_of(hosting, house, servers=long).servers == [long[0]]


def test_the_key_that_opens_knocks_is_renewed_daily(hosting, house):
    first = listing_of(hosting, house).envelope_id
    turn(house, ENVELOPE_KEY_LIFE_S - 1)
    assert listing_of(hosting, house).envelope_id == first
    turn(house, 1)
    assert listing_of(hosting, house).envelope_id != first


def test_a_key_is_erased_two_days_after_it_was_made(hosting, house):
    first = listing_of(hosting, house).envelope_id
    turn(house, ENVELOPE_KEY_KEPT_S)
    listing_of(hosting, house)
    assert first in key_ids(house)
    turn(house, 0.001)
    listing_of(hosting, house)
    assert first not in key_ids(house)
    with pytest.raises(PeerFault, match="erased"):
        hosting._open_knock(first.ljust(KNOCK_BYTES, b"\0"))


def test_no_key_outlives_a_slot_that_was_withdrawn(hosting, house):
    listing_of(hosting, house)
    turn(house, 1)
    asyncio.run(hosting.withdraw())
    assert key_ids(house) == []


def test_keys_that_grew_old_while_no_agent_ran_are_erased_when_one_starts(hosting, house):
    listing_of(hosting, house)
    turn(house, ENVELOPE_KEY_KEPT_S + 1)
    asyncio.run(hosting.resume())
    assert key_ids(house) == []
