import pytest

from agent.houses import WISH, OwnerHouse, offer
from backuppeer.agent.state import Direction, RequestState
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import AuthenticationFault, NotFoundError, PeerFault, ProtocolViolation, RefusedError, UserError
from backuppeer.ids import PeerId, format_peer_id
from backuppeer.limits import GIB, MIB, PENDING_REQUESTS, REQUEST_KEPT_S
from backuppeer.proof.statements import Agreement, open_statement
from backuppeer.signaling.knock import Verdict


def newest(house, owner):
    return house.state.find_request(Direction.IN, owner.peer)


def accept(house, owner):
    return house.requests.decide(newest(house, owner).request, accept=True)


def resign(proposal, key):
    """The same words with another's signature, which sign_statement would refuse to make."""
    blob = proposal[4:-64]
    return proposal[:-64] + key.sign(Purpose.AGREEMENT, blob)


def test_by_default_a_person_is_asked_and_nobody_is_answered_before(house, owner):
    assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.PENDING
    assert [record.peer for record in house.shown] == [owner.peer]
    assert not house.requests.may_answer(owner.peer)
    accept(house, owner)
    assert house.requests.may_answer(owner.peer)
    assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.ACCEPTED


def test_all_accepts_a_stranger_without_asking(house, owner):
    assert house.requests.consider_knock(owner.knock(house), offer("all")) is Verdict.ACCEPTED
    assert house.shown == []
    assert house.requests.may_answer(owner.peer)


def test_trusted_accepts_a_friend_and_asks_about_a_stranger(house, owner, tmp_path):
    friend = OwnerHouse(tmp_path / "friend", b"f")
    house.state.meet(friend.peer, house.clock.now_ms(), verified=True)
    assert house.requests.consider_knock(friend.knock(house), offer("trusted")) is Verdict.ACCEPTED
    assert house.requests.consider_knock(owner.knock(house), offer("trusted")) is Verdict.PENDING
    assert [record.peer for record in house.shown] == [owner.peer]
    friend.close()


def test_trusted_accepts_who_has_an_agreement_already(house, owner):
    owner.agree_with(house)
    bigger = (8 * MIB, *WISH[1:])
    assert house.requests.consider_knock(owner.knock(house, bigger), offer("trusted")) is Verdict.ACCEPTED


def test_the_same_wish_again_is_the_same_request_and_is_shown_once(house, owner):
    for _ in range(5):
        assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.PENDING
    assert len(house.shown) == len(house.state.requests()) == 1


