"""Safety words compared: a friend whose score rises, or an alarm that no flag answers."""

import asyncio
from types import SimpleNamespace

import pytest

from agent.houses import offer
from agent.loops import START_MS
from backuppeer.agent.commands.home import HomeCommands
from backuppeer.agent.commands.host import HostCommands
from backuppeer.agent.commands.owner import OwnerCommands
from backuppeer.agent.commands.verifying import VerifyCommands
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.peers import misbinding
from backuppeer.agent.peers.misbinding import Sort
from backuppeer.control.api import PeerRequest, PeerSetting, RequestDecision
from backuppeer.control.choosing import ConnectPlanRequest
from backuppeer.control.verifying import VerifyRequest
from backuppeer.crypto.identity import SigningKey
from backuppeer.crypto.words import safety_words
from backuppeer.errors import AuthenticationFault, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import IDENTITY_ALARM_AGAIN_S, IDENTITY_ALARMS
from backuppeer.proof.statements import sign_statement
from backuppeer.proof.succession import Succession
from backuppeer.trust.evidence import Kind


@pytest.fixture
def agent(house):
    keys = SimpleNamespace(peer=house.peer)
    parts = SimpleNamespace(state=house.state, clock=house.clock, standing=house.standing, keys=keys)
    return SimpleNamespace(parts=parts)


def plan(agent, peer):
    return asyncio.run(VerifyCommands(agent).plan(PeerRequest(peer=format_peer_id(peer)), None))


def compare(agent, peer, *, same):
    return asyncio.run(VerifyCommands(agent).verify(VerifyRequest(peer=format_peer_id(peer), same=same), None))


def test_the_words_are_those_of_the_two_ids_and_equal_ones_make_a_friend(agent, house, owner):
    owner.agree_with(house)
    shown = plan(agent, owner.peer)
    assert shown.safety_words == safety_words(house.peer, owner.peer)
    assert (shown.verified, shown.alarms) == (False, [])
    result = compare(agent, owner.peer, same=True)
    assert result.verified
    assert result.trust == round(house.standing.trust(owner.peer)[0], 3) > result.trust_before
    assert house.standing.is_friend(owner.peer)
    assert plan(agent, owner.peer).verified


def test_who_is_compared_with_was_not_seen_by_that(agent, house, owner):
    compare(agent, owner.peer, same=True)
    assert house.state.peer(owner.peer).last_seen_ms == 0


def test_other_words_are_an_alarm_and_no_fault_of_the_peer(agent, house, owner):
    house.state.meet(owner.peer, START_MS, alias="bob", verified=True)
    before = house.evidence.summarise(owner.peer, now_ms=house.clock.now_ms())
    result = compare(agent, owner.peer, same=False)
    assert not result.verified
    assert result.trust < result.trust_before
    assert not house.standing.is_friend(owner.peer)
    (seen,) = house.evidence.latest(owner.peer)
    assert seen.kind is Kind.AUTH_FAULT
    assert house.evidence.summarise(owner.peer, now_ms=house.clock.now_ms()) == before
    (alarm,) = plan(agent, owner.peer).alarms
    assert "`backup-peer peers verify bob`" in alarm


def test_a_request_that_was_made_as_a_friend_s_does_not_bring_the_mark_back(agent, house, owner):
    record = RequestRecord("r", Direction.OUT, owner.peer, 1, 1, 1, RequestState.WAITING, START_MS, is_verified=True)
    house.state.put_request(record)
    house.state.meet(owner.peer, START_MS)
    compare(agent, owner.peer, same=False)
    assert not house.state.find_request(Direction.OUT, owner.peer).is_verified


def test_no_flag_answers_an_alarm_and_a_comparison_does(agent, house, owner):
    house.state.meet(owner.peer, START_MS)
    compare(agent, owner.peer, same=False)
    setting = PeerSetting(peer=format_peer_id(owner.peer), verified=True)
    with pytest.raises(AuthenticationFault) as caught:
        asyncio.run(HomeCommands(agent).set_peer(setting, None))
    assert caught.value.exit_code == 12
    assert "peers verify" in caught.value.hint
    assert not house.standing.is_friend(owner.peer)
    compare(agent, owner.peer, same=True)
    assert house.standing.is_friend(owner.peer)
    assert misbinding.list_alarms(house.state) == []


