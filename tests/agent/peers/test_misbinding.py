"""Whoever answers for a known peer and is not it: an alarm, never a session; and a known key in another place."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from agent.loops import START_MS, SetClock
from agent.parties import Party, running
from backuppeer.agent.home.state import State
from backuppeer.agent.peers import market as market_module
from backuppeer.agent.peers.market import Market
from backuppeer.agent.peers.misbinding import Sort, list_alarms
from backuppeer.agent.peers.partners import Reach, meet_at
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import PeerUnreachable
from backuppeer.ids import PeerId
from backuppeer.signaling.listing import open_listing
from backuppeer.signaling.merge import Merger
from backuppeer.transport.memory import Network
from signaling.kit import Host

KNOWN = SigningKey.from_seed(b"k" * 32)
PEER = PeerId(KNOWN.public)


@pytest.fixture
def state(tmp_path):
    opened = State(tmp_path / "state.db")
    yield opened
    opened.close()


def where(party, transport=b""):
    return Whereabouts(transport or party.transport.transport_id, tuple(party.transport.addresses()), START_MS)


@asynccontextmanager
async def reaching(state, *others):
    """Give a Reach among parties on a network, and the list of peers that an alarm was raised about."""
    own = Party(others[0].network, 1)
    reach, alarms = Reach(state, own.sessions, loopback=True), []
    reach.on_misbound = alarms.append
    async with running(own, *others):
        yield reach, alarms


def nowhere(reach):
    async def knock(peer):
        raise PeerUnreachable("not on offer")

    reach.use_knocker(knock)


def test_another_identity_behind_the_known_transport_key_gives_no_session_and_no_word(state):
    async def scenario():
        other = Party(Network(), 2)
        state.meet(PEER, START_MS, alias="bob", whereabouts=where(other).encode())
        async with reaching(state, other) as (reach, alarms):
            nowhere(reach)
            with pytest.raises(PeerUnreachable) as caught:
                await reach.session(PEER)
            assert caught.value.exit_code == 11
            # It closes as on any stranger, so that probing shows nobody who lives there: nothing was proven either way.
            assert alarms == []
            assert reach._sessions.all() == []

    asyncio.run(scenario())


def test_a_wrong_signature_in_the_known_place_is_an_alarm_with_code_12(state):
    async def scenario():
        impostor = Party(Network(), 2)
        # It claims the public key of the known peer and signs with its own.
        forged = SimpleNamespace(public=KNOWN.public, sign=impostor.identity.sign)
        impostor.sessions._identity = forged
        async with reaching(state, impostor) as (reach, alarms):
            state.meet(PEER, START_MS, whereabouts=where(impostor).encode())
            nowhere(reach)
            with pytest.raises(PeerUnreachable) as caught:
                await reach.session(PEER)
            assert caught.value.exit_code == 12
            assert alarms == [PEER]
            with pytest.raises(PeerUnreachable) as caught:
                await reach.dial(PEER, where(impostor))
            assert caught.value.exit_code == 12
            assert alarms == [PEER, PEER]
            assert reach._sessions.all() == []

    asyncio.run(scenario())


def test_another_transport_key_at_the_known_address_is_an_alarm_if_the_peer_is_nowhere_else(state):
    async def scenario():
        network = Network()
        stranger, bob = Party(network, 2), Party(network, 3, identity=KNOWN)
        state.meet(PEER, START_MS, whereabouts=where(stranger, b"x" * 32).encode())
        async with reaching(state, stranger, bob) as (reach, alarms):
            nowhere(reach)
            with pytest.raises(PeerUnreachable) as caught:
                await reach.session(PEER)
            assert caught.value.exit_code == 12
            assert alarms == [PEER]

            async def knock(peer):
                return where(bob)

            # An address that is another machine's now, while the peer is found where it says: no alarm.
            reach.use_knocker(knock)
            assert (await reach.session(PEER)).peer == PEER
            assert alarms == [PEER]

    asyncio.run(scenario())


@pytest.mark.parametrize("known", ["alias", "verified", "host", "stranger"])
def test_a_known_key_in_another_place_is_told_and_a_stranger_s_is_not(state, known):
    first = Whereabouts(b"1" * 32, ("127.0.0.1:1",), START_MS)
    state.meet(PEER, START_MS, alias="bob" * (known == "alias"), verified=known == "verified")
    if known == "host":
        state._run("INSERT INTO agreements(agreement,host,signed) VALUES(?,?,?)", b"a" * 16, PEER, b"signed")
    meet_at(state, PEER, first.encode(), START_MS)
    meet_at(state, PEER, Whereabouts(b"1" * 32, ("127.0.0.1:2",), START_MS + 1).encode(), START_MS + 1)
    meet_at(state, PEER, b"", START_MS + 2)
    assert list_alarms(state) == [], "another address is no other machine"
    meet_at(state, PEER, Whereabouts(b"2" * 32, ("127.0.0.1:1",), START_MS + 3).encode(), START_MS + 3)
    assert [alarm.sort for alarm in list_alarms(state)] == ([] if known == "stranger" else [Sort.MOVED])


def test_two_offers_of_a_known_key_with_one_number_are_an_alarm_once(state, monkeypatch):
    host = Host(KNOWN)
    twins = [host.signed(START_MS, now_ms=START_MS, storage_bytes=1 << size) for size in (40, 41)]

    class Answers:
        """A pool whose servers hand out both."""

        def __init__(self, servers, *, clock, memory, health):
            self.merger = Merger(memory)

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return None

        async def browse(self, *, everything, **_):
            for signed in twins:
                self.merger.add(open_listing(signed, START_MS), "ws://one.example")
            return SimpleNamespace(listings=self.merger.listings())

    monkeypatch.setattr(market_module, "Pool", Answers)
    market = Market(state, SetClock(), PeerId(bytes(32)), views=None)
    asyncio.run(market.everybody([]))
    assert list_alarms(state) == [], "a stranger's"
    state.meet(PEER, START_MS)
    market = Market(state, SetClock(), PeerId(bytes(32)), views=None)
    market.memory = type(market.memory)()
    for _ in range(2):
        asyncio.run(market.everybody([]))
        assert [alarm.sort for alarm in list_alarms(state)] == [Sort.FORKED]
