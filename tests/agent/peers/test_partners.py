"""Where a peer was last: the later statement wins, in whatever order they arrive."""

import asyncio

import msgspec
import pytest

from agent.houses import offer
from agent.loops import START_MS
from backuppeer.agent.peers import partners
from backuppeer.agent.peers.partners import Reach, later_of, meet_at, remembered
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.errors import AuthenticationFault, PeerUnreachable
from backuppeer.ids import PeerId
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


def test_a_lost_peer_is_looked_for_where_it_was_and_nobody_knocks(house, owner):
    async def scenario():
        dials, knocks = Dials("direct"), []
        dials.get = lambda _: None
        reach = Reach(house.state, dials, loopback=False)

        async def knock(peer):
            knocks.append(peer)
            return BEHIND

        reach.use_knocker(knock)
        with pytest.raises(PeerUnreachable, match="no way"):
            await reach._redial(owner.peer)
        house.state.meet(owner.peer, 1, whereabouts=BEHIND.encode())
        assert await reach._redial(owner.peer) == "direct"
        reach.parting.hear(owner.peer)
        with pytest.raises(PeerUnreachable, match="its person"):
            await reach._redial(owner.peer)
        assert (len(dials.asked), knocks) == (1, [])

    asyncio.run(scenario())


class Dials:
    """Sessions that note how they were asked to dial, and answer as told."""

    def __init__(self, direct, relayed="session"):
        self.direct, self.relayed, self.asked = direct, relayed, []

    async def dial(self, peer, transport, addresses, *, relay=""):
        self.asked.append((list(addresses), relay))
        answer = self.relayed if relay else self.direct
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


BEHIND = Whereabouts(b"t" * 32, ("192.0.2.7:4",), 1, relay="wss://one.example")


async def dial(state, dials, *, road="https://one.example", where=BEHIND):
    reach, asked = Reach(state, dials, loopback=False), []

    async def find_road(server):
        asked.append(server)
        return road

    reach.find_road = find_road
    return await reach.dial(PeerId(b"p" * 32), where), asked


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr(partners, "DIRECT_FIRST_S", 0.01)


def test_no_relay_hears_of_a_peer_that_is_reached_directly(house):
    dials = Dials("direct")
    assert asyncio.run(dial(house.state, dials)) == ("direct", [])
    assert dials.asked == [(["192.0.2.7:4"], "")]


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("direct", [None, PeerUnreachable("nobody")])
def test_a_peer_that_is_not_reached_directly_is_dialled_by_its_relay_too(house, direct):
    dials = Dials(direct)
    assert asyncio.run(dial(house.state, dials)) == ("session", ["wss://one.example"])
    assert dials.asked == [(["192.0.2.7:4"], ""), (["192.0.2.7:4"], "https://one.example")]


def test_a_peer_that_gives_no_address_is_reached_by_its_relay_alone(house):
    dials = Dials(None)
    where = msgspec.structs.replace(BEHIND, addresses=())
    assert asyncio.run(dial(house.state, dials, where=where)) == ("session", ["wss://one.example"])
    assert dials.asked == [([], "https://one.example")]


@pytest.mark.parametrize("addresses", [(), ("192.0.2.7:4",)])
def test_a_host_reached_only_by_a_relay_is_told_of_a_new_identity_by_it_too(house, addresses):
    told, dials = Dials(PeerUnreachable("nobody")), Dials(PeerUnreachable("nobody"))
    reach = Reach(house.state, dials, loopback=False)

    async def find_road(_):
        return "https://one.example"

    async def tell(peer, dial):
        assert (peer, await dial(told), dials.asked) == (PeerId(b"p" * 32), "session", [])

    reach.find_road, reach.before_dial = find_road, tell
    asyncio.run(reach.dial(PeerId(b"p" * 32), msgspec.structs.replace(BEHIND, addresses=addresses)))
    assert told.asked == dials.asked
    assert told.asked[-1] == (list(addresses), "https://one.example")


def test_without_a_way_to_the_relay_the_direct_dial_decides(house):
    with pytest.raises(PeerUnreachable, match="nobody"):
        asyncio.run(dial(house.state, Dials(PeerUnreachable("nobody")), road=""))


def test_who_answers_with_another_key_is_not_looked_for_at_the_relay(house):
    dials = Dials(AuthenticationFault("another key"))
    with pytest.raises(PeerUnreachable, match="another key"):
        asyncio.run(dial(house.state, dials))
    assert len(dials.asked) == 1


def test_who_is_reached_no_more_is_neither_dialled_nor_counted_as_missed(house, owner):
    meet_at(house.state, owner.peer, NOW, START_MS)
    missed = []
    reach = Reach(house.state, None, loopback=True)
    reach.on_missed = lambda *what: missed.append(what)

    def refuse(_):
        raise PeerUnreachable("goes on as another")

    reach.admit = refuse
    for step in (reach.session(owner.peer), reach.dial(owner.peer, Whereabouts.decode(NOW))):
        with pytest.raises(PeerUnreachable, match="goes on as another"):
            asyncio.run(step)
    assert missed == []
