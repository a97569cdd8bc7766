import asyncio

import pytest

from agent.hosted import hosted
from agent.houses import WISH, FixedReach, offer
from agent.loops import VirtualClock, play
from backuppeer.agent.home.records import Direction, RequestState
from backuppeer.agent.home.state import State
from backuppeer.agent.owner.connecting import Connecting
from backuppeer.agent.peers.names import resolve_peer
from backuppeer.agent.peers.whereabouts import Whereabouts
from backuppeer.cli.units import parse_size
from backuppeer.control.api import ConnectRequest
from backuppeer.crypto.identity import SigningKey
from backuppeer.errors import AuthenticationFault, PeerFault, PeerUnreachable, PendingError, RefusedError, UserError
from backuppeer.ids import format_peer_id
from backuppeer.limits import KNOCK_AGAIN_S, REQUEST_KEPT_S
from backuppeer.proof.statements import Agreement, add_signature
from backuppeer.proof.succession import HOST_AUTHORITY
from backuppeer.signaling.knock import Verdict
from backuppeer.wire.messages import Agreed, Hello, ProposeAgreement

WHERE = Whereabouts(b"t" * 32, ("10.0.0.2:4433",))


class Door:
    """Stands where Knocking is: answers as told, and notes the knocks."""

    def __init__(self, answer):
        self.answer, self.knocks, self.work_s = answer, [], 0.0

    async def knock(self, record, servers, *, on_work):
        self.knocks.append(record)
        if self.work_s:
            await on_work("wss://two.example:8443", self.work_s)
            await on_work("wss://two.example:8443", 0.0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Meeting(FixedReach):
    """Stands where Reach is: the one session there is, or nobody ever comes."""

    async def dial(self, peer, _):
        return await self.session(peer)

    async def wait_for(self, _, timeout_s):
        await asyncio.sleep(timeout_s)


def connecting(owner, door, session=None, clock=None):
    reach = Meeting(session or PeerUnreachable("nobody"))
    return Connecting(owner.state, owner.keys, clock or owner.clock, reach=reach, knocking=door)


def wanting(house, *, name="", wait_s=60.0, storage=WISH[0]):
    return ConnectRequest(
        peer=format_peer_id(house.peer), storage=storage, term_s=WISH[1], lock_s=WISH[2], name=name, wait_s=wait_s
    )


async def quiet(state, text):
    del state, text


def newest(owner, house):
    return owner.state.find_request(Direction.OUT, house.peer)


def let_in(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("all"))


def test_a_host_that_lets_us_in_ends_with_the_same_agreement_on_both_sides(house, owner):
    let_in(house, owner)

    async def scenario():
        async with hosted(house, owner) as link:
            way = connecting(owner, Door((Verdict.ACCEPTED, WHERE)), link.session)
            session = await way.connect(house.peer, wanting(house, name="attic"), [], quiet)
            assert session is link.session
            (lease,) = house.premises.leases_of(owner.peer)
            assert [signed for _, _, signed in owner.state.agreements()] == [lease.signed]
            assert way.agreement_with(house.peer).size_bytes == WISH[0]
            assert owner.state.peer_by_alias("attic").peer == house.peer
            assert newest(owner, house).state is RequestState.AGREED
            assert await way.agree(session), "asked again: it stands"
            assert len(house.premises.leases_of(owner.peer)) == 1
            assert way.may_answer(house.peer)

    asyncio.run(scenario())


@pytest.mark.parametrize("storage", [WISH[0], WISH[0] + 1])
def test_an_owner_that_lost_its_state_takes_up_the_agreement_that_the_host_hands_back(house, owner, storage):
    agreement = owner.agree_with(house)
    (signed,) = [signed for _, _, signed in owner.state.agreements()]
    owner.state.close()
    owner.home.state.unlink()
    owner.state = State(owner.home.state)

    async def scenario():
        async with hosted(house, owner) as link:
            way = connecting(owner, Door((Verdict.ACCEPTED, WHERE)), link.session)
            # The Hello of the host, which agent.adoption reads before anything else is said.
            owner.state.put_agreement(agreement, house.peer, signed)
            way.agreement_with = blind_once(way.agreement_with)
            if storage > WISH[0]:
                with pytest.raises(RefusedError, match="agreed to"):
                    await way.connect(house.peer, wanting(house, storage=storage), [], quiet)
            else:
                await way.connect(house.peer, wanting(house, name="attic"), [], quiet)
                assert owner.state.peer_by_alias("attic").peer == house.peer
            assert len(house.premises.leases_of(owner.peer)) == 1, "and no second one is made"

    asyncio.run(scenario())


def test_who_waits_is_told_that_a_busy_server_makes_their_computer_work(house, owner):
    said = []

    async def hear(state, text):
        said.append((state, text))

    async def scenario():
        door = Door((Verdict.PENDING, None))
        door.work_s = 2.9
        with pytest.raises(PendingError):
            await connecting(owner, door, clock=VirtualClock()).connect(house.peer, wanting(house, wait_s=5), [], hear)

    play(scenario())
    assert [state for state, _ in said] == ["knocking", "working", "knocking", "waiting"]
    assert said[1][1] == "two.example:8443 is busy: working 3 s to be heard"


def blind_once(look_up):
    """Find nothing at first, as before the host was met."""
    answers = iter([None])
    return lambda host: next(answers, look_up(host))


def test_while_the_human_decides_the_request_waits_and_then_the_same_proposal_stands(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))

    async def scenario():
        async with hosted(house, owner) as link:
            way = connecting(owner, Door((Verdict.PENDING, None)), link.session)
            way._remember(house.peer, wanting(house))
            assert not await way.agree(link.session)
            assert way.agreement_with(house.peer) is None
            house.requests.decide(format_peer_id(owner.peer), accept=True)
            assert await way.agree(link.session)

    asyncio.run(scenario())


