"""`host --min-trust`: who is not known as a good host is refused politely, whatever else the policy says."""

import msgspec
import pytest

from agent.houses import WISH, offer
from backuppeer.agent.home.records import Direction, RequestState
from backuppeer.agent.peers.offers import Offer
from backuppeer.errors import RefusedError
from backuppeer.limits import GIB
from backuppeer.proof.statements import sign_statement, statement_hash
from backuppeer.signaling.knock import Verdict
from backuppeer.trust.evidence import Kind, Observation

DAY_MS = 86_400_000
LARGER = WISH._replace(size_bytes=2 * WISH.size_bytes)


def choosy(accept, min_trust=0.5):
    return msgspec.structs.replace(offer(accept), min_trust=min_trust)


def prove(house, peer, days=60):
    """Let the owner have kept our host's own data for a while: the trust is in it as a host."""
    for day in range(days):
        house.evidence.record(Observation(peer, Kind.AUDITED, house.clock.now_ms() - day * DAY_MS, 10 * GIB))


@pytest.mark.parametrize("accept", ["ask", "all"])
def test_a_stranger_neither_gets_space_nor_waits_and_is_not_told_its_score(house, owner, accept):
    with pytest.raises(RefusedError, match="good hosts themselves") as caught:
        house.requests.consider_knock(owner.knock(house), choosy(accept))
    assert "0." not in caught.value.message + caught.value.hint
    assert house.shown == []
    assert house.state.find_request(Direction.IN, owner.peer) is None
    assert not house.requests.may_answer(owner.peer)


@pytest.mark.parametrize(("accept", "verdict"), [("ask", Verdict.PENDING), ("all", Verdict.ACCEPTED)])
def test_who_passes_is_treated_as_the_policy_says(house, owner, accept, verdict):
    prove(house, owner.peer)
    assert house.requests.consider_knock(owner.knock(house), choosy(accept)) is verdict
    with pytest.raises(RefusedError):
        house.requests.consider_knock(owner.knock(house, LARGER), choosy(accept, 0.99))


def test_space_that_was_promised_in_return_is_given_whatever_the_score(house, owner):
    house.requests.is_owed = lambda _: True
    assert house.requests.consider_knock(owner.knock(house), choosy("ask")) is Verdict.ACCEPTED


def test_a_partner_below_is_let_in_and_granted_nothing_more(house, owner):
    owner.agree_with(house)
    before = house.premises.count_agreements()
    assert house.requests.consider_knock(owner.knock(house, LARGER), choosy("all")) is Verdict.ACCEPTED
    assert house.premises.count_agreements() == before
    known = house.requests.open_request(owner.peer)
    assert known is None


def test_the_offer_keeps_it_across_restarts_and_one_of_before_refuses_nobody():
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(choosy("ask", 0.6)), type=Offer)
    assert kept.min_trust == 0.6
    older = msgspec.to_builtins(kept)
    del older["min_trust"]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(older), type=Offer).min_trust == 0


def test_more_for_a_partner_below_is_a_persons_to_give_whatever_the_policy(house, owner):
    agreement = owner.agree_with(house)
    (lease,) = house.premises.leases_of(owner.peer)
    grown = msgspec.structs.replace(
        lease.terms, revision=2, previous=statement_hash(lease.signed), size_bytes=2 * lease.terms.size_bytes
    )
    house.revising.on_offer = lambda: choosy("all")
    assert house.revising.consider(owner.peer, sign_statement(grown, owner.keys.identity)) is None
    assert house.requests.open_request(owner.peer, agreement).state is RequestState.WAITING
    prove(house, owner.peer)
    more = msgspec.structs.replace(grown, size_bytes=3 * lease.terms.size_bytes)
    assert house.revising.consider(owner.peer, sign_statement(more, owner.keys.identity)) is not None
