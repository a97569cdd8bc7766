"""A peer shut out: nothing new on either side, everything old readable and never erased by it."""

import asyncio
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from agent.hosted import hosted
from agent.houses import WISH, FixedReach, offer
from backuppeer.agent.commands.blocking import BlockCommands
from backuppeer.agent.commands.ending import EndCommands
from backuppeer.agent.home.records import Direction, RequestState
from backuppeer.agent.owner.ending import Ending
from backuppeer.control.api import PeerRequest
from backuppeer.control.blocking import BlockRequest
from backuppeer.errors import (
    AuthenticationFault,
    NotFoundError,
    PeerUnreachable,
    ProtocolViolation,
    RefusedError,
    UserError,
)
from backuppeer.ids import AgreementId, format_peer_id
from backuppeer.limits import BLOCK_REASON_CHARS, MIB
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement
from backuppeer.signaling.knock import Verdict
from backuppeer.wire.messages import GetRange, Range


def commands(house, answers=None):
    """The commands of a host; answers: what a peer says to its notice, nothing: it is away."""
    away = FixedReach(answers or PeerUnreachable("away"))
    keys = SimpleNamespace(peer=house.peer, identity=house.identity, device=house.identity)
    parts = SimpleNamespace(state=house.state, clock=house.clock, keys=keys, reach=away)
    host = SimpleNamespace(premises=house.premises, requests=house.requests, ending=house.ending)
    owner = SimpleNamespace(ending=Ending(house.state, keys, house.clock, reach=away))
    agent = SimpleNamespace(parts=parts, host=host, owner=owner)
    return BlockCommands(agent, EndCommands(agent))


def block(house, owner, reason="went too far"):
    return asyncio.run(
        commands(house).block(BlockRequest(peer=format_peer_id(owner.peer), reason=reason, confirmed=True), None)
    )


def unblock(house, owner):
    return asyncio.run(commands(house).unblock(PeerRequest(peer=format_peer_id(owner.peer)), None))


def test_what_ends_is_said_beforehand_and_nothing_is_blocked_without_a_yes(house, owner):
    request = BlockRequest(peer=format_peer_id(owner.peer))
    house.state.meet(owner.peer, house.clock.now_ms())
    assert asyncio.run(commands(house).plan(request, None)).ends == []
    agreement = owner.agree_with(house)
    (end,) = asyncio.run(commands(house).plan(request, None)).ends
    assert (end.side, end.used_bytes, bool(end.until)) == ("host", 0, True)
    with pytest.raises(UserError, match="ends an agreement"):
        asyncio.run(commands(house).block(request, None))
    assert owner.peer not in house.state.blocks
    assert house.premises.open().notices.left_s(agreement) is None
    result = block(house, owner)
    assert [(end.side, end.ended_by_us) for end in result.ends] == [("host", True)]
    assert asyncio.run(commands(house).plan(request, None)).ends == [], "what ended already needs no second yes"


def test_a_blocked_owner_brings_nothing_new_and_reads_all_that_it_has(house, owner):
    agreement = owner.agree_with(house)

    async def scenario():
        async with hosted(house, owner) as link:
            await link.put(agreement, bytes(100_000))
            stored = house.premises.open().list_packs(agreement)[0].stored
            await asyncio.to_thread(block, house, owner)
            with pytest.raises(RefusedError, match="full"):
                await link.put(agreement, bytes(50_000))
            house.premises.close()  # and so after a restart
            with pytest.raises(RefusedError, match="full"):
                await link.put(agreement, bytes(50_000))
            asked = GetRange(agreement=agreement, stored=stored, first_leaf=0, leaves=1)
            async with link.session.request(asked) as channel:
                answer = await channel.receive(Range)
                async for _ in channel.receive_raw(answer.size):
                    pass
            await asyncio.to_thread(unblock, house, owner)
            assert await link.put(agreement, bytes(50_000)) == "sent"

    asyncio.run(scenario())


def test_what_a_blocked_owner_has_is_kept_for_the_whole_notice(house, owner):
    agreement = owner.agree_with(house)
    result = block(house, owner)
    assert (result.blocked, result.reason) == (True, "went too far")
    assert result.until
    assert house.premises.open().notices.left_s(agreement) == 2 * WISH[2], "the owner was not told yet"
    result = unblock(house, owner)
    assert (result.blocked, bool(result.until)) == (False, True), "the notice is another matter"
    assert result.reason == "went too far", "who lets a peer in again is told why it was shut out"