def test_a_host_that_did_not_hear_that_we_heard_it_answers_the_same_after_our_memory_was_lost(house, owner):
    let_in(house, owner)

    async def scenario():
        async with hosted(house, owner) as link:
            way = connecting(owner, Door((Verdict.ACCEPTED, WHERE)), link.session)
            record = way._remember(house.peer, wanting(house))
            async with link.session.request(
                ProposeAgreement(signed=way._proposal(record, owner.keys.repository))
            ) as channel:
                await channel.receive(Agreed)  # countersigned there, and lost here
            owner.clock.ms += 60_000
            assert await way.agree(link.session)
            assert len(house.premises.leases_of(owner.peer)) == 1

    asyncio.run(scenario())


def other_terms(owner, house):
    return add_signature(owner.propose(house.peer, (1, *WISH[1:])), Agreement, house.identity)


@pytest.mark.parametrize("lie", ["other terms", "signed by nobody"])
def test_a_host_that_countersigns_something_else_is_at_fault_and_nothing_is_kept(house, owner, lie):
    async def serve(_, channel):
        message = await channel.receive(ProposeAgreement)
        answer = other_terms(owner, house) if lie == "other terms" else message.signed + bytes(64)
        await channel.send(Agreed(signed=answer))
        await channel.finish()
        await channel.wait_end()

    async def scenario():
        async with hosted(house, owner, serve=serve) as link:
            way = connecting(owner, Door((Verdict.ACCEPTED, WHERE)), link.session)
            with pytest.raises((PeerFault, AuthenticationFault)):
                await way.connect(house.peer, wanting(house), [], quiet)
            assert owner.state.agreements() == []
            assert newest(owner, house).state is RequestState.WAITING

    asyncio.run(scenario())