def test_who_was_rejected_stays_rejected_whatever_it_wishes_next(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    house.requests.decide(newest(house, owner).request, accept=False, reason="no room for strangers")
    for wish in (WISH, (WISH[0] * 2, *WISH[1:])):
        with pytest.raises(RefusedError, match="no room for strangers"):
            house.requests.consider_knock(owner.knock(house, wish), offer("all"))
    assert not house.requests.may_answer(owner.peer)
    assert len(house.shown) == 1


def test_an_accepted_request_does_not_cover_another_wish(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    accept(house, owner)
    house.clock.ms += 1
    bigger = (WISH[0] * 4, *WISH[1:])
    assert house.requests.consider_knock(owner.knock(house, bigger), offer("ask")) is Verdict.PENDING


@pytest.mark.parametrize("wish", [(4 * MIB, 86401, 60), (4 * MIB, 3600, 3601), (0, 3600, 60)])
def test_a_term_or_lock_longer_than_offered_or_a_wish_for_nothing_is_refused(house, owner, wish):
    with pytest.raises(RefusedError):
        house.requests.consider_knock(owner.knock(house, wish), offer("all"))
    assert house.state.requests() == []


def test_without_an_offer_everybody_but_partners_is_refused(house, owner):
    with pytest.raises(RefusedError, match="nothing is on offer"):
        house.requests.consider_knock(owner.knock(house), None)
    owner.agree_with(house)
    assert house.requests.consider_knock(owner.knock(house, (0, 0, 0)), None) is Verdict.ACCEPTED
    with pytest.raises(RefusedError):
        house.requests.consider_knock(owner.knock(house, (8 * MIB, 60, 60)), None)


def test_more_than_is_left_is_refused_and_promised_room_counts(house, owner, tmp_path):
    with pytest.raises(RefusedError, match="space"):
        house.requests.consider_knock(owner.knock(house, (1 * GIB, *WISH[1:])), offer("all"))
    house.requests.consider_knock(owner.knock(house, (40 * MIB, *WISH[1:])), offer("all"))
    other = OwnerHouse(tmp_path / "other", b"p")
    with pytest.raises(RefusedError, match="space"):
        house.requests.consider_knock(other.knock(house, (40 * MIB, *WISH[1:])), offer("all"))
    assert house.requests.consider_knock(other.knock(house, (24 * MIB, *WISH[1:])), offer("all")) is Verdict.ACCEPTED
    other.close()


def test_a_flood_of_requests_stops_at_the_cap_and_old_ones_make_room(house, owner):
    for extra in range(PENDING_REQUESTS):
        house.requests.consider_knock(owner.knock(house, (WISH[0] + extra, *WISH[1:])), offer("ask"))
        house.clock.ms += 1
    with pytest.raises(RefusedError, match="too many"):
        house.requests.consider_knock(owner.knock(house, (1, *WISH[1:])), offer("ask"))
    assert len(house.state.requests()) == PENDING_REQUESTS
    house.clock.ms += (REQUEST_KEPT_S + 1) * 1000
    assert house.requests.consider_knock(owner.knock(house, (1, *WISH[1:])), offer("ask")) is Verdict.PENDING
    assert len(house.state.requests()) == 1


def test_a_proposal_waits_for_the_human_then_is_countersigned_and_in_force(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    proposal = owner.propose(house.peer)
    assert house.requests.consider_proposal(owner.peer, proposal) is None
    assert house.premises.leases_of(owner.peer) == []
    accept(house, owner)
    signed = house.requests.consider_proposal(owner.peer, proposal)
    terms = open_statement(Agreement, signed, owner.peer, house.peer)
    assert (terms.size_bytes, terms.term_s, terms.lock_s) == WISH
    assert [lease.signed for lease in house.premises.leases_of(owner.peer)] == [signed]
    assert house.premises.owners() == {owner.peer}
    assert newest(house, owner).state is RequestState.AGREED


def test_a_proposal_repeated_because_the_answer_was_lost_gets_the_same_agreement(house, owner):
    owner.agree_with(house)
    (lease,) = house.premises.leases_of(owner.peer)
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer)) == lease.signed
    assert len(house.premises.leases_of(owner.peer)) == 1


def test_a_second_agreement_on_one_acceptance_is_refused(house, owner):
    owner.agree_with(house)
    with pytest.raises(RefusedError):
        house.requests.consider_proposal(owner.peer, owner.propose(house.peer, number=2))


@pytest.mark.parametrize(
    "wish", [(WISH[0] + 1, *WISH[1:]), (WISH[0], WISH[1] + 1, WISH[2]), (WISH[0], WISH[1], WISH[2] - 1)]
)
def test_other_terms_than_were_accepted_are_refused(house, owner, wish):
    house.requests.consider_knock(owner.knock(house), offer("all"))
    with pytest.raises(RefusedError, match="other terms"):
        house.requests.consider_proposal(owner.peer, owner.propose(house.peer, wish))
    assert house.premises.leases_of(owner.peer) == []


@pytest.mark.parametrize("off_s", [-REQUEST_KEPT_S - 3 * 3600, 3 * 3600])
def test_a_start_long_ago_or_in_the_future_is_refused(house, owner, off_s):
    house.requests.consider_knock(owner.knock(house), offer("all"))
    proposal = owner.propose(house.peer, start_ms=house.clock.now_ms() + off_s * 1000)
    with pytest.raises(RefusedError, match="another time"):
        house.requests.consider_proposal(owner.peer, proposal)


def test_an_agreement_with_another_host_is_a_violation(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("all"))
    other = PeerId(SigningKey.from_seed(b"x" * 32).public)
    with pytest.raises(ProtocolViolation):
        house.requests.consider_proposal(owner.peer, owner.propose(other))


def test_a_proposal_signed_by_somebody_else_or_altered_is_a_fault(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("all"))
    forged = resign(owner.propose(house.peer), SigningKey.from_seed(b"x" * 32))
    with pytest.raises(AuthenticationFault):
        house.requests.consider_proposal(owner.peer, forged)
    proposal = bytearray(owner.propose(house.peer))
    proposal[40] ^= 1
    with pytest.raises(PeerFault):
        house.requests.consider_proposal(owner.peer, bytes(proposal))
    assert house.premises.leases_of(owner.peer) == []


def test_nobody_can_make_an_agreement_in_the_name_of_another_owner(house, owner, tmp_path):
    thief = OwnerHouse(tmp_path / "thief", b"t")
    house.requests.consider_knock(thief.knock(house), offer("all"))
    named_for_owner = resign(owner.propose(house.peer), thief.keys.identity)
    with pytest.raises(PeerFault):
        house.requests.consider_proposal(thief.peer, named_for_owner)
    assert house.premises.owners() == set()
    thief.close()


def test_a_proposal_nobody_asked_for_is_refused(house, owner):
    with pytest.raises(RefusedError, match="no request"):
        house.requests.consider_proposal(owner.peer, owner.propose(house.peer))


def test_a_request_is_found_by_its_id_or_the_peer_and_an_ambiguous_name_is_refused(house, owner, tmp_path):
    other = OwnerHouse(tmp_path / "other", b"p")
    for each in (owner, other):
        house.requests.consider_knock(each.knock(house), offer("ask"))
    assert house.requests.find(newest(house, owner).request[:8]).peer == owner.peer
    assert house.requests.find(format_peer_id(other.peer)).peer == other.peer
    with pytest.raises(UserError, match="fits 2"):
        house.requests.find("bp1")
    for text in ("", "nobody"):
        with pytest.raises(NotFoundError):
            house.requests.find(text)
    other.close()


def test_one_alias_given_to_two_requests_costs_neither_peer_its_record(house, owner, tmp_path):
    other = OwnerHouse(tmp_path / "other", b"p")
    for each in (owner, other):
        house.requests.consider_knock(each.knock(house), offer("ask"))
        house.requests.decide(format_peer_id(each.peer), accept=True, alias="bob")
    for number, each in enumerate((owner, other), 1):
        house.requests.consider_proposal(each.peer, each.propose(house.peer, number=number))
    assert house.state.peer_by_alias("bob").peer == owner.peer
    assert house.state.peer(other.peer) is not None
    other.close()
