"""`connect --best`: the best of those against whom nothing speaks, and else why nobody."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.loops import START_MS
from agent.viewers import Viewer
from backuppeer.agent.commands.choosing import ChooseCommands
from backuppeer.agent.peers.market import Market
from backuppeer.agent.peers.misbinding import Sort, raise_alarm
from backuppeer.control.choosing import BestRequest
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import NotFoundError
from backuppeer.ids import AgreementId, PeerId, format_peer_id, shorten_peer_id
from backuppeer.limits import GIB
from backuppeer.signaling.listing import open_listing
from backuppeer.trust.evidence import Kind, Observation
from signaling.kit import Host

DAY_MS = 86_400_000


def listing(number, *, free_gib=64, region="EU"):
    signed = Host(SigningKey.from_seed(bytes([number]) * 32)).signed(
        START_MS, now_ms=START_MS, storage_bytes=1 << 40, free_bytes=free_gib * GIB, region=region
    )
    return open_listing(signed, START_MS)


class Bazaar(Viewer):
    """A home with a market of five hosts; of the first three much was seen, most of the first."""

    def __init__(self, folder, monkeypatch, owner):
        super().__init__(folder / "viewer")
        self.owner = owner
        self.listings = [listing(number) for number in range(1, 6)]
        self.peers = [each.peer for each in self.listings]
        market = Market(self.state, self.clock, PeerId(bytes(32)), views=self.views)

        async def answer(_servers, *, everything, **_):
            return SimpleNamespace(listings=self.listings)

        monkeypatch.setattr(market, "_ask", answer)
        for peer, days in zip(self.peers, (120, 90, 60), strict=False):
            self.saw(peer, Kind.AUDITED, days=days, size_bytes=10 * GIB)
        self.commands = ChooseCommands(
            SimpleNamespace(parts=self, servers=lambda _: [], owner=SimpleNamespace(market=market))
        )

    def best(self, **wanted):
        found = asyncio.run(self.commands.best(BestRequest(**{"storage": 10**9, **wanted}), None))
        return [self.number(row) for row in (found.best, found.next) if row is not None]

    def number(self, row):
        return [format_peer_id(peer) for peer in self.peers].index(row.peer_id) + 1

    def agree_with(self, number):
        host = self.peers[number - 1]
        self.state.put_agreement(AgreementId(bytes([number]) * 16), host, self.owner.propose(host, number=number))


@pytest.fixture
def bazaar(tmp_path, monkeypatch, owner):
    made = Bazaar(tmp_path, monkeypatch, owner)
    yield made
    made.close()


def test_the_best_is_proposed_with_the_runner_up(bazaar):
    assert bazaar.best() == [1, 2]


def test_ones_own_hosts_blocked_and_caught_ones_are_not_proposed(bazaar):
    bazaar.agree_with(1)
    assert bazaar.best() == [2, 3]
    bazaar.state.blocks.put(bazaar.peers[1], "", 1)
    assert bazaar.best() == [3]
    bazaar.log.record(Observation(bazaar.peers[2], Kind.MISBEHAVED, START_MS))
    with pytest.raises(NotFoundError) as caught:
        bazaar.best()
    for why in (
        "of 5 hosts on offer none",
        "1 your host already",
        "1 blocked",
        "1 known to have failed",
        "2 below 0.50",
    ):
        assert why in caught.value.message
    assert "--trial" in caught.value.hint


def test_a_host_at_the_limit_whose_fault_is_not_made_good_is_not_proposed_and_its_risks_say_so(bazaar):
    caught = bazaar.peers[0]
    bazaar.saw(caught, Kind.INTEGRITY_FAULT, size_bytes=0)
    assert bazaar.standing.trust(caught)[0] == 0.5
    assert bazaar.standing.bar(caught) is None
    assert bazaar.best() == [2, 3]
    assert any("is not made good" in risk for risk in bazaar.standing.risks(caught))
    bazaar.saw(caught, Kind.HEALED)
    bazaar.saw(caught, Kind.CLEARED)
    assert not any("is not made good" in risk for risk in bazaar.standing.risks(caught))


def test_the_advice_of_a_newcomer_comes_only_where_somebody_is_not_trusted_and_names_no_host_of_ones_own(bazaar):
    del bazaar.listings[1:]
    bazaar.agree_with(1)
    with pytest.raises(NotFoundError, match="1 your host already") as caught:
        bazaar.best()
    assert "--trial" not in caught.value.hint
    bazaar.listings.append(listing(2, free_gib=4))
    with pytest.raises(NotFoundError, match="1 with less than") as caught:
        bazaar.best(storage=10 * GIB)
    assert "--trial" not in caught.value.hint
    assert "a smaller --storage may fit" in caught.value.hint
    bazaar.listings.append(listing(5))
    with pytest.raises(NotFoundError, match="1 below") as caught:
        bazaar.best(storage=10 * GIB)
    assert f"connect {shorten_peer_id(bazaar.peers[4])} --trial" in caught.value.hint


def test_who_has_no_room_or_is_elsewhere_is_passed_over(bazaar):
    bazaar.listings[0] = listing(1, free_gib=4)
    bazaar.listings[1] = listing(2, region="US-W")
    assert bazaar.best(storage=10 * GIB, region="eu") == [3]


def test_who_may_be_one_machine_with_a_host_of_today_is_passed_over(bazaar):
    bazaar.agree_with(1)
    bazaar.places |= {bazaar.peers[0]: ["8.8.4.4:1"], bazaar.peers[1]: ["8.8.4.5:1"]}
    assert bazaar.best() == [3]


def test_an_empty_market_is_no_such_thing_and_a_friend_is_the_advice(bazaar):
    bazaar.listings.clear()
    with pytest.raises(NotFoundError, match="nobody offers space") as caught:
        bazaar.best()
    assert caught.value.exit_code == 10
    assert "ask a friend" in caught.value.hint


def test_a_host_in_doubt_or_under_an_alarm_is_counted_as_that_and_not_as_unproven(bazaar):
    del bazaar.listings[3:]
    raise_alarm(bazaar.state, bazaar.peers[0], Sort.WORDS, now_ms=START_MS)
    raise_alarm(bazaar.state, bazaar.peers[1], Sort.ANSWERED, now_ms=START_MS)
    assert bazaar.best() == [3]
    bazaar.log.record(Observation(bazaar.peers[2], Kind.MISBEHAVED, START_MS))
    with pytest.raises(NotFoundError, match="2 in doubt, 1 known to have failed") as caught:
        bazaar.best()
    assert "below" not in caught.value.message
    assert "--trial" not in caught.value.hint
