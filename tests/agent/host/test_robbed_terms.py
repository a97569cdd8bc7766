"""A host that goes on as another: revisions that the stolen key co-signed with an owner, handed over as lost ones."""

import asyncio

import pytest

from agent.heired import HEIR, NAMED, follower, go_on, met_as
from agent.houses import WISH, offer
from backuppeer.agent.home.records import RequestState
from backuppeer.errors import ProtocolViolation, RefusedError
from backuppeer.ids import PeerId
from backuppeer.limits import LISTING_TERM_S, MIB
from backuppeer.proof.promises import Promises
from backuppeer.proof.revisions import revise, wish_of
from backuppeer.proof.statements import Agreement, peek_statement, sign_statement
from backuppeer.proof.succession import HOST_AUTHORITY

LARGE = WISH._replace(size_bytes=60 * MIB)
SMALL = WISH._replace(size_bytes=MIB)
MORE = (
    LARGE,
    WISH._replace(term_s=7200),
    WISH._replace(lock_s=61),
    WISH._replace(promises=Promises(0, 10**9, 10**9)),
)
ENDLESS = WISH._replace(term_s=2 * LISTING_TERM_S)


@pytest.fixture
def robbed(house, owner):
    """A host after its succession, its agreement with an owner still under the stolen name."""
    owner.agree_with(house, ext=NAMED)
    made = go_on(house)
    yield made
    made.close()


def lease_of(house, owner):
    (lease,) = house.premises.leases_of(owner.peer)
    return lease


def signed_by_both(house, owner, wish, **changes):
    """Return the next revision, signed by an owner and whoever has the host's key of before."""
    lease = lease_of(house, owner)
    terms = revise(lease.signed, wish)
    changed = Agreement(**{name: getattr(terms, name) for name in terms.__struct_fields__} | changes)
    return sign_statement(changed, owner.keys.identity, house.premises.signer_of(lease))


def take(house, owner, signed):
    return house.revising.take(owner.peer, lease_of(house, owner).agreement, signed)


@pytest.mark.parametrize("more", MORE)
def test_terms_that_ask_more_of_a_robbed_host_wait_for_its_person(robbed, owner, more):
    signed = signed_by_both(robbed, owner, more)
    for _ in range(2):
        with pytest.raises(RefusedError, match="its person is asked"):
            take(robbed, owner, signed)
    assert lease_of(robbed, owner).terms.revision == 1
    (asked,) = robbed.shown
    assert asked.wish == more
    robbed.requests.decide(asked.request, accept=True)
    assert take(robbed, owner, signed) == 2
    assert wish_of(lease_of(robbed, owner).terms) == more
    assert lease_of(robbed, owner).signed == signed, "it is the very one that the owner has"
    assert robbed.state.requests()[0].state is RequestState.AGREED


def test_the_person_of_a_robbed_host_says_no_and_nobody_is_asked_again(robbed, owner):
    signed = signed_by_both(robbed, owner, LARGE)
    with pytest.raises(RefusedError):
        take(robbed, owner, signed)
    robbed.requests.decide(robbed.shown[0].request, accept=False, reason="not mine")
    with pytest.raises(RefusedError, match="not mine"):
        take(robbed, owner, signed)
    assert len(robbed.shown) == 1
    assert lease_of(robbed, owner).terms.revision == 1


def test_a_slot_on_offer_to_all_gives_a_lost_revision_what_it_gives_a_new_one(robbed, owner):
    robbed.revising.on_offer = lambda: offer("all")
    assert take(robbed, owner, signed_by_both(robbed, owner, LARGE)) == 2
    with pytest.raises(RefusedError, match="its person is asked"):
        take(robbed, owner, signed_by_both(robbed, owner, LARGE._replace(lock_s=3601)))


def test_terms_that_ask_no_more_of_a_robbed_host_are_in_force_at_once(robbed, owner):
    assert take(robbed, owner, signed_by_both(robbed, owner, SMALL)) == 2
    assert robbed.shown == []


def test_a_lost_revision_that_does_not_follow_the_one_in_force_asks_nobody(robbed, owner):
    with pytest.raises(ProtocolViolation, match="does not continue"):
        take(robbed, owner, signed_by_both(robbed, owner, LARGE, previous=b"x" * 32))
    assert robbed.shown == []


def test_a_longer_notice_is_nobodys_to_agree_to(robbed, owner):
    with pytest.raises(RefusedError, match="changes only space, term, lock and promises"):
        take(robbed, owner, signed_by_both(robbed, owner, WISH, notice_s=11))
    assert robbed.shown == []


def test_a_thief_of_the_key_names_no_authority_of_his_own_in_a_lost_revision(house, owner):
    owner.agree_with(house)
    signed = signed_by_both(house, owner, WISH, ext={HOST_AUTHORITY: b"t" * 32})
    with pytest.raises(RefusedError, match="another authority"):
        take(house, owner, signed)
    assert lease_of(house, owner).terms.revision == 1


def test_no_host_is_bound_for_longer_than_anybody_may_ask_for(house, owner):
    owner.agree_with(house, ext=NAMED)
    with pytest.raises(RefusedError, match="longer than 100 years"):
        take(house, owner, signed_by_both(house, owner, ENDLESS))
    robbed = go_on(house)
    with pytest.raises(RefusedError, match="longer than 100 years"):
        take(robbed, owner, signed_by_both(robbed, owner, ENDLESS))
    assert robbed.shown == []
    robbed.close()


def test_a_host_that_was_never_robbed_takes_back_what_it_signed_and_lost(house, owner):
    owner.agree_with(house)
    signed = signed_by_both(house, owner, LARGE)
    assert take(house, owner, signed) == 2
    assert peek_statement(Agreement, lease_of(house, owner).signed).size_bytes == LARGE.size_bytes


def test_an_honest_owner_of_larger_terms_that_were_lost_follows_when_the_person_agreed(house, owner):
    old, agreement = house.peer, owner.agree_with(house, ext=NAMED)
    owner.state.put_agreement(agreement, old, signed_by_both(house, owner, LARGE))
    robbed = go_on(house)

    async def meet():
        made = follower(owner)
        async with met_as(robbed, owner, old) as link:
            await made.meet(link.session)
            await made.go_on(link.session)

    def held():
        ((_, host, signed),) = owner.state.agreements()
        return host, peek_statement(Agreement, signed).revision

    asyncio.run(meet())
    assert held() == (old, 2)
    robbed.requests.decide(robbed.shown[0].request, accept=True)
    asyncio.run(meet())
    assert held() == (PeerId(HEIR.public), 3)
    assert wish_of(lease_of(robbed, owner).terms) == LARGE
    robbed.close()