def test_an_unanswered_request_is_kept_repeated_and_named_by_the_same_id(house, owner):
    door = Door((Verdict.PENDING, None))

    async def scenario():
        way = connecting(owner, door, clock=VirtualClock())
        with pytest.raises(PendingError):
            await way.connect(house.peer, wanting(house, wait_s=3.5 * KNOCK_AGAIN_S), [], quiet)
        first = newest(owner, house)
        assert first.state is RequestState.WAITING
        assert len(door.knocks) == 4
        assert asyncio.get_running_loop().time() == pytest.approx(3.5 * KNOCK_AGAIN_S)
        assert way.may_answer(house.peer), "the host may come to us once its human has decided"
        with pytest.raises(PendingError):
            await way.connect(house.peer, wanting(house, wait_s=1.0), [], quiet)
        assert newest(owner, house).request == first.request
        with pytest.raises(PendingError):
            await way.connect(house.peer, wanting(house, wait_s=1.0, storage=1), [], quiet)
        assert {knock.size_bytes for knock in door.knocks} == {WISH[0], 1}
        states = {record.size_bytes: record.state for record in owner.state.requests()}
        assert states == {WISH[0]: RequestState.SUPERSEDED, 1: RequestState.WAITING}, "one wish waits at a time"

    play(scenario())


def test_a_wish_that_was_replaced_while_it_was_pursued_stops_knocking(house, owner):
    door = Door((Verdict.PENDING, None))

    async def scenario():
        way = connecting(owner, door, clock=VirtualClock())
        first = asyncio.create_task(way.connect(house.peer, wanting(house), [], quiet))
        await asyncio.sleep(KNOCK_AGAIN_S / 2)
        with pytest.raises(PendingError):
            await way.connect(house.peer, wanting(house, storage=1, wait_s=2 * KNOCK_AGAIN_S), [], quiet)
        with pytest.raises(RefusedError, match="another request"):
            await first
        assert [knock.size_bytes for knock in door.knocks].count(WISH[0]) == 1
        assert newest(owner, house).state is RequestState.WAITING

    play(scenario())


def test_nothing_waits_any_more_once_an_agreement_stands(house, owner):
    let_in(house, owner)

    async def scenario():
        async with hosted(house, owner) as link:
            way = connecting(owner, Door((Verdict.ACCEPTED, WHERE)), link.session)
            way._remember(house.peer, wanting(house, storage=1))
            owner.clock.ms += 1
            await way.connect(house.peer, wanting(house), [], quiet)
            left = {record.size_bytes: record.state for record in owner.state.requests()}
            assert left == {WISH[0]: RequestState.AGREED, 1: RequestState.SUPERSEDED}

    asyncio.run(scenario())


def test_a_wish_that_still_waits_beside_an_agreement_ends_without_a_knock(house, owner):
    door = Door((Verdict.PENDING, None))
    agreement = owner.agree_with(house)
    assert owner.state.agreements()[0][0] == agreement

    async def scenario():
        way = connecting(owner, door)
        way._remember(house.peer, wanting(house, storage=1))
        await way.follow_up([])
        assert door.knocks == []
        assert newest(owner, house).state is RequestState.EXPIRED

    play(scenario())


def test_a_name_holds_from_the_request_on_and_outlives_a_no_and_a_wish_without_one(house, owner):
    door = Door((Verdict.PENDING, None))

    async def scenario():
        way = connecting(owner, door, clock=VirtualClock())
        with pytest.raises(PendingError, match="carol has not answered"):
            await way.connect(house.peer, wanting(house, name="carol", wait_s=1.0), [], quiet)
        assert resolve_peer(owner.state, "carol") == house.peer
        assert owner.state.peer(house.peer).last_seen_ms == 0, "named, and not seen yet"
        door.answer = RefusedError("no room")
        with pytest.raises(RefusedError):
            await way.connect(house.peer, wanting(house), [], quiet)
        door.answer = (Verdict.PENDING, None)
        with pytest.raises(PendingError, match="carol"):
            await way.connect(house.peer, wanting(house, wait_s=1.0), [], quiet)
        assert newest(owner, house).alias == "carol"

    play(scenario())


def test_a_no_that_comes_while_nobody_watches_ends_the_request(house, owner):
    async def scenario():
        way = connecting(owner, Door(RefusedError("no room")))
        way._remember(house.peer, wanting(house))
        await way.follow_up([])
        assert newest(owner, house).state is RequestState.REJECTED
        assert newest(owner, house).reason == "no room"

    play(scenario())


