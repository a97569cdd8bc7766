from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from agent.houses import WISH, OwnerHouse, offer
from backuppeer.agent.home.identity_alarms import Sort
from backuppeer.agent.home.records import Direction, RequestRecord, RequestState
from backuppeer.agent.peers.choosing import choose_listed, is_listed
from backuppeer.agent.peers.misbinding import raise_alarm
from backuppeer.crypto.identity import Purpose, SigningKey
from backuppeer.errors import (
    AuthenticationFault,
    ExitCode,
    NotFoundError,
    PeerFault,
    ProtocolViolation,
    RefusedError,
    RejectedError,
    UserError,
)
from backuppeer.ids import MIN_PREFIX, PeerId, format_peer_id
from backuppeer.limits import (
    GIB,
    MIB,
    NOTICE_MOST_S,
    PENDING_REQUESTS,
    REJECTED_WISHES_PER_DAY,
    REQUEST_KEPT_S,
    REQUEST_PREFIX_CHARS,
    REQUEST_RESERVED_S,
    REQUEST_SETTLED_SHOWN_S,
)
from backuppeer.proof.revisions import Wish
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


def test_who_was_let_go_of_finds_out_where_we_are_for_a_while_and_is_granted_nothing_by_that(house, owner):
    where = owner.knock(house, (0, 0, 0))
    with pytest.raises(RefusedError, match="nothing is on offer"):
        house.requests.consider_knock(where, None)
    house.premises.former.add(owner.peer)
    assert house.requests.consider_knock(where, None) is Verdict.ACCEPTED
    assert house.requests.may_answer(owner.peer)
    with pytest.raises(RefusedError, match="nothing is on offer"):
        house.requests.consider_knock(owner.knock(house), None)
    assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.PENDING


def test_the_same_wish_again_is_the_same_request_and_is_shown_once(house, owner):
    for _ in range(5):
        assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.PENDING
    assert len(house.shown) == len(house.state.requests()) == 1


def reject(house, owner, reason=""):
    return house.requests.decide(format_peer_id(owner.peer), accept=False, reason=reason)


def wish(extra):
    return (WISH[0] + extra, *WISH[1:])


@pytest.fixture
def crowd(tmp_path):
    """Makes further owners."""
    made = []

    def make(count):
        found = [OwnerHouse(tmp_path / f"owner{i}", bytes([100 + i])) for i in range(len(made), len(made) + count)]
        made.extend(found)
        return found

    yield make
    for each in made:
        each.close()