def test_a_blocked_stranger_is_told_what_anybody_would_be_and_asks_nobody(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    block(house, owner)
    record = house.state.find_request(Direction.IN, owner.peer)
    assert record.state is RequestState.REJECTED
    assert "went too far" not in record.reason, "the reason is for our own person"
    house.shown.clear()
    with pytest.raises(RefusedError, match="nothing is on offer here"):
        house.requests.consider_knock(owner.knock(house, (8 * MIB, *WISH[1:])), offer("all"))
    assert house.shown == []
    unblock(house, owner)
    assert house.requests.consider_knock(owner.knock(house, (8 * MIB, *WISH[1:])), offer("all")) is Verdict.ACCEPTED


def test_what_was_accepted_and_not_agreed_yet_is_turned_down(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("all"))
    block(house, owner)
    assert not house.requests.may_answer(owner.peer)
    with pytest.raises(RefusedError):
        house.requests.consider_proposal(owner.peer, owner.propose(house.peer))


def test_a_partner_that_is_blocked_gets_in_to_read_and_gets_no_more(house, owner):
    owner.agree_with(house)
    block(house, owner)
    bigger = owner.knock(house, (8 * MIB, *WISH[1:]))
    assert house.requests.consider_knock(bigger, offer("all")) is Verdict.ACCEPTED
    with pytest.raises(RefusedError):
        house.requests.consider_proposal(owner.peer, owner.propose(house.peer, (8 * MIB, *WISH[1:]), number=2))


def test_trust_in_a_blocked_peer_is_nothing_and_comes_back_with_it(house, owner):
    house.state.meet(owner.peer, house.clock.now_ms(), verified=True)
    before = house.standing.trust(owner.peer)
    assert before[0] > 0
    block(house, owner)
    assert house.standing.trust(owner.peer)[0] == 0.0
    unblock(house, owner)
    assert house.standing.trust(owner.peer) == before


def test_nonsense_is_refused_and_blocks_nobody(house, owner):
    with pytest.raises(NotFoundError):
        asyncio.run(commands(house).block(BlockRequest(peer="nobody"), None))
    with pytest.raises(UserError, match="your own"):
        asyncio.run(commands(house).block(BlockRequest(peer=format_peer_id(house.peer)), None))
    with pytest.raises(UserError, match="characters"):
        block(house, owner, "x" * (BLOCK_REASON_CHARS + 1))
    with pytest.raises(UserError, match="not blocked"):
        unblock(house, owner)
    assert owner.peer not in house.state.blocks


@pytest.mark.parametrize(
    ("answer", "left"),
    [(RefusedError("no"), ["owner"]), (ProtocolViolation("nonsense"), []), (AuthenticationFault("not it"), [])],
)
def test_no_answer_of_a_blocked_peer_keeps_its_notice_from_being_given(house, owner, answer, left):
    agreement = owner.agree_with(house)
    terms = peek_statement(Agreement, owner.state.agreements()[0][2])
    kept = replace(terms, agreement=AgreementId(bytes([9]) * 16), owner=house.peer, host=owner.peer)
    house.state.put_agreement(kept.agreement, owner.peer, sign_statement(kept, house.identity, owner.keys.identity))
    verbs = commands(house, answers=answer)
    request = BlockRequest(peer=format_peer_id(owner.peer), confirmed=True)
    result = asyncio.run(verbs.block(request, None))
    assert house.premises.open().notices.left_s(agreement), "notice as host was given"
    assert ("host" in [end.side for end in result.ends], owner.peer in house.state.blocks) == (True, True)
    assert [(each.side, each.why) for each in result.left] == [(side, answer.message) for side in left]
    assert [end.side for end in result.ends if end.side == "owner"] == ([] if left else ["owner"]), "or told when met"


def test_a_store_that_is_away_is_said_to_be_left(house, owner):
    owner.agree_with(house)
    confirmed = BlockRequest(peer=format_peer_id(owner.peer), confirmed=True)
    house.premises.leave()
    (left,) = asyncio.run(commands(house).block(confirmed, None)).left
    assert (left.side, bool(left.why)) == ("host", True)
    assert owner.peer in house.state.blocks
