"""What a person is told of the other one before saying yes: score, level, why, what is against it."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.houses import WISH
from backuppeer.agent.commands.host import HostCommands
from backuppeer.agent.commands.owner import OwnerCommands
from backuppeer.agent.peers.market import Market
from backuppeer.agent.repute.views import make_views
from backuppeer.control.api import BrowseRequest
from backuppeer.control.choosing import ConnectPlanRequest
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import GIB
from backuppeer.trust.evidence import Kind, Observation

BOB = PeerId(b"b" * 32)
DAY_MS = 86_400_000


class Listed:
    """What servers answer with: one offer of bob."""

    def __init__(self, **changes):
        fields = {"storage_bytes": GIB, "free_bytes": GIB, "region": "", "availability": 0, "expires_ms": 10**12}
        self.listing = SimpleNamespace(**{**fields, "term_s": 86400, "lock_s": 3600, "ext": {}, **changes})
        self.peer, self.servers, self.is_equivocating = BOB, ("wss://one.example",), False


@pytest.fixture
def agent(house, monkeypatch):
    """The parts of a home that say what it thinks of others, over its own evidence."""
    views = make_views(house.state, house.standing, house.evidence, house.clock, addresses=lambda _: ())
    parts = SimpleNamespace(
        state=house.state,
        clock=house.clock,
        standing=house.standing,
        views=views,
        keys=SimpleNamespace(peer=house.peer),
    )
    market = Market(house.state, house.clock, house.peer, views=views)

    async def ask(servers, *, everything, **_):
        return SimpleNamespace(listings=[Listed()])

    monkeypatch.setattr(market, "_ask", ask)
    vault = SimpleNamespace(check_writable=lambda: None, exposing=SimpleNamespace(cap=lambda _: None))
    connecting = SimpleNamespace(agreement_with=lambda _: None)
    knocking = SimpleNamespace(find=lambda peer, servers: market.find(servers, peer))
    owner = SimpleNamespace(market=market, knocking=knocking, vault=vault, connecting=connecting)
    host = SimpleNamespace(reciprocity=SimpleNamespace(owed_to_us=lambda _: SimpleNamespace(lacking_bytes=0)))
    return SimpleNamespace(parts=parts, owner=owner, host=host, servers=lambda named: named or [])


def saw(house, kind, *, days=1):
    for day in range(days):
        house.evidence.record(Observation(BOB, kind, house.clock.now_ms() - day * DAY_MS, 10 * GIB))


def plan_of(agent):
    return asyncio.run(OwnerCommands(agent).plan(ConnectPlanRequest(peer=format_peer_id(BOB)), None))


def row_of(agent):
    [row] = asyncio.run(agent.owner.market.browse([], BrowseRequest()))
    return row


def asked_by(agent, house):
    agent.host = SimpleNamespace(
        requests=house.requests,
        hosting=SimpleNamespace(),
        sweeping=SimpleNamespace(alarms=SimpleNamespace()),
        scrubbing=SimpleNamespace(proving=SimpleNamespace()),
        ending=SimpleNamespace(),
        waiving=SimpleNamespace(),
    )

    async def describe():
        return await HostCommands(agent).describe(house.requests.make_record(BOB, WISH, b""))

    return asyncio.run(describe())


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        ([], "nothing known"),
        ([(Kind.AUDITED, 90)], "kept 10.7 GB for 90 days"),
        ([(Kind.AUDITED, 90), (Kind.MISBEHAVED, 1)], "it broke its signed word"),
    ],
)
def test_the_plan_the_request_and_the_list_say_the_same_of_a_peer_and_why(agent, house, kinds, reason):
    for kind, days in kinds:
        saw(house, kind, days=days)
    row, plan = row_of(agent), plan_of(agent)
    asked = asked_by(agent, house)
    assert row.reason.startswith(reason)
    assert (plan.trust, plan.trust_level, plan.reason, plan.capped) == (
        row.trust,
        row.trust_level,
        row.reason,
        row.capped,
    )
    told = (asked.trust, asked.trust_level, asked.trust_reason, asked.capped)
    assert told == (row.trust, row.trust_level, row.reason, row.capped)
    assert asked.reason == "", "why it was rejected: nobody did"


def test_of_a_market_of_strangers_the_state_is_asked_twice_each_and_the_evidence_never(agent, house, monkeypatch):
    others = [Listed() for _ in range(300)]
    for number, each in enumerate(others):
        each.peer = PeerId(number.to_bytes(32, "big"))

    async def ask(servers, *, everything, **_):
        return SimpleNamespace(listings=others)

    monkeypatch.setattr(agent.owner.market, "_ask", ask)
    asked, seen = [], []
    house.state._db.set_trace_callback(asked.append)
    house.evidence._connection.set_trace_callback(seen.append)
    rows = asyncio.run(agent.owner.market.browse([], BrowseRequest()))
    assert len(rows) == 300
    looks = [text for text in asked if text.startswith("SELECT")]
    assert len(looks) <= 2 * len(rows) + 10, looks[-12:]
    assert seen == []


def test_what_holds_a_host_down_is_said_once_in_a_plan(agent, house):
    saw(house, Kind.AUDITED, days=90)
    saw(house, Kind.MISBEHAVED)
    plan = plan_of(agent)
    assert plan.capped
    assert not set(plan.capped) & set(plan.risks)
