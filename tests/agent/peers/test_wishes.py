"""A request has one name at both ends, which nobody can give to another wish."""

from dataclasses import replace

import msgspec
import pytest

from agent.houses import WISH, OwnerHouse, offer
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.peers.wishes import SEED, fields_of, name_asked, name_of_request
from backuppeer.ids import PeerId
from backuppeer.limits import MIB
from backuppeer.proof.promises import Promises

RANDOM = "5eed" * 8


def request_of(host: PeerId, *, seed: str = RANDOM) -> RequestRecord:
    return RequestRecord(seed, Direction.OUT, host, *WISH[:3], RequestState.WAITING, 1)


def knock_of(owner, house, *, seed: str = RANDOM, wish=WISH):
    return msgspec.structs.replace(owner.knock(house, wish), ext=fields_of(request_of(house.peer, seed=seed)))


def promising(owner, house, promises):
    record = replace(request_of(house.peer), promises=promises)
    return msgspec.structs.replace(owner.knock(house), ext=fields_of(record))


def shown(house) -> list[str]:
    return [record.request for record in house.state.requests() if record.direction is Direction.IN]


def test_both_sides_show_the_same_name(house, owner):
    house.requests.consider_knock(knock_of(owner, house), offer())
    assert shown(house) == [name_of_request(owner.peer, request_of(house.peer))]


def test_both_sides_show_the_same_name_of_a_wish_for_promises(house, owner):
    for promises in (Promises(1000, 2, 3), Promises(1000, 2, 3, 950), Promises(availability=950)):
        record = replace(request_of(house.peer), promises=promises)
        assert name_asked(promising(owner, house, promises)) == name_of_request(owner.peer, record)


def test_a_name_is_what_the_protocol_says(house, owner):
    knock = msgspec.structs.replace(
        knock_of(owner, house), owner=b"o" * 32, recipient=b"h" * 32, size_bytes=10**9, term_s=86400, lock_s=3600
    )
    assert name_asked(knock) == "31825ab5c7aef47047f798459d87e1e1"


@pytest.mark.parametrize(
    ("promises", "name"),
    [
        (Promises(1000, 2, 3), "749fbd84ed00a1e44adfc297e65c2bc2"),
        (Promises(1000, 2, 3, 950), "bfbd245d444437a3f418bbcb6bd7c6e3"),
    ],
)
def test_a_promise_is_a_part_of_the_name_and_availability_only_where_it_is_promised(house, owner, promises, name):
    knock = msgspec.structs.replace(promising(owner, house, promises), owner=b"o" * 32, recipient=b"h" * 32)
    assert name_asked(knock) == name


def test_anything_else_is_called_something_else(house, owner, tmp_path):
    other = OwnerHouse(tmp_path / "other", b"x")
    size, term, lock, _ = WISH
    names = [
        name_asked(knock)
        for knock in (
            knock_of(owner, house),
            knock_of(owner, house, seed="ab" * 16),
            knock_of(owner, house, wish=(size + 1, term, lock)),
            knock_of(owner, house, wish=(size, term + 1, lock)),
            knock_of(owner, house, wish=(size, term, lock + 1)),
            promising(owner, house, Promises(egress_bytes=950)),
            promising(owner, house, Promises(availability=950)),
            promising(owner, house, Promises(availability=900)),
            knock_of(other, house),
            msgspec.structs.replace(knock_of(owner, house), recipient=b"r" * 32),
        )
    ]
    assert len(set(names)) == len(names)
    other.close()


def test_another_wish_under_the_same_random_bytes_has_a_name_of_its_own_and_replaces_nothing_a_person_saw(house, owner):
    house.requests.consider_knock(knock_of(owner, house), offer())
    (first,) = shown(house)
    house.requests.decide(first, accept=False)
    house.requests.consider_knock(knock_of(owner, house, wish=(64 * MIB, *WISH[1:])), offer())
    before, after = shown(house)
    assert (before, after != first) == (first, True)


def test_a_name_that_is_taken_is_not_given_again(house, owner):
    knock = knock_of(owner, house)
    since_ms = house.clock.now_ms()
    taken = RequestRecord(name_asked(knock), Direction.IN, PeerId(b"z" * 32), *WISH[:3], RequestState.WAITING, since_ms)
    house.state.put_request(taken)
    house.requests.consider_knock(knock, offer())
    assert len(set(shown(house))) == 2
    assert taken in house.state.requests()


@pytest.mark.parametrize("ext", [{}, {SEED: b""}, {SEED: bytes(15)}, {SEED: bytes(17)}, {"other": bytes(16)}])
def test_an_owner_of_before_or_one_that_sends_nonsense_gets_some_name(house, owner, ext):
    house.requests.consider_knock(msgspec.structs.replace(owner.knock(house), ext=ext), offer())
    (name,) = shown(house)
    assert len(bytes.fromhex(name)) == 16


def test_a_wish_for_nothing_has_none(house):
    assert fields_of(request_of(house.peer, seed="")) == {}