def test_a_wish_that_was_rejected_stays_rejected_and_another_is_asked_about_again(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    reject(house, owner, "too much for me")
    assert not house.requests.may_answer(owner.peer)
    with pytest.raises(RefusedError, match="too much for me"):
        house.requests.consider_knock(owner.knock(house), offer("all"))
    house.clock.ms += 1
    assert house.requests.consider_knock(owner.knock(house, wish(-1)), offer("ask")) is Verdict.PENDING
    assert len(house.shown) == 2
    with pytest.raises(RefusedError, match="too much for me"):
        house.requests.consider_knock(owner.knock(house), offer("ask"))
    accept(house, owner)
    assert house.requests.consider_knock(owner.knock(house, wish(-1)), offer("ask")) is Verdict.ACCEPTED


def test_after_a_few_rejected_wishes_in_a_day_no_person_is_asked_any_more(house, owner, crowd):
    for extra in range(REJECTED_WISHES_PER_DAY):
        house.requests.consider_knock(owner.knock(house, wish(extra)), offer("ask"))
        reject(house, owner, "no")
        house.clock.ms += 1
    with pytest.raises(RefusedError, match="no"):
        house.requests.consider_knock(owner.knock(house, wish(99)), offer("ask"))
    assert len(house.shown) == REJECTED_WISHES_PER_DAY
    (other,) = crowd(1)
    assert house.requests.consider_knock(other.knock(house), offer("ask")) is Verdict.PENDING
    house.clock.ms += 86400 * 1000
    assert house.requests.consider_knock(owner.knock(house, wish(99)), offer("ask")) is Verdict.PENDING


def test_a_new_wish_takes_the_place_of_the_one_that_waited_under_a_new_id(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    first = newest(house, owner)
    for extra in range(1, 2 * PENDING_REQUESTS):
        house.requests.consider_knock(owner.knock(house, wish(extra)), offer("ask"))
    (left,) = house.state.requests()
    assert left.size_bytes == WISH[0] + 2 * PENDING_REQUESTS - 1
    with pytest.raises(NotFoundError):
        house.requests.decide(first.request, accept=True)


def test_a_new_wish_that_is_refused_leaves_the_one_that_waits(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    with pytest.raises(RefusedError, match="space"):
        house.requests.consider_knock(owner.knock(house, (1 * GIB, *WISH[1:])), offer("ask"))
    assert house.requests.find(format_peer_id(owner.peer)).size_bytes == WISH[0]


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


@pytest.mark.parametrize("wish", [(1 * GIB, *WISH[1:]), (8 * MIB, 2 * 86400, 60)])
@pytest.mark.parametrize("offered", [offer("all"), offer("ask"), None])
def test_a_partner_whose_wish_is_refused_is_let_in_and_granted_nothing(house, owner, wish, offered):
    owner.agree_with(house)
    before = house.state.requests()
    assert house.requests.consider_knock(owner.knock(house, wish), offered) is Verdict.ACCEPTED
    assert house.state.requests() == before
    with pytest.raises(RefusedError):
        house.requests.consider_proposal(owner.peer, owner.propose(house.peer, wish, number=2))


def test_a_partner_hears_the_no_of_a_person(house, owner):
    owner.agree_with(house)
    house.requests.consider_knock(owner.knock(house, (8 * MIB, *WISH[1:])), offer("ask"))
    house.requests.decide(format_peer_id(owner.peer), accept=False, reason="enough is enough")
    with pytest.raises(RejectedError, match="enough"):
        house.requests.consider_knock(owner.knock(house, (8 * MIB, *WISH[1:])), offer("ask"))


def test_more_than_is_left_is_refused_and_promised_room_counts(house, owner, tmp_path):
    with pytest.raises(RefusedError, match="space"):
        house.requests.consider_knock(owner.knock(house, (1 * GIB, *WISH[1:])), offer("all"))
    house.requests.consider_knock(owner.knock(house, (40 * MIB, *WISH[1:])), offer("all"))
    other = OwnerHouse(tmp_path / "other", b"p")
    with pytest.raises(RefusedError, match="space"):
        house.requests.consider_knock(other.knock(house, (40 * MIB, *WISH[1:])), offer("all"))
    assert house.requests.consider_knock(other.knock(house, (24 * MIB, *WISH[1:])), offer("all")) is Verdict.ACCEPTED
    other.close()


def test_what_was_accepted_is_promised_for_a_day_only_and_a_late_owner_finds_it_gone(house, owner, crowd):
    (other,) = crowd(1)
    house.requests.consider_knock(owner.knock(house, (40 * MIB, *WISH[1:])), offer("all"))
    house.clock.ms += (REQUEST_RESERVED_S + 1) * 1000
    assert house.requests.consider_knock(other.knock(house, (40 * MIB, *WISH[1:])), offer("all")) is Verdict.ACCEPTED
    with pytest.raises(RefusedError, match="space"):
        house.requests.consider_proposal(owner.peer, owner.propose(house.peer, (40 * MIB, *WISH[1:])))
    assert house.requests.consider_proposal(other.peer, other.propose(house.peer, (40 * MIB, *WISH[1:])))
    assert house.premises.owners() == {other.peer}


def test_the_promise_lasts_a_day_from_the_humans_yes_however_long_the_request_waited(house, owner, crowd):
    (other,) = crowd(1)
    house.requests.consider_knock(owner.knock(house, (40 * MIB, *WISH[1:])), offer("ask"))
    house.clock.ms += 3 * 86400 * 1000
    accept(house, owner)
    with pytest.raises(RefusedError, match="space"):
        house.requests.consider_knock(other.knock(house, (40 * MIB, *WISH[1:])), offer("all"))


def test_a_person_can_not_promise_the_same_space_twice(house, owner, crowd):
    both = [owner, *crowd(1)]
    for each in both:
        house.requests.consider_knock(each.knock(house, (40 * MIB, *WISH[1:])), offer("ask"))
    accept(house, owner)
    with pytest.raises(RefusedError, match="space"):
        accept(house, both[1])
    assert newest(house, both[1]).state is RequestState.WAITING


def test_more_than_the_disk_has_left_is_refused_whatever_was_offered(house, owner, crowd):
    (other,) = crowd(1)
    quota = house.premises.open().quota
    quota.free_disk = lambda: quota.floor_bytes + 10 * MIB
    with pytest.raises(RefusedError, match="space"):
        house.requests.consider_knock(owner.knock(house, (10 * MIB + 1, *WISH[1:])), offer("all"))
    assert house.requests.consider_knock(owner.knock(house, (8 * MIB, *WISH[1:])), offer("all")) is Verdict.ACCEPTED
    with pytest.raises(RefusedError, match="space"):
        house.requests.consider_knock(other.knock(house), offer("all"))


def fill(house, clock_step_ms=1):
    """Let as many strangers wait as may; returns the oldest."""
    for number in range(PENDING_REQUESTS):
        stranger = PeerId(bytes([number + 1]) * 32)
        house.state.put_request(
            RequestRecord(
                f"{number:016x}", Direction.IN, stranger, *WISH[:3], RequestState.WAITING, house.clock.now_ms()
            )
        )
        house.clock.ms += clock_step_ms
    return PeerId(bytes([1]) * 32)


def test_when_too_many_wait_the_oldest_stranger_makes_room(house, owner):
    oldest = fill(house)
    assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.PENDING
    assert house.requests.consider_knock(owner.knock(house, wish(1)), offer("ask")) is Verdict.PENDING
    waiting = [record.peer for record in house.state.requests()]
    assert len(waiting) == PENDING_REQUESTS, "an owner that changes its wish pushes nobody out"
    assert oldest not in waiting
    assert owner.peer in waiting


def test_a_request_of_a_partner_is_not_pushed_out_by_strangers(house, owner, crowd):
    owner.agree_with(house)
    house.requests.consider_knock(owner.knock(house, wish(1)), offer("ask"))
    house.clock.ms += 1
    fill(house)
    for stranger in crowd(2):
        house.requests.consider_knock(stranger.knock(house), offer("ask"))
    assert house.requests.find(format_peer_id(owner.peer)).size_bytes == WISH[0] + 1


def test_when_all_who_wait_are_partners_a_stranger_is_refused(house, owner, monkeypatch):
    fill(house)
    partners = {record.peer for record in house.state.requests()}
    monkeypatch.setattr(house.premises, "owners", lambda: partners)
    with pytest.raises(RefusedError, match="too many"):
        house.requests.consider_knock(owner.knock(house), offer("ask"))
    assert {record.peer for record in house.state.requests()} == partners


def test_requests_too_old_make_room_and_can_not_be_decided(house, owner):
    fill(house)
    house.clock.ms += (REQUEST_KEPT_S + 1) * 1000
    with pytest.raises(NotFoundError, match="already expired"):
        house.requests.find(f"{0:016x}")
    assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.PENDING
    assert [record.peer for record in house.state.requests()] == [owner.peer]


def test_a_proposal_waits_for_the_human_then_is_countersigned_and_in_force(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    proposal = owner.propose(house.peer)
    assert house.requests.consider_proposal(owner.peer, proposal) is None
    assert house.premises.leases_of(owner.peer) == []
    accept(house, owner)
    signed = house.requests.consider_proposal(owner.peer, proposal)
    terms = open_statement(Agreement, signed, owner.peer, house.peer)
    assert (terms.size_bytes, terms.term_s, terms.lock_s) == WISH[:3]
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


@pytest.mark.parametrize("notice_s", [NOTICE_MOST_S + 1, 2**40, 2**62, 2**63 - 1])
def test_nobody_binds_the_disk_of_a_host_by_a_notice_of_years(house, owner, notice_s):
    house.requests.consider_knock(owner.knock(house), offer("all"))
    with pytest.raises(RefusedError, match="notice is longer than 90 days"):
        house.requests.consider_proposal(owner.peer, owner.propose(house.peer, notice_s=notice_s))
    assert house.premises.leases_of(owner.peer) == []
    proposal = owner.propose(house.peer, notice_s=NOTICE_MOST_S)
    assert house.requests.consider_proposal(owner.peer, proposal), "and what is bearable is agreed on"


def test_another_availability_than_is_on_offer_is_refused(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("all"))
    with pytest.raises(RefusedError, match="other terms"):
        house.requests.consider_proposal(owner.peer, owner.propose(house.peer, availability=1000))
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
    house.state.meet(other.peer, 1, alias="bob")
    assert house.requests.find(" bob ").peer == other.peer
    assert house.requests.find(newest(house, owner).request[:REQUEST_PREFIX_CHARS].upper()).peer == owner.peer
    assert house.requests.find(format_peer_id(owner.peer)[: 3 + MIN_PREFIX].upper()).peer == owner.peer
    other.close()


@pytest.mark.parametrize("text", ["bp1", "b", "abc", "bp1qqqqqqq"])
def test_a_text_too_short_to_be_sure_is_refused(house, owner, text):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    with pytest.raises(UserError, match="too short") as refused:
        house.requests.find(text)
    assert refused.value.exit_code is ExitCode.USAGE


def test_the_start_of_a_whole_peer_id_with_a_typo_is_refused(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    text = format_peer_id(owner.peer)
    with pytest.raises(UserError, match="not a peer id"):
        house.requests.find(text[:-1] + ("q" if text[-1] != "q" else "p"))


@pytest.mark.parametrize("text", ["", " ", "nobody", "ffffffffffffffffffff", "bp1qqqqqqqqqq"])
def test_a_text_that_names_no_request_is_not_found(house, owner, text):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    with pytest.raises(NotFoundError):
        house.requests.find(text)


def test_a_start_that_fits_two_requests_is_refused(house):
    fill(house)
    with pytest.raises(UserError, match=f"fits {PENDING_REQUESTS} requests"):
        house.requests.find("0000")


@pytest.mark.parametrize(
    ("is_accepted", "again", "word"), [(True, True, "accepted"), (True, False, "accepted"), (False, False, "rejected")]
)
def test_what_was_decided_can_not_be_decided_the_same_again_nor_a_yes_be_taken_back(
    house, owner, is_accepted, again, word
):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    decided = house.requests.decide(newest(house, owner).request, accept=is_accepted)
    for text in (decided.request, format_peer_id(owner.peer)):
        with pytest.raises(NotFoundError, match=f"already {word}"):
            house.requests.decide(text, accept=again)
    assert newest(house, owner) == decided


@pytest.mark.parametrize("after_days", [0, 6])
def test_a_no_can_be_taken_back_and_the_owners_next_knock_gets_through(house, owner, after_days):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    rejected = reject(house, owner, "by mistake")
    house.clock.ms += after_days * 86400 * 1000
    with pytest.raises(RejectedError, match="by mistake"):
        house.requests.consider_knock(owner.knock(house), offer("ask"))
    assert is_listed(rejected, house.clock.now_ms()), "a person sees it as long as it stands"
    told = []
    house.requests.on_accepted = told.append
    accepted = house.requests.decide(rejected.request[:8], accept=True)
    assert (accepted.state, accepted.request) == (RequestState.ACCEPTED, rejected.request)
    assert told == [accepted]
    assert house.requests.may_answer(owner.peer)
    assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.ACCEPTED
    owner.clock.ms = house.clock.ms
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer))


def test_a_no_ends_by_itself_after_its_days_and_can_not_be_taken_back_then(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    rejected = reject(house, owner, "no")
    house.clock.ms += (REQUEST_KEPT_S + 1) * 1000
    with pytest.raises(NotFoundError, match="already rejected"):
        house.requests.decide(rejected.request, accept=True)
    assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.PENDING


def test_a_no_is_not_taken_back_beside_another_wish_of_the_same_owner_that_is_open(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    rejected = reject(house, owner, "no")
    house.clock.ms += 1
    house.requests.consider_knock(owner.knock(house, wish(1)), offer("ask"))
    with pytest.raises(UserError, match="something else by now") as told:
        house.requests.decide(rejected.request, accept=True)
    assert newest(house, owner).request[:8] in told.value.hint
    assert house.requests.find(format_peer_id(owner.peer), accept=True).state is RequestState.WAITING


def test_a_no_that_was_taken_back_must_still_fit_the_space_that_is_left(house, owner, crowd):
    (other,) = crowd(1)
    house.requests.consider_knock(owner.knock(house, (40 * MIB, *WISH[1:])), offer("ask"))
    rejected = reject(house, owner, "no")
    house.requests.consider_knock(other.knock(house, (40 * MIB, *WISH[1:])), offer("all"))
    with pytest.raises(RefusedError, match="space"):
        house.requests.decide(rejected.request, accept=True)
    assert newest(house, owner) == rejected


def test_the_waiting_request_is_meant_though_an_older_one_of_the_same_peer_was_decided(house, owner):
    owner.agree_with(house)
    with pytest.raises(NotFoundError, match="already accepted"):
        house.requests.find(format_peer_id(owner.peer))
    house.clock.ms += 1
    house.requests.consider_knock(owner.knock(house, wish(1)), offer("ask"))
    assert house.requests.find(format_peer_id(owner.peer)).size_bytes == WISH[0] + 1


def test_a_no_is_shown_no_more_once_there_is_an_agreement_after_it(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    first = reject(house, owner, "too much")
    records = [first, replace(first, request="other", state=RequestState.REJECTED, since_ms=first.since_ms + 2)]
    agreed = replace(first, request="agreed", state=RequestState.AGREED, since_ms=first.since_ms + 1)
    assert choose_listed(records, first.since_ms) == records
    assert choose_listed([*records, agreed], first.since_ms) == [records[1], agreed]
    away = replace(agreed, direction=Direction.OUT)
    assert choose_listed([first, away], first.since_ms) == [first, away]


@pytest.mark.parametrize("state", list(RequestState))
def test_open_and_rejected_requests_are_shown_while_they_live_and_settled_ones_for_a_day(state):
    record = RequestRecord("ab", Direction.IN, PeerId(bytes(32)), *WISH[:3], state, 1000)
    is_open = state in {RequestState.WAITING, RequestState.OFFERED, RequestState.ACCEPTED, RequestState.REJECTED}
    lasts_ms = (REQUEST_KEPT_S if is_open else REQUEST_SETTLED_SHOWN_S) * 1000
    assert is_listed(record, 1000 + lasts_ms)
    assert not is_listed(record, 1001 + lasts_ms)


def test_two_proposals_at_once_are_not_both_covered_by_one_acceptance(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("all"))
    with ThreadPoolExecutor(4) as pool:
        proposals = [owner.propose(house.peer, number=number) for number in range(1, 5)]
        tries = [pool.submit(house.requests.consider_proposal, owner.peer, signed) for signed in proposals]
    assert sum(isinstance(each.exception(), RefusedError) for each in tries) == 3
    assert len(house.premises.leases_of(owner.peer)) == 1


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


LITTLE = Wish(2 * MIB, 1800, 30)


def offer_little(house, owner):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    return house.requests.offer(newest(house, owner).request, LITTLE)


def test_other_terms_are_told_to_who_asks_again_and_taken_by_asking_for_just_those(house, owner):
    offer_little(house, owner)
    knock = owner.knock(house)
    assert house.requests.consider_knock(knock, offer("ask")) is Verdict.PENDING
    assert house.requests.offer_to(knock) == LITTLE
    assert house.requests.consider_knock(owner.knock(house, LITTLE), offer("ask")) is Verdict.ACCEPTED
    assert newest(house, owner).wish == LITTLE
    assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer, LITTLE)) is not None


@pytest.mark.parametrize("change", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1)])
def test_what_is_nearly_offered_is_a_wish_of_its_own(house, owner, change):
    offer_little(house, owner)
    wish = tuple(a + b for a, b in zip(LITTLE[:3], change, strict=True))
    assert house.requests.consider_knock(owner.knock(house, wish), offer("ask")) is Verdict.PENDING
    assert newest(house, owner).state is RequestState.WAITING
    assert house.requests.offer_to(owner.knock(house, wish)) is None


def test_an_offer_agrees_to_nothing_until_it_is_taken(house, owner):
    offer_little(house, owner)
    assert not house.requests.may_answer(owner.peer)
    for wish in (WISH, LITTLE):
        assert house.requests.consider_proposal(owner.peer, owner.propose(house.peer, wish)) is None
    assert house.premises.leases_of(owner.peer) == []


def test_the_first_terms_can_be_accepted_after_others_were_offered_and_other_ones_offered(house, owner):
    first = offer_little(house, owner)
    better = Wish(3 * MIB, 1800, 30)
    assert house.requests.offer(first.request, better).offer == better
    assert house.requests.consider_knock(owner.knock(house, LITTLE), offer("ask")) is Verdict.PENDING, "no more offered"
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    accepted = accept(house, owner)
    assert (accepted.wish, accepted.offer) == (WISH, None)
    assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.ACCEPTED


@pytest.mark.parametrize(("wish", "error"), [(Wish(*WISH), UserError), (Wish(GIB, 1800, 30), RefusedError)])
def test_the_same_terms_are_no_offer_and_more_than_there_is_can_not_be_offered(house, owner, wish, error):
    house.requests.consider_knock(owner.knock(house), offer("ask"))
    with pytest.raises(error):
        house.requests.offer(newest(house, owner).request, wish)
    assert newest(house, owner).state is RequestState.WAITING


@pytest.mark.parametrize("policy", ["trusted", "all"])
@pytest.mark.parametrize("sort", [Sort.WORDS, Sort.ANSWERED, Sort.FORKED])
def test_no_policy_speaks_for_a_person_about_who_may_be_another(house, owner, policy, sort):
    house.state.meet(owner.peer, 1, verified=True)
    raise_alarm(house.state, owner.peer, sort, now_ms=1)
    assert house.requests.consider_knock(owner.knock(house), offer(policy)) is Verdict.PENDING
    assert [record.peer for record in house.shown] == [owner.peer], "its person is asked"


def test_what_is_owed_is_not_given_without_a_word_to_who_may_be_another(house, owner):
    house.requests.is_owed = lambda _: True
    raise_alarm(house.state, owner.peer, Sort.WORDS, now_ms=1)
    assert house.requests.consider_knock(owner.knock(house), offer("ask")) is Verdict.PENDING


def test_who_is_blocked_gets_nothing_by_any_policy(house, owner):
    house.state.meet(owner.peer, 1, verified=True)
    house.state.blocks.put(owner.peer, "", 1)
    with pytest.raises(RefusedError, match="nothing is on offer here"):
        house.requests.consider_knock(owner.knock(house), offer("all"))
