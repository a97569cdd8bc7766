"""What a host promises in availability: listed, asked for, never more without a person, co-signed, revised, weighed."""

import asyncio
from functools import partial
from types import SimpleNamespace

import msgspec
import pytest

from agent.commands.test_host import make_host
from agent.hosted import hosted
from agent.houses import WISH, FixedReach, offer
from agent.owner.test_connecting import WHERE, Door, connecting, wanting
from backuppeer.agent.commands.host import HostCommands
from backuppeer.agent.commands.owner import OwnerCommands
from backuppeer.agent.home.state import State
from backuppeer.agent.host.hosting import Hosting
from backuppeer.agent.host.reciprocity import Balance
from backuppeer.agent.owner.revising import Revising
from backuppeer.agent.peers.offers import choose_promises, describe_promises, wish_for, write_options
from backuppeer.agent.repute.promised import promised_by
from backuppeer.agent.repute.standing import Standing
from backuppeer.clock import SystemClock
from backuppeer.control.api import HostRequest
from backuppeer.control.promises import PromiseWish
from backuppeer.errors import PendingError, RefusedError, UserError
from backuppeer.ids import format_peer_id
from backuppeer.limits import GIB
from backuppeer.proof.promises import Promises, split_promises
from backuppeer.proof.revisions import promises_of, wish_of
from backuppeer.signaling.knock import Verdict
from backuppeer.trust.availability import WINDOW_MS, find_share
from backuppeer.trust.evidence import EvidenceLog, Kind

MOSTLY = WISH._replace(promises=Promises(availability=950))
ALWAYS = WISH._replace(promises=Promises(availability=1000))
SLOT = offer("all", promises=MOSTLY.promises)


async def quiet(state, text):
    del state, text


def newest(house, owner):
    return house.requests.open_request(owner.peer)


@pytest.mark.parametrize("wish", [WISH, WISH._replace(promises=Promises(availability=500)), MOSTLY])
def test_a_slot_is_given_for_no_more_than_it_promises_without_asking_and_signed_as_asked(house, owner, wish):
    assert house.requests.consider_knock(owner.knock(house, wish), SLOT) is Verdict.ACCEPTED
    for other in (ALWAYS, WISH._replace(promises=Promises(availability=wish.promises.availability + 1))):
        with pytest.raises(RefusedError, match="other terms than were accepted"):
            house.requests.consider_proposal(owner.peer, owner.propose(house.peer, other))
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer, wish)) is not None
    (lease,) = house.premises.leases_of(owner.peer)
    assert (lease.terms.availability, lease.terms.ext) == (wish.promises.availability, {})


@pytest.mark.parametrize(("slot", "fitting"), [(SLOT, MOSTLY), (offer("all"), WISH)])
def test_who_wants_more_than_is_listed_is_offered_just_that(house, owner, slot, fitting):
    knock = owner.knock(house, ALWAYS)
    assert house.requests.consider_knock(knock, slot) is Verdict.PENDING
    assert house.requests.offer_to(knock) == fitting
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer, ALWAYS)) is None
    assert house.requests.consider_knock(owner.knock(house, fitting), slot) is Verdict.ACCEPTED
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer, fitting)) is not None


def test_a_person_may_promise_more_than_the_slot_does_and_offer_less_than_is_asked_for(house, owner):
    assert house.requests.consider_knock(owner.knock(house, ALWAYS), offer("ask")) is Verdict.PENDING
    assert [record.wish for record in house.shown] == [ALWAYS]
    house.revising.offer(
        format_peer_id(owner.peer), size_bytes=None, term_s=None, lock_s=None, promises=PromiseWish(availability=0.95)
    )
    assert newest(house, owner).offer == MOSTLY
    assert write_options(MOSTLY) == " --availability 95%"
    house.requests.decide(format_peer_id(owner.peer), accept=True)
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer, ALWAYS)) is not None


@pytest.mark.parametrize("permille", [1001, 2**62])
def test_more_than_all_of_the_time_is_refused_without_asking_anybody(house, owner, permille):
    knock = owner.knock(house, WISH._replace(promises=Promises(availability=permille)))
    with pytest.raises(RefusedError, match="more than all of the time"):
        house.requests.consider_knock(knock, SLOT)
    assert newest(house, owner) is None


def test_an_offer_of_any_share_is_taken_as_it_was_made():
    for permille in (0, 1, 333, 949, 950, 1000):
        assert choose_promises(wish_for(Promises(availability=permille))) == Promises(availability=permille)
    for nonsense, error in ((-0.1, UserError), (1.01, RefusedError)):
        with pytest.raises(error):
            choose_promises(PromiseWish(availability=nonsense))


