"""What is promised beyond space and time: asked for, offered by a slot or its person, co-signed, revised."""

import asyncio

import pytest

from agent.hosted import hosted
from agent.houses import WISH, FixedReach, offer
from backuppeer.agent.home.records import RequestState
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.peers.offers import choose_promises, write_options
from backuppeer.agent.peers.wishes import wish_of_knock
from backuppeer.clock import SystemClock
from backuppeer.control.promises import PromiseWish
from backuppeer.errors import PendingError, RefusedError, UserError
from backuppeer.ids import format_peer_id
from backuppeer.limits import MIB
from backuppeer.proof.promises import Promises
from backuppeer.proof.revisions import wish_of
from backuppeer.signaling.knock import Verdict

MUTUAL = WISH._replace(promises=Promises(1000, 0, 0))
GREEDY = WISH._replace(promises=Promises(0, 10**9, 10**9))


async def quiet(state, text):
    del state, text


def newest(house, owner):
    return house.requests.open_request(owner.peer)


def test_what_a_knock_asks_for_is_shown_accepted_and_co_signed_as_it_was(house, owner):
    knock = owner.knock(house, GREEDY)
    assert wish_of_knock(knock) == GREEDY
    assert house.requests.consider_knock(knock, offer("ask")) is Verdict.PENDING
    assert [record.wish for record in house.shown] == [GREEDY]
    house.requests.decide(format_peer_id(owner.peer), accept=True)
    for other in (WISH, GREEDY._replace(promises=Promises(0, 10**9, 10**9 + 1))):
        with pytest.raises(RefusedError, match="other terms than were accepted"):
            house.requests.consider_proposal(owner.peer, owner.propose(house.peer, other))
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer, GREEDY)) is not None
    (lease,) = house.premises.leases_of(owner.peer)
    assert wish_of(lease.terms) == GREEDY


def test_a_slot_that_wants_something_in_return_offers_that_to_whoever_asks_without(house, owner):
    slot = offer("all", promises=Promises(1000, 0, 5))
    knock = owner.knock(house, GREEDY)
    assert house.requests.consider_knock(knock, slot) is Verdict.PENDING
    fitting = WISH._replace(promises=Promises(1000, 0, 5))
    assert house.requests.offer_to(knock) == fitting
    assert house.shown == [], "its person set the terms, and need not be asked"
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer, GREEDY)) is None
    assert house.requests.consider_knock(owner.knock(house, fitting), slot) is Verdict.ACCEPTED
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer, fitting)) is not None


def test_who_gives_more_and_wants_less_than_a_slot_says_is_accepted_at_once(house, owner):
    slot = offer("all", promises=Promises(500, 10**9, 10**9))
    generous = WISH._replace(promises=Promises(2000, 10**8, 10**8))
    assert house.requests.consider_knock(owner.knock(house, generous), slot) is Verdict.ACCEPTED


def test_a_slot_whose_person_wants_to_be_asked_offers_nothing_by_itself(house, owner):
    assert house.requests.consider_knock(owner.knock(house), offer("ask", promises=Promises(1000))) is Verdict.PENDING
    assert newest(house, owner).state is RequestState.WAITING
    house.revising.offer(
        format_peer_id(owner.peer), size_bytes=None, term_s=None, lock_s=None, promises=PromiseWish(reciprocity=1)
    )
    assert newest(house, owner).offer == MUTUAL
    assert write_options(MUTUAL) == " --reciprocity 1"


@pytest.mark.parametrize("promises", [Promises(10_001), Promises(2**62, 1, 1)])
def test_more_than_can_be_meant_is_refused_without_asking_anybody(house, owner, promises):
    with pytest.raises(RefusedError, match="more than 10 times"):
        house.requests.consider_knock(owner.knock(house, WISH._replace(promises=promises)), offer("all"))
    assert newest(house, owner) is None


def test_a_person_who_says_less_than_nothing_is_told(house):
    with pytest.raises(UserError, match="less than nothing"):
        choose_promises(PromiseWish(egress_bytes=-1))
    assert choose_promises(PromiseWish(reciprocity=0.5), GREEDY.promises) == Promises(500, 10**9, 10**9)


def play(house, owner, story):
    async def run():
        async with hosted(house, owner) as link:
            reach = FixedReach(link.session)
            way = Revising(owner.state, owner.keys, SystemClock(), reach=reach, blame=lambda *_: None)
            await story(way)

    asyncio.run(run())


def test_a_revision_that_gives_more_stands_at_once_and_one_that_takes_it_back_is_for_the_hosts_person(house, owner):
    owner.agree_with(house)

    async def story(way):
        terms = await way.change(house.peer, lambda _: MUTUAL, quiet, wait_s=5)
        assert (terms.revision, wish_of(terms)) == (2, MUTUAL)
        for more in (WISH, MUTUAL._replace(promises=Promises(1000, 0, 1))):
            with pytest.raises(PendingError):
                await way.change(house.peer, lambda _, more=more: more, quiet, wait_s=0.2)
        assert [record.wish for record in house.shown] == [WISH, MUTUAL._replace(promises=Promises(1000, 0, 1))]
        house.revising.offer(
            format_peer_id(owner.peer),
            size_bytes=5 * MIB,
            term_s=None,
            lock_s=None,
            promises=PromiseWish(egress_bytes=9),
        )
        with pytest.raises(RefusedError, match="offers other terms"):
            await way.change(house.peer, lambda _: house.shown[-1].wish, quiet, wait_s=5)
        (record,) = [r for r in owner.state.requests() if r.state is RequestState.OFFERED]
        assert record.offer == MUTUAL._replace(size_bytes=5 * MIB, promises=Promises(1000, 0, 9))
        terms = await way.take_offer(record, quiet)
        assert wish_of(terms) == record.offer
        assert house.premises.leases_of(owner.peer)[0].terms == terms

    play(house, owner, story)


def test_the_policy_of_a_slot_counts_only_within_what_the_slot_promises(house, owner):
    owner.agree_with(house)
    house.revising.on_offer = lambda: offer("all", promises=Promises(0, 0, 100))

    async def story(way):
        enough = WISH._replace(promises=Promises(0, 0, 100))
        assert wish_of(await way.change(house.peer, lambda _: enough, quiet, wait_s=5)) == enough
        too_much = WISH._replace(promises=Promises(0, 0, 101))
        with pytest.raises(PendingError):
            await way.change(house.peer, lambda _: too_much, quiet, wait_s=0.2)

    play(house, owner, story)