@pytest.mark.parametrize(("agreed", "words"), [(4 * 2**20, "4MiB"), (5 * 10**6, "5MB"), (4_000_001, "4000001")])
def test_more_than_was_agreed_is_refused_with_the_size_that_can_be_asked_for(house, owner, agreed, words):
    owner.agree_with(house, (agreed, *WISH[1:]))

    async def scenario():
        way = connecting(owner, Door(None))
        with pytest.raises(RefusedError, match=f"agreed to {words}$") as refused:
            await way.connect(house.peer, wanting(house, storage=agreed + 1), [], quiet)
        assert f"--storage {words}," in refused.value.hint
        assert "peers resize" in refused.value.hint
        assert parse_size(words) == agreed
        assert owner.state.requests() == []

    play(scenario())


@pytest.mark.parametrize("storage", [0, 1, WISH[0]])
def test_as_much_as_was_agreed_or_less_meets_again_and_marks_who_was_verified(house, owner, storage):
    owner.agree_with(house)
    request = wanting(house, storage=storage, name="attic")
    request.verified = True

    async def scenario():
        async with hosted(house, owner) as link:
            way = connecting(owner, Door(None), link.session)
            assert await way.connect(house.peer, request, [], quiet) is link.session

    asyncio.run(scenario())
    assert owner.state.peer(house.peer).is_verified
    assert owner.state.peer(house.peer).alias == "attic"


def test_a_refused_request_ends_and_the_host_is_not_answered_any_more(house, owner):
    async def scenario():
        way = connecting(owner, Door(RefusedError("no")), clock=VirtualClock())
        with pytest.raises(RefusedError, match="no"):
            await way.connect(house.peer, wanting(house), [], quiet)
        assert newest(owner, house).state is RequestState.REJECTED
        assert not way.may_answer(house.peer)

    play(scenario())


def test_a_request_is_followed_up_until_it_is_too_old(house, owner):
    door = Door((Verdict.PENDING, None))

    async def scenario():
        way = connecting(owner, door)
        way._remember(house.peer, wanting(house))
        await way.follow_up([])
        assert len(door.knocks) == 1
        owner.clock.ms += (REQUEST_KEPT_S + 1) * 1000
        await way.follow_up([])
        assert len(door.knocks) == 1
        assert newest(owner, house).state is RequestState.EXPIRED
        assert not way.may_answer(house.peer)

    play(scenario())


def test_oneself_and_a_taken_name_are_refused_before_anybody_is_asked(house, owner):
    door = Door((Verdict.PENDING, None))

    async def scenario():
        way = connecting(owner, door)
        with pytest.raises(RefusedError, match="own id"):
            await way.connect(owner.peer, wanting(house), [], quiet)
        owner.state.meet(owner.peer, 1, alias="bob")
        with pytest.raises(UserError, match="already"):
            await way.connect(house.peer, wanting(house, name="bob"), [], quiet)
        assert door.knocks == []
        assert owner.state.requests() == []

    play(scenario())


def test_a_stranger_is_never_answered_as_a_host(house, owner):
    assert not connecting(owner, Door(None)).may_answer(house.peer)


def test_an_agreement_names_the_authority_that_its_host_tells_and_no_other(house, owner):
    let_in(house, owner)
    told = SigningKey.from_seed(b"H" * 32).public
    house.revising._authority = told

    async def scenario():
        async with hosted(house, owner) as link:
            way = connecting(owner, Door((Verdict.ACCEPTED, WHERE)), link.session)
            way._remember(house.peer, wanting(house))
            link.session.hello = Hello(authority=b"x" * 32)
            with pytest.raises(RefusedError, match="another authority"):
                await way.agree(link.session)
            link.session.hello = Hello(authority=told)
            assert await way.agree(link.session)

    asyncio.run(scenario())
    (lease,) = house.premises.leases_of(owner.peer)
    assert lease.terms.ext[HOST_AUTHORITY] == told
