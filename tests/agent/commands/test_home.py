"""What a home says of itself and of its peers."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.houses import offer
from backuppeer.agent.agent import Agent
from backuppeer.agent.commands import home as home_module
from backuppeer.agent.commands.home import HomeCommands
from backuppeer.agent.home.records import Direction
from backuppeer.agent.host.reciprocity import Reciprocity
from backuppeer.clock import format_time
from backuppeer.control.api import Nothing, PeerSetting
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import NotFoundError, UserError
from backuppeer.ids import PeerId, format_peer_id, shorten_peer_id
from backuppeer.limits import REQUEST_KEPT_S
from backuppeer.proof.statements import sign_statement
from backuppeer.proof.succession import Succession
from backuppeer.trust.policy import UNCOMPARED


@pytest.fixture
def commands(house):
    parts = SimpleNamespace(
        state=house.state,
        clock=house.clock,
        standing=house.standing,
        keys=SimpleNamespace(peer=house.peer),
        sessions={},
        views=SimpleNamespace(heirs=house.heirs),
    )
    reciprocity = Reciprocity(house.state, house.premises, house.clock)
    host = SimpleNamespace(premises=house.premises, reciprocity=reciprocity)
    return HomeCommands(SimpleNamespace(parts=parts, host=host))


def record(commands, peer):
    return asyncio.run(commands.set_peer(PeerSetting(peer=peer, verified=True), None))


def test_a_host_records_that_it_compared_the_words_with_an_owner(commands, house, owner):
    owner.agree_with(house)
    assert not house.standing.is_friend(owner.peer)
    row = record(commands, format_peer_id(owner.peer)[:14])
    assert (row.peer_id, row.role, row.verified) == (format_peer_id(owner.peer), "owner", True)
    assert house.standing.is_friend(owner.peer)


def test_a_comparison_is_recorded_before_the_agreement_by_the_full_id(commands, house, owner):
    assert record(commands, format_peer_id(owner.peer)).verified
    assert house.standing.is_friend(owner.peer)


@pytest.mark.parametrize(("text", "is_shown"), [(UNCOMPARED, True), ("another reminder", False)])
def test_a_reminder_to_compare_says_how(house, owner, text, is_shown):
    house.state.call(owner.peer, "old bob", house.clock.now_ms())
    said = home_module._say_way_out(house.state, owner.peer, text)
    assert ("`backup-peer peers verify 'old bob'`" in said) == is_shown


def test_who_is_in_session_is_seen_now_and_others_when_it_ended(commands, house, owner):
    owner.agree_with(house)
    met_ms = house.clock.now_ms()
    house.state.meet(owner.peer, met_ms)
    commands._parts.clock = SimpleNamespace(now_ms=lambda: met_ms + 3_600_000)
    (row,) = asyncio.run(commands.peers(Nothing(), None))
    assert row.last_seen == format_time(met_ms)
    commands._parts.sessions[owner.peer] = object()
    (row,) = asyncio.run(commands.peers(Nothing(), None))
    assert row.last_seen == format_time(met_ms + 3_600_000)


def test_the_end_of_a_session_is_noted_as_when_its_peer_was_seen(house, owner):
    async def scenario():
        ended, contacts = asyncio.Event(), []
        contacting = SimpleNamespace(ended=contacts.append)
        lost = []
        reach = SimpleNamespace(keeping=SimpleNamespace(lost=lost.append))
        parts = SimpleNamespace(state=house.state, clock=house.clock, contacting=contacting, reach=reach)
        agent = Agent(parts, None, None, None)
        session = SimpleNamespace(peer=owner.peer, ended=ended)
        waiting = asyncio.create_task(agent._see_off(session))
        await asyncio.sleep(0)
        assert house.state.peer(owner.peer) is None
        ended.set()
        await waiting
        assert house.state.peer(owner.peer).last_seen_ms == house.clock.now_ms()
        assert contacts == lost == [session]

    asyncio.run(scenario())


def test_nobody_compares_words_with_oneself_or_with_somebody_unknown(commands, house):
    with pytest.raises(UserError, match="your own id"):
        record(commands, format_peer_id(house.peer))
    with pytest.raises(NotFoundError):
        record(commands, "zoe")


def test_a_peer_gets_a_name_which_says_nothing_of_who_it_is_or_when_it_was_seen(commands, house, owner):
    peer = format_peer_id(owner.peer)
    row = asyncio.run(commands.set_peer(PeerSetting(peer=peer, name="bob"), None))
    assert (row.alias, row.verified, row.last_seen) == ("bob", False, "")
    assert asyncio.run(commands.set_peer(PeerSetting(peer="bob", name="robert"), None)).alias == "robert"
    with pytest.raises(UserError, match="can't be a name"):
        asyncio.run(commands.set_peer(PeerSetting(peer="robert", name="a/b"), None))


def test_requests_that_wait_are_counted_by_direction_and_lapsed_ones_are_not(commands, house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    assert (commands._count_waiting(Direction.IN), commands._count_waiting(Direction.OUT)) == (1, 0)
    house.clock.ms += (REQUEST_KEPT_S + 1) * 1000
    assert commands._count_waiting(Direction.IN) == 0


def test_an_heir_has_the_name_the_line_says_so_and_the_old_id_is_listed_no_more(commands, house, owner):
    house.state.meet(owner.peer, 5, alias="bob", verified=True)
    heir = SigningKey.from_seed(b"1" * 32)
    words = SigningKey.from_seed(b"w" * 32)
    said = Succession(authority=words.public, old=owner.peer, new=PeerId(heir.public), generation=2, time_ms=1)
    house.heirs.take(sign_statement(said, words, heir), words.public)
    [row] = asyncio.run(commands.peers(Nothing(), None))
    assert (row.peer_id, row.alias, row.verified) == (format_peer_id(PeerId(heir.public)), "bob", False)
    assert row.lineage[0].startswith(f"it was {shorten_peer_id(owner.peer)} until ")
    assert "compare the words anew: `backup-peer peers verify bob`" in row.lineage[1]


def test_an_old_id_under_which_something_is_agreed_is_listed_with_who_goes_on_as_it(commands, house, owner):
    owner.agree_with(house)
    heir = SigningKey.from_seed(b"1" * 32)
    words = SigningKey.from_seed(b"w" * 32)
    said = Succession(authority=words.public, old=owner.peer, new=PeerId(heir.public), generation=2, time_ms=1)
    house.state.meet(owner.peer, 5, alias="bob")
    house.heirs.take(sign_statement(said, words, heir), words.public)
    rows = {row.peer_id: row for row in asyncio.run(commands.peers(Nothing(), None))}
    assert rows[format_peer_id(owner.peer)].capped[0].startswith("it goes on as bp1")
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("hosts", "snapshots", "said"),
    [(True, 0, ["why: what to do"]), (True, 3, ["why: what to do"]), (False, 3, ["why"]), (False, 0, [])],
)
def test_taking_over_is_advised_where_there_are_hosts_to_ask(hosts, snapshots, said):
    index = SimpleNamespace(snapshots=lambda: range(snapshots))
    writer = SimpleNamespace(describe=lambda: "why: what to do", explain=lambda: "why")
    vault = SimpleNamespace(writer=writer, exists_repository=True, repository=SimpleNamespace(index=index))
    reading = HomeCommands(SimpleNamespace(parts=None, owner=SimpleNamespace(vault=vault)))
    assert reading._say_reading(has_hosts=hosts) == said
