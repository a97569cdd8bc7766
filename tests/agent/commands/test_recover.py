"""Words that are only tried: what a host hears of the passing home is nothing that its person is told of."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.houses import HostHouse
from backuppeer.agent.commands import recover as command
from backuppeer.agent.commands.recover import RecoverCommands
from backuppeer.agent.home.identity_alarms import Sort, list_alarms
from backuppeer.agent.peers.knocking import Knocking
from backuppeer.agent.peers.misbinding import describe
from backuppeer.agent.peers.partners import meet_at, remembered
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.agent.recovery.slots import Slots
from backuppeer.control.recovering import RecoverRequest
from backuppeer.crypto.envelope import EnvelopeKey
from backuppeer.errors import UserError
from backuppeer.proof.statements import TransportBinding, sign_statement
from backuppeer.signaling.knock import Verdict, open_knock
from backuppeer.signaling.listing import open_listing
from signaling.kit import Host

HERE = Whereabouts(b"2" * 32, ("192.0.2.7:4433",))


class Elsewhere:
    """A home that came from the owner's words on another machine, as a command finds it."""

    def __init__(self, house, owner, folder):
        self.house, self.owner, keys = house, owner, owner.keys
        where = TransportBinding(
            peer=owner.peer,
            transport=HERE.transport,
            addresses=list(HERE.addresses),
            time_ms=house.clock.now_ms() + 1,
        )
        clock, self.stopping = house.clock, asyncio.Event()
        # As a host it has nothing: its store, if any, is not the one of `house`.
        self.as_host = HostHouse(folder, b"", identity=keys.identity)
        self.heirship = self.as_host.heirship
        self.heirship.bind = lambda identity: sign_statement(where, identity)
        knocking = Knocking(owner.state, keys.identity, clock, market=None, ends=lambda: HERE)
        knocking.neighbours = self
        vault = SimpleNamespace(busy=asyncio.Lock())
        slots = Slots(owner.state, keys, clock)
        side = SimpleNamespace(market=None, knocking=knocking, slots=slots, vault=vault)
        self.home = SimpleNamespace(is_passing=True)
        parts = SimpleNamespace(home=self.home, keys=keys, state=owner.state, reach=None, clock=clock)
        host = SimpleNamespace(heirship=self.heirship, hosting=SimpleNamespace(), premises=self.as_host.premises)
        agent = SimpleNamespace(parts=parts, owner=side, host=host, stopping=self.stopping, servers=lambda _: [])
        self.commands, self.knocking = RecoverCommands(agent), knocking

    def is_allowed(self):
        return True

    async def knock(self, _peer, make, _take):
        self.sealed = make()
        return False

    async def run(self, _request, _servers, _reporter):
        """Do what a recovery does with a host it finds: knock, then open a session."""
        envelope, now_ms = EnvelopeKey.generate(), self.house.clock.now_ms()
        slot = Host(self.house.identity, envelope)
        row = open_listing(slot.signed(now_ms, now_ms=now_ms), now_ms)
        await self.knocking._exchange_nearby(row, self.knocking.empty_wish(self.house.peer))
        knock = open_knock(self.sealed, envelope, recipient=self.house.peer, now_ms=now_ms)
        assert self.house.requests.consider_knock(knock, None) is Verdict.ACCEPTED, "it is let in as the owner"
        hello = self.heirship.make_hello(self.house.peer, self.owner.peer)
        await self.house.heirship.meet(SimpleNamespace(hello=hello, peer=self.owner.peer))


@pytest.fixture
def elsewhere(house, owner, tmp_path, monkeypatch):
    owner.agree_with(house)
    there = Whereabouts(b"1" * 32, ("192.0.2.1:4433",), house.clock.now_ms())
    meet_at(house.state, owner.peer, there.encode(), house.clock.now_ms())
    house.state.call(owner.peer, "bob", house.clock.now_ms())
    assert list_alarms(house.state) == []
    house.clock.ms += 60_000
    home = Elsewhere(house, owner, tmp_path / "elsewhere")
    monkeypatch.setattr(command, "Recovery", lambda *_, **__: home)
    yield home
    home.as_host.close()


async def quietly(_event):
    pass


def test_a_check_of_the_words_raises_no_alarm_at_the_host_and_moves_nobody(house, owner, elsewhere):
    known = remembered(house.state, owner.peer)
    asyncio.run(elsewhere.commands.recover(RecoverRequest(check=True), quietly))
    assert describe(house.state) == []
    assert remembered(house.state, owner.peer) == known, "the owner is still looked for where it is"
    assert elsewhere.stopping.is_set()


def test_words_are_not_tried_in_a_home_that_is_in_use_which_would_go_silent_and_end(house, owner, elsewhere):
    elsewhere.home.is_passing = False
    bind = elsewhere.heirship.bind
    with pytest.raises(UserError, match="home that is in use"):
        asyncio.run(elsewhere.commands.recover(RecoverRequest(check=True), quietly))
    assert not elsewhere.stopping.is_set()
    assert elsewhere.heirship.bind is bind


def test_a_recovery_on_another_machine_is_told_to_the_host_s_person(house, owner, elsewhere):
    asyncio.run(elsewhere.commands.recover(RecoverRequest(), quietly))
    assert [alarm.sort for alarm in list_alarms(house.state)] == [Sort.MOVED]
    assert remembered(house.state, owner.peer).addresses == HERE.addresses