def test_connect_has_it_in_the_agreement_that_both_keep_and_what_follows_keeps_it(house, owner):
    house.requests.consider_knock(owner.knock(house, MOSTLY), SLOT)
    house.revising.on_offer = lambda: SLOT

    async def story():
        async with hosted(house, owner) as link:
            request = wanting(house)
            request.promises = PromiseWish(availability=0.95)
            await connecting(owner, Door((Verdict.ACCEPTED, WHERE)), link.session).connect(
                house.peer, request, [], quiet
            )
            assert promised_by(owner.state, house.peer) == 0.95
            assert house.premises.leases_of(owner.peer)[0].terms.availability == 950
            way = Revising(
                owner.state, owner.keys, SystemClock(), reach=FixedReach(link.session), blame=lambda *_: None
            )
            grown = await way.change(
                house.peer, lambda terms: wish_of(terms)._replace(size_bytes=WISH.size_bytes + 1), quiet, wait_s=5
            )
            assert (grown.revision, promises_of(grown)) == (2, MOSTLY.promises)
            less = await way.change(
                house.peer, lambda terms: wish_of(terms)._replace(promises=Promises()), quiet, wait_s=5
            )
            assert (less.revision, less.availability, promised_by(owner.state, house.peer)) == (3, 0, 0.0)
            back = await way.change(
                house.peer, lambda terms: wish_of(terms)._replace(promises=MOSTLY.promises), quiet, wait_s=5
            )
            assert (back.revision, back.availability) == (4, 950)

    asyncio.run(story())


def test_a_revision_for_more_than_the_slot_promises_now_is_for_the_hosts_person(house, owner):
    owner.agree_with(house, MOSTLY)

    async def story():
        async with hosted(house, owner) as link:
            way = Revising(
                owner.state, owner.keys, SystemClock(), reach=FixedReach(link.session), blame=lambda *_: None
            )
            for slot, change in ((SLOT, ALWAYS), (offer("all"), MOSTLY._replace(term_s=WISH.term_s + 86400))):
                house.revising.on_offer = lambda slot=slot: slot
                with pytest.raises(PendingError):
                    await way.change(house.peer, lambda _, change=change: change, quiet, wait_s=0.2)
            assert [record.wish.promises for record in house.shown] == [ALWAYS.promises, MOSTLY.promises]
            assert house.premises.leases_of(owner.peer)[0].terms.revision == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("kept", "promised"), [([0, 0, 0, 950], Promises(availability=950)), ([1000, 0, 5], Promises(1000, 0, 5, 0))]
)
def test_what_is_on_offer_is_promised_after_a_restart_too_and_an_offer_of_before_promises_none(
    house, tmp_path, kept, promised
):
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(SLOT))
    state = State(tmp_path / "host.db")
    state.put_setting("host.offer", msgspec.msgpack.encode({**fields, "promises": kept}))
    state.close()
    state = State(tmp_path / "host.db")
    hosting = Hosting(
        state, house.identity, house.clock, requests=house.requests, binding=lambda: b"", free=lambda _: GIB
    )
    assert hosting.offer.promises == promised
    state.close()


def test_what_a_slot_promises_is_rounded_down_to_what_a_listing_says(house):
    config = SimpleNamespace(region="")
    agent = SimpleNamespace(
        parts=SimpleNamespace(state=house.state, clock=house.clock),
        host=make_host(
            SimpleNamespace(alarms=SimpleNamespace()),
            SimpleNamespace(proving=SimpleNamespace()),
            SimpleNamespace(),
            SimpleNamespace(),
        ),
        servers=lambda given: given,
        config=lambda: config,
    )

    async def offered(share):
        request = HostRequest(servers=["wss://one.example"], storage=GIB, promises=PromiseWish(availability=share))
        return HostCommands(agent)._make_offer(request).promises

    for share, permille in ((None, 0), (0.0, 0), (0.93, 900), (0.95, 950), (1.0, 1000)):
        assert asyncio.run(offered(share)) == Promises(availability=permille)


@pytest.mark.parametrize(("lacking_bytes", "availability"), [(0, 0.95), (10**9, 0.0)])
def test_the_plan_shows_what_a_host_promises_but_what_it_owes_is_asked_for_as_it_was_promised(
    owner, house, lacking_bytes, availability
):
    permille, ext = split_promises(Promises(reciprocity=500, availability=950))
    listing = SimpleNamespace(free_bytes=GIB, term_s=60, lock_s=6, availability=permille, ext=ext)

    async def find(servers, peer):
        del servers, peer
        return SimpleNamespace(listing=listing)

    reciprocity = SimpleNamespace(owed_to_us=lambda _: Balance(promised_bytes=lacking_bytes))
    agent = SimpleNamespace(
        parts=SimpleNamespace(state=owner.state),
        owner=SimpleNamespace(knocking=SimpleNamespace(find=find)),
        host=SimpleNamespace(reciprocity=reciprocity),
    )
    found = asyncio.run(OwnerCommands(agent)._offer_of(house.peer, ["wss://one.example"]))
    assert found[:3] == (GIB, 60, 6)
    said = describe_promises(found[3])
    assert (said.reciprocity, said.availability) == (0.5, availability)


def test_a_host_that_is_there_less_than_it_promised_is_lowered_by_just_that(house, owner, tmp_path):
    log = EvidenceLog(tmp_path / "seen.db")
    standing = Standing(owner.state, log, house.clock)
    standing.promised = partial(promised_by, owner.state)
    for number in range(10):
        house.clock.ms += WINDOW_MS
        standing.saw(house.peer, Kind.CONNECTED if number < 6 else Kind.CONNECT_FAILED)
    owner.agree_with(house, number=1)
    unpromised, _ = standing.trust(house.peer)
    owner.agree_with(house, MOSTLY, number=2)
    lowered, _ = standing.trust(house.peer)
    assert find_share(standing.windows(house.peer)) == 0.6
    assert lowered == pytest.approx(unpromised * (0.6 / 0.95) ** 0.5)
    log.close()
