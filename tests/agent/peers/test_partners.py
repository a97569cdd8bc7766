"""Where a peer was last: the later statement wins, in whatever order they arrive."""

import msgspec
import pytest

from agent.houses import offer
from agent.loops import START_MS
from backuppeer.agent.peers.partners import later_of, meet_at, remembered
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.limits import CLOCK_SKEW_S


def where(time_ms, transport=b"t"):
    return Whereabouts(transport * 32, (), time_ms).encode()


HOUR_MS = 3600 * 1000
NOW = where(START_MS)
BEFORE = where(START_MS - HOUR_MS, b"b")
FAR = where(START_MS + CLOCK_SKEW_S * 1000 + 1, b"f")


@pytest.mark.parametrize(
    ("known", "said", "later"),
    [
        (b"", NOW, NOW),
        (NOW, b"", NOW),
        (BEFORE, NOW, NOW),
        (NOW, BEFORE, NOW),
        (NOW, where(START_MS, b"o"), where(START_MS, b"o")),
        (FAR, BEFORE, BEFORE),
    ],
    ids=["first", "none said", "later", "earlier", "same time", "known from the future"],
)
def test_the_later_statement_of_where_a_peer_is_wins(known, said, later):
    assert later_of(known, said, START_MS) == later


def test_an_older_statement_still_counts_as_a_meeting(house, owner):
    meet_at(house.state, owner.peer, NOW, START_MS, alias="bob")
    meet_at(house.state, owner.peer, BEFORE, START_MS + 1)
    assert house.state.peer(owner.peer).last_seen_ms == START_MS + 1
    assert remembered(house.state, owner.peer) == Whereabouts.decode(NOW)
    assert house.state.peer_by_alias("bob").peer == owner.peer


@pytest.mark.parametrize("is_partner", [True, False])
def test_a_knock_that_a_server_held_back_does_not_undo_what_came_since(house, owner, is_partner):
    if is_partner:
        owner.agree_with(house)
    late = msgspec.structs.replace(owner.knock(house), issued_ms=START_MS - HOUR_MS, transport=b"b" * 32)
    for knock in (owner.knock(house), late):
        house.requests.consider_knock(knock, offer("ask"))
    (request,) = [record for record in house.state.requests() if record.whereabouts][-1:]
    assert Whereabouts.decode(request.whereabouts).transport == b"t" * 32
    if is_partner:
        assert remembered(house.state, owner.peer).transport == b"t" * 32