def test_nothing_new_is_agreed_with_a_peer_that_may_be_another(agent, house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    (request,) = house.state.requests()
    agent.host = house
    accept = RequestDecision(request=request.request)
    compare(agent, owner.peer, same=False)

    async def decide():
        commands = object.__new__(HostCommands)
        commands._agent, commands._parts = agent, agent.parts
        return await commands.accept(accept, None)

    with pytest.raises(AuthenticationFault, match="nothing new is agreed"):
        asyncio.run(decide())
    asking = OwnerCommands(agent)
    agent.owner = SimpleNamespace(connecting=SimpleNamespace(agreement_with=lambda _: None), vault=None)
    with pytest.raises(AuthenticationFault, match="nothing new is agreed"):
        asyncio.run(asking.plan(ConnectPlanRequest(peer=format_peer_id(owner.peer)), None))
    assert [record.state for record in house.state.requests()] == [RequestState.WAITING]


def test_nobody_compares_words_with_themselves(agent, house):
    with pytest.raises(UserError, match="your own id"):
        plan(agent, house.peer)


def test_an_alarm_is_told_until_it_was_seen_and_again_when_its_cause_goes_on_for_days(house, owner):
    def sound(after_s):
        misbinding.raise_alarm(house.state, owner.peer, Sort.ANSWERED, now_ms=START_MS + after_s * 1000)

    sound(0)
    sound(60)
    (told,) = misbinding.describe(house.state)
    assert misbinding.see(house.state) == [told]
    assert misbinding.see(house.state) == misbinding.describe(house.state) == []
    sound(120)
    assert misbinding.describe(house.state) == []
    assert len(misbinding.doubts_about(house.state, owner.peer)) == 1, "what was seen stands all the same"
    sound(120 + IDENTITY_ALARM_AGAIN_S)
    assert len(misbinding.describe(house.state)) == 1


def test_alarms_are_bounded_and_those_that_nobody_saw_stay_longest(house):
    peers = [bytes([number]) * 32 for number in range(IDENTITY_ALARMS + 1)]
    misbinding.raise_alarm(house.state, peers[0], Sort.WORDS, now_ms=START_MS)
    for number, peer in enumerate(peers[1:IDENTITY_ALARMS]):
        misbinding.raise_alarm(house.state, peer, Sort.MOVED, now_ms=START_MS + 1 + number)
        misbinding.see(house.state)
    misbinding.raise_alarm(house.state, peers[-1], Sort.MOVED, now_ms=START_MS + 1000)
    misbinding.raise_alarm(house.state, peers[0], Sort.FORKED, now_ms=START_MS + 1001)
    kept = misbinding.list_alarms(house.state)
    assert len(kept) == IDENTITY_ALARMS
    assert {alarm.peer for alarm in kept if not alarm.is_seen} == {peers[0], peers[-1]}


@pytest.mark.parametrize("sort", [sort for sort in Sort if sort is not Sort.HEIRS])
def test_each_alarm_names_the_peer_and_a_way_out(house, owner, sort):
    house.state.meet(owner.peer, START_MS, alias="old bob")
    misbinding.raise_alarm(house.state, owner.peer, sort, now_ms=START_MS)
    (told,) = misbinding.describe(house.state)
    assert told.startswith("ALARM: ")
    assert "`backup-peer block 'old bob'`" in told


def test_two_heirs_are_an_alarm_that_only_comparing_or_blocking_ends(agent, house, owner):
    words, heirs = SigningKey.from_seed(b"w" * 32), [SigningKey.from_seed(seed * 32) for seed in (b"1", b"2")]
    house.state.meet(owner.peer, START_MS, alias="bob")

    def name(heir):
        said = Succession(authority=words.public, old=owner.peer, new=PeerId(heir.public), generation=2, time_ms=1)
        house.heirs.take(sign_statement(said, words, heir), words.public)

    name(heirs[0])
    followed = PeerId(heirs[0].public)
    with pytest.raises(AuthenticationFault) as told:
        name(heirs[1])
    assert told.value.exit_code == 12
    (alarm,) = misbinding.describe(house.state)
    assert "`backup-peer peers verify bob`" in alarm
    assert "`backup-peer block bob`" in alarm
    assert plan(agent, followed).alarms == [alarm]
    with pytest.raises(AuthenticationFault, match="an alarm about bob"):
        misbinding.refuse_doubted(house.state, followed, misbinding.NOTHING_NEW)
    assert compare(agent, followed, same=True).verified
    assert misbinding.describe(house.state) == []
    misbinding.refuse_doubted(house.state, followed, misbinding.NOTHING_NEW)


def test_an_id_that_was_succeeded_is_never_made_a_friend_and_the_heir_is_named(agent, house, owner):
    words, heirs = SigningKey.from_seed(b"w" * 32), [SigningKey.from_seed(seed * 32) for seed in (b"1", b"2")]
    house.state.meet(owner.peer, START_MS, alias="bob")
    line = [owner.peer, *(PeerId(heir.public) for heir in heirs)]
    for generation, (old, heir) in enumerate(zip(line, heirs, strict=False), 2):
        said = Succession(
            authority=words.public, old=old, new=PeerId(heir.public), generation=generation, time_ms=generation
        )
        house.heirs.take(sign_statement(said, words, heir), words.public)
    for old in line[:-1]:
        for ask in (lambda: plan(agent, old), lambda: compare(agent, old, same=True)):  # noqa: B023 - called at once
            with pytest.raises(UserError, match=f"bob goes on as {format_peer_id(line[-1])}") as told:
                ask()
            assert "`backup-peer peers verify bob`" in told.value.hint
        assert not house.standing.is_friend(old)
    assert compare(agent, line[-1], same=True).verified
