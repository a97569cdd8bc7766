"""What a browse remembers, and what it shows."""

import asyncio
from types import SimpleNamespace

import msgspec
import pytest

from agent.loops import START_MS, SetClock
from agent.viewers import Viewer
from backuppeer.agent.home import state as state_module
from backuppeer.agent.home.state import State
from backuppeer.agent.peers.market import Market
from backuppeer.agent.peers.names import resolve_peer
from backuppeer.agent.repute.explaining import Regard
from backuppeer.cli.render import format_trust
from backuppeer.control.api import BrowseRequest
from backuppeer.crypto.identity import SigningKey
from backuppeer.ids import PeerId, shorten_peer_id
from backuppeer.limits import BROWSE_SLICE_ROWS
from backuppeer.signaling.listing import open_listing
from backuppeer.trust.score import Evidence, score_host
from signaling.kit import Host


def offering(number):
    signed = Host(SigningKey.from_seed(bytes([number]) * 32)).signed(
        START_MS, now_ms=START_MS, storage_bytes=1 << 40, free_bytes=1 << (30 + number)
    )
    return open_listing(signed, START_MS)


LISTINGS = [offering(number) for number in range(1, 7)]
PEERS = [listing.peer for listing in LISTINGS]


@pytest.fixture
def state(tmp_path):
    opened = State(tmp_path / "state.db")
    yield opened
    opened.close()


@pytest.fixture
def browse(state, monkeypatch):
    """Browse among LISTINGS as the only servers' answer; returns the ids shown."""
    views = SimpleNamespace(explaining=SimpleNamespace(regard=lambda _: Regard(0.1, "unproven", [], "nothing known")))
    market = Market(state, SetClock(), PeerId(bytes(32)), views=views)

    async def answer(_servers, *, everything, **_):
        return SimpleNamespace(listings=LISTINGS)

    monkeypatch.setattr(market, "_ask", answer)
    return lambda **wanted: [row.peer_id for row in asyncio.run(market.browse([], BrowseRequest(**wanted)))]


def test_a_filter_decides_what_is_shown_and_not_who_is_remembered(state, browse):
    assert len(browse()) == 6
    assert len(browse(min_storage=60 * 10**9)) == 1
    assert browse(limit=2) == browse()[:2]
    for peer in PEERS:
        assert resolve_peer(state, shorten_peer_id(peer)) == peer


def test_beyond_the_cap_those_heard_of_least_recently_go_and_those_shown_stay_longest(state, browse, monkeypatch):
    monkeypatch.setattr(state_module, "HEARD_PEERS", 3)
    state.put_heard(PEERS[:2])
    state.put_heard(PEERS[2:4])
    assert state.heard() == PEERS[1:4]
    state.put_heard(PEERS[1:2])
    state.put_heard(PEERS[5:])
    assert state.heard() == [PEERS[3], PEERS[1], PEERS[5]]
    browse(limit=2, sort="free")
    assert state.heard()[1:] == [PEERS[4], PEERS[5]]


def test_who_is_a_hair_below_what_was_asked_for_is_not_shown_as_if_it_reached_it(state, monkeypatch, tmp_path):
    viewer = Viewer(tmp_path / "viewer")
    evidence = Evidence(alpha=13.42)
    assert 0.7995 < score_host(evidence) < 0.8
    monkeypatch.setattr(viewer.standing, "evidence", lambda _: evidence)
    market = Market(state, SetClock(), PeerId(bytes(32)), views=viewer.views)

    async def answer(_servers, *, everything, **_):
        return SimpleNamespace(listings=LISTINGS)

    monkeypatch.setattr(market, "_ask", answer)
    asked = [asyncio.run(market.browse([], BrowseRequest(min_trust=trust))) for trust in (0.8, 0.799)]
    viewer.close()
    assert list(map(len, asked)) == [0, len(LISTINGS)]
    [trust, *_] = [row.trust for row in asked[1]]
    assert format_trust(trust, "fair", limit=0.8) == "0.799 fair"


class Counting:
    """Scores everybody alike, and counts how many since anything else had its turn."""

    def __init__(self):
        self.run, self.longest, self.turns = 0, 0, 0

    def regard(self, _):
        self.run += 1
        self.longest = max(self.longest, self.run)
        return Regard(0.1, "unproven", [], "nothing known")

    async def take_turns(self):
        while True:
            self.run, self.turns = 0, self.turns + 1
            await asyncio.sleep(0)


def test_whatever_else_the_agent_does_has_its_turn_while_a_long_list_is_scored(state, monkeypatch):
    count = 4 * BROWSE_SLICE_ROWS + 1
    listings = [
        msgspec.structs.replace(LISTINGS[0], peer=PeerId(number.to_bytes(32, "big"))) for number in range(1, count + 1)
    ]
    scoring = Counting()
    market = Market(state, SetClock(), PeerId(bytes(32)), views=SimpleNamespace(explaining=scoring))

    async def answer(_servers, *, everything, **_):
        scoring.run = 0
        return SimpleNamespace(listings=listings)

    monkeypatch.setattr(market, "_ask", answer)

    async def story():
        others = asyncio.create_task(scoring.take_turns())
        rows = await market.browse([], BrowseRequest())
        others.cancel()
        return rows

    assert len(asyncio.run(story())) == count
    assert scoring.longest == BROWSE_SLICE_ROWS
    assert scoring.turns >= 5


def test_who_was_scored_while_rows_arrived_is_not_scored_again_when_all_are_there(state, monkeypatch):
    scoring, told = Counting(), []
    market = Market(state, SetClock(), PeerId(bytes(32)), views=SimpleNamespace(explaining=scoring))

    async def answer(_servers, *, everything, on_rows):
        on_rows(LISTINGS)
        return SimpleNamespace(listings=LISTINGS)

    monkeypatch.setattr(market, "_ask", answer)
    rows = asyncio.run(market.browse([], BrowseRequest(), on_rows=told.extend))
    assert rows == told
    assert scoring.run == len(LISTINGS)
